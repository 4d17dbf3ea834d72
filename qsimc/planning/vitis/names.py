"""The names under which vai_q_pytorch files the parameters of a model: the keys of its state dict."""

from __future__ import annotations

from qsimc.planning.vitis.network import Layer, Network, Param


def param_name(network: Network, layer: Layer, param: Param) -> str:
    """Return the key of a parameter in the state dict of the model that a graph was exported from.

    An exporter may have given it a name of its own: one that folded a batch norm, say, or found two parameters to
    be equal.  The key is then the path of the module and the role; a bias that folding made has the key of the
    weight beside it.
    """
    if param.role == "bias" and _was_made(param.tensor):
        weight = next((p for p in layer.params if p.role == "weight"), None)
        if weight is not None:
            return f"{param_name(network, layer, weight).removesuffix('weight')}bias"
    path = layer.node.origin.path
    readers = network.graph.consumers.get(param.tensor, ())
    own = param.tensor.startswith(f"{path}.") if path else True
    if _is_key(param.tensor) and (own or len(readers) < 2):
        return param.tensor
    return f"{path}.{param.role}" if path else param.tensor


def _is_key(tensor: str) -> bool:
    """Say whether a tensor's name is one that a state dict can have, not one that an exporter made up."""
    return "." in tensor and "::" not in tensor and "/" not in tensor


def _was_made(tensor: str) -> bool:
    return tensor.endswith("_bias") or not _is_key(tensor)
