"""Random AIMET quantsim configs: every section of the grammar, aimed at the operators of one model."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.conformance.aimet.models import Drawn

_ON = st.just("True")
_BOOL = st.sampled_from(("True", "False"))
_HARDWARE = ("V66", "V68", "V69", "V73", "V81", "v69", "")
_PASSES = ("MatmulAdd", "LayerNormalization", "RMSNormalization", "MaskedSoftmax")
_PARAMS = ("weight", "bias", "weight_r", "running_mean", "running_var", "scale")
_PRECISIONS = ("int8", "int16", "int4", "float16")

_PARAM = st.fixed_dictionaries({}, optional={"is_quantized": _BOOL, "is_symmetric": _BOOL})
_PARAM_TABLE = st.dictionaries(st.sampled_from(_PARAMS), _PARAM, max_size=3)
_RANGE = st.sampled_from(
    (
        {"min": 0.0, "max": 1.0},
        {"min": -1.0, "max": 1.0},
        {"min": 0.0, "max": 6.0},
        {"min": -2.0, "max": 0.5},
        {"min": 0.0},
        {"min": 0, "max": 6, "comment": "clip"},
        {"min": 0.5, "max": 2.0},
        {"min": 3.0, "max": 1.0},
    )
)
_KERNEL = {"activation": {"bitwidth": 16, "dtype": "int"}, "param": {"bitwidth": 8, "dtype": "int"}}
_KERNELS = st.just([_KERNEL])

_OPERATOR = st.fixed_dictionaries(
    {},
    optional={
        "is_input_quantized": _ON,
        "is_output_quantized": _BOOL,
        "is_symmetric": _BOOL,
        "params": _PARAM_TABLE,
        "per_channel_quantization": _BOOL,
        "encoding_constraints": _RANGE,
        "supported_kernels": _KERNELS,
    },
)

# What the schema accepts and the program refuses.
_REFUSED = (
    ("defaults", "ops", "is_input_quantized", "True"),
    ("defaults", "ops", "is_output_quantized", "False"),
    ("model_input", "is_input_quantized", "False"),
    ("model_output", "is_output_quantized", "False"),
    ("op_type", "Relu", "is_input_quantized", "False"),
    ("supergroup_pass_list", ["LayerNorm"]),
    ("model_input", "is_output_quantized", "True"),
)


@st.composite
def configs(draw: st.DrawFn, model: Drawn) -> dict[str, Any]:
    """Draw a config; about one in thirty is one that AIMET refuses."""
    defaults = st.fixed_dictionaries(
        {
            "ops": st.fixed_dictionaries({}, optional={"is_output_quantized": _ON, "is_symmetric": _BOOL}),
            "params": _PARAM,
        },
        optional={
            "strict_symmetric": _BOOL,
            "unsigned_symmetric": _BOOL,
            "per_channel_quantization": _rare(_BOOL),
            "hw_version": st.sampled_from(_HARDWARE),
            "supported_kernels": _KERNELS,
        },
    )
    named = st.sampled_from((*model.operators, "Conv", "Mystery"))
    chains = st.lists(named, min_size=2, max_size=4)
    if model.chains:
        chains = st.sampled_from(model.chains).map(list) | chains
    config: dict[str, Any] = {
        "defaults": {k: v for k, v in draw(defaults).items() if v is not None},
        "params": draw(_PARAM_TABLE),
        "op_type": draw(st.dictionaries(named, _OPERATOR, max_size=4)),
        "supergroups": [{"op_list": ops} for ops in draw(st.lists(chains, max_size=4))],
        "model_input": draw(st.sampled_from((*[{"is_input_quantized": "True"}] * 6, {}))),
        "model_output": draw(st.sampled_from(({}, {"is_output_quantized": "True"}))),
    }
    if draw(st.booleans()):
        config["supergroup_pass_list"] = draw(st.lists(st.sampled_from(_PASSES), unique=True, max_size=4))
    if draw(st.integers(0, 29)) == 29:
        _spoil(config, *draw(st.sampled_from(_REFUSED)))
    return config


def _rare(strategy: st.SearchStrategy[str]) -> st.SearchStrategy[str | None]:
    """Mostly None: a setting that makes AIMET stop on many models."""
    return st.integers(0, 3).flatmap(lambda n: strategy if n == 3 else st.none())


def _spoil(config: dict[str, Any], *path_and_value: Any) -> None:
    *path, key, value = path_and_value
    for name in path:
        config = config.setdefault(name, {})
    config[key] = value


def precisions() -> st.SearchStrategy[tuple[str, str]]:
    """Draw the precisions of params and activations."""
    return st.tuples(st.sampled_from(_PRECISIONS), st.sampled_from(_PRECISIONS))
