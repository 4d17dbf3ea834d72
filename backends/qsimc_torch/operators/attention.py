"""Attention and rotary embeddings, as ONNX has them since operator set 23."""

from __future__ import annotations

from qsimc_torch.call import Call, Unsupported, call
from qsimc_torch.operators import operator


@operator("Attention")
def attention(node: Call) -> str:
    """torch's `scaled_dot_product_attention`, and a function of the runtime for what that has not.

    That is a causal mask that starts behind a cache, caps on the scores, windows, lengths, and the scores as output.
    """
    query = _heads(node, 0, "query")
    key, value = _heads(node, 1, "key", past=4), _heads(node, 2, "value", past=5)
    made = _general(node, query, key, value) if _is_special(node) else _plain(node, query, key, value)
    scores = "None"
    if node.outputs == 4:
        pair = node.let("attended", made)
        made, scores = f"{pair}[0]", f"{pair}[1]"
    elif _is_special(node):
        made = f"{made}[0]"
    if node.rank() == 3:
        made = f"{node.let('attended', made)}.transpose(1, 2).flatten(2)"
    return made if node.outputs == 1 else ", ".join([made, key, value, scores][: len(node.node.outputs)])


def _heads(node: Call, position: int, name: str, past: int | None = None) -> str:
    """Return queries, keys or values with a dimension of heads, those of a cache before them."""
    text = node[position]
    if node.known_rank(position) == 3:
        heads = node.integer("q_num_heads" if position == 0 else "kv_num_heads", 0)
        if heads == 0:
            raise Unsupported("it does not say how many heads it has")
        text = node.let(name, f"{text}.unflatten(-1, ({heads}, -1)).transpose(1, 2)")
    return text if past is None or not node.has(past) else node.let(name, f"torch.cat([{node[past]}, {text}], dim=2)")


def _plain(node: Call, query: str, key: str, value: str) -> str:
    return call(
        "F.scaled_dot_product_attention",
        query,
        key,
        value,
        attn_mask=node[3] if node.has(3) else None,
        is_causal=True if node.integer("is_causal", 0) else None,
        scale=node.number("scale", 0.0) or None,
        enable_gqa=True if _is_grouped(node) else None,
    )


def _is_grouped(node: Call) -> bool:
    """Return whether several heads of the queries share one of the keys, or may do."""
    if node.rank() == 3:
        return node.integer("q_num_heads", 0) != node.integer("kv_num_heads", 0)
    heads = [(node.shape(position) or (None, None))[1] for position in (0, 1)]
    return None in heads or heads[0] != heads[1]


def _is_special(node: Call) -> bool:
    """Return whether torch has no such attention."""
    beside = node.has(3) or node.has(4)
    return (
        node.outputs == 4
        or node.has(6)
        or node.number("softcap", 0.0) != 0.0
        or _window(node) is not None
        or (bool(node.integer("is_causal", 0)) and beside)
        or _is_short(node)
    )


def _is_short(node: Call) -> bool:
    """Return whether the mask covers fewer keys than there are."""
    if not node.has(3):
        return False
    mask, keys, past = node.shape(3), node.shape(1), node.shape(4) if node.has(4) else None
    if mask is None or keys is None:
        return False
    total = keys[-2 if len(keys) == 4 else 1]
    if node.has(4):
        before = None if past is None else past[2]
        total = None if total is None or before is None else total + before
    return None not in (total, mask[-1]) and total != mask[-1]


def _window(node: Call) -> tuple[int, int] | None:
    """Return how far a query sees to the left and to the right, -1 for all the way."""
    window = node.integer("left_window_size", -1), node.integer("right_window_size", -1)
    return None if window == (-1, -1) else window


def _general(node: Call, query: str, key: str, value: str) -> str:
    placed = bool(node.integer("is_causal", 0)) or _window(node) is not None
    return call(
        "attention",
        query,
        key,
        value,
        mask=node[3] if node.has(3) else None,
        causal=True if node.integer("is_causal", 0) else None,
        past=f"{node[4]}.shape[2]" if placed and node.has(4) else None,
        lengths=node[6] if node.has(6) else None,
        window=_window(node),
        scale=node.number("scale", 0.0) or None,
        softcap=node.number("softcap", 0.0) or None,
        scores=node.integer("qk_matmul_output_mode", 0) or None,
    )


@operator("RotaryEmbedding")
def rotary_embedding(node: Call) -> str:
    """Position ids choose rows of the tables; without them the tables have a row per place."""
    cos, sin = (f"{node[i]}[{node[3]}]" if node.has(3) else node[i] for i in (1, 2))
    heads, rank = node.integer("num_heads", 0), node.known_rank()
    x = node[0] if rank == 4 else node.let("heads", f"{node[0]}.unflatten(-1, ({heads}, -1)).transpose(1, 2)")
    made = call(
        "rotary_embedding",
        x,
        cos,
        sin,
        size=node.integer("rotary_embedding_dim", 0) or None,
        interleaved=True if node.integer("interleaved", 0) else None,
    )
    return made if rank == 4 else f"{node.let('turned', made)}.transpose(1, 2).flatten(2)"
