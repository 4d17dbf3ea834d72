"""Strategies for whole configuration files of AIMET and Vitis AI: every key, empty sections, entries said twice."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from qsimc.spec import keymap

Document = dict[str, Any]

OPERATORS = ("Conv", "Relu", "Gemm", "Add", "MaxPool", "Concat", "Softmax", "Clip")
_NAMES = st.sampled_from(OPERATORS) | st.text(min_size=1, max_size=6)
_PARAMS = st.sampled_from(("weight", "bias")) | st.text(min_size=1, max_size=6).filter(lambda name: name != "param")
_YES, _NO = st.just("True"), st.just("False")
_BOOLEAN = _YES | _NO
_NUMBERS = st.integers(-1000, 1000) | st.floats(-1e6, 1e6, allow_nan=False)


def _some(**values: st.SearchStrategy[Any]) -> st.SearchStrategy[Document]:
    """Return objects with any of some keys."""
    return st.fixed_dictionaries({}, optional=values)


# ── AIMET ────────────────────────────────────────────────────────────────────────────────────

_INTEGER_KERNELS = st.fixed_dictionaries({"bitwidth": st.sampled_from((4, 8, 16, 32)), "dtype": st.just("int")})
_FLOAT_KERNELS = st.fixed_dictionaries({"bitwidth": st.sampled_from((16, 32)), "dtype": st.just("float")})
_KERNEL = _INTEGER_KERNELS | _FLOAT_KERNELS
_PAIRS = st.lists(st.fixed_dictionaries({"activation": _KERNEL, "param": _KERNEL}), min_size=1, max_size=3)
_ALONE = st.fixed_dictionaries({"activation": _KERNEL}, optional={"param": _KERNEL})
_BOUNDS = st.fixed_dictionaries({"min": _NUMBERS}, optional={"max": _NUMBERS})
_PARAM = _some(is_quantized=_BOOLEAN, is_symmetric=_BOOLEAN)
_PARAM_SECTION = st.dictionaries(_PARAMS, _PARAM, max_size=3)
_OPERATOR = _some(
    is_input_quantized=_YES,
    is_output_quantized=_BOOLEAN,
    is_symmetric=_BOOLEAN,
    per_channel_quantization=_BOOLEAN,
    encoding_constraints=_BOUNDS,
    supported_kernels=st.lists(_ALONE, min_size=1, max_size=3),
    params=_PARAM_SECTION,
)
_DEFAULTS = st.fixed_dictionaries(
    {"ops": _some(is_output_quantized=_YES, is_symmetric=_BOOLEAN), "params": _PARAM},
    optional={
        "per_channel_quantization": _BOOLEAN,
        "strict_symmetric": _BOOLEAN,
        "unsigned_symmetric": _BOOLEAN,
        "supported_kernels": _PAIRS,
        "hw_version": st.text(max_size=6),
    },
)

aimet_documents: st.SearchStrategy[Document] = st.fixed_dictionaries(
    {
        "defaults": _DEFAULTS,
        "params": _PARAM_SECTION,
        "op_type": st.dictionaries(_NAMES, _OPERATOR, max_size=4),
        "supergroups": st.lists(
            st.fixed_dictionaries({"op_list": st.lists(_NAMES, min_size=2, max_size=4)}), max_size=4
        ),
        "model_input": _some(is_input_quantized=_YES),
        "model_output": _some(is_output_quantized=_YES),
    },
    optional={"supergroup_pass_list": st.lists(st.text(max_size=8), max_size=3)},
)

# ── Vitis AI ─────────────────────────────────────────────────────────────────────────────────

_WORDS = keymap.load("vitis").words
_KINDS = ("input", "weights", "bias", "activation")
_BLOCK = _some(
    datatype=st.sampled_from(sorted(_WORDS["datatype"])),
    bit_width=st.integers(2, 32),
    method=st.sampled_from(sorted(_WORDS["method"])),
    round_mode=st.sampled_from(sorted(_WORDS["round_mode"])),
    symmetry=st.booleans(),
    per_channel=st.booleans(),
    signed=st.booleans(),
    narrow_range=st.booleans(),
    scale_type=st.sampled_from(sorted(_WORDS["scale_type"])),
    calib_statistic_method=st.sampled_from(sorted(_WORDS["calib_statistic_method"])),
    percentage=st.floats(0, 100, exclude_min=True),
)
_LIST = st.lists(st.sampled_from(_KINDS), max_size=5)
_TENSORS = st.dictionaries(st.sampled_from(_KINDS), _BLOCK, max_size=4)
_TYPES = ("torch.nn.Conv2d", "Conv2d", "Linear", "ReLU", "add")
_BLOCKS = {"overall_quantize_config": _BLOCK, "tensor_quantize_config": _TENSORS}


def _entries(**named: st.SearchStrategy[Any]) -> st.SearchStrategy[Document]:
    return st.fixed_dictionaries({**named, "quantizable_data_type": _LIST}, optional=_BLOCKS)


_ENTRY = _entries(layer_type=st.sampled_from(_TYPES), layer_name=st.none()) | _entries(
    layer_type=st.none(), layer_name=st.text(min_size=1, max_size=8)
)
_SWITCHES = (
    "convert_relu6_to_relu", "convert_silu_to_hswish", "include_cle", "include_bias_corr",
    "keep_first_last_layer_accuracy", "keep_add_layer_accuracy", "change_concat_input_fix", "change_pool_input_fix",
)  # fmt: skip

vitis_documents: st.SearchStrategy[Document] = st.fixed_dictionaries(
    {"target_device": st.sampled_from(("DPU", "CPU", "GPU", "FLEXML"))},
    optional={
        **dict.fromkeys(_SWITCHES, st.booleans()),
        "onnx_opset_version": st.integers(-1, 30),
        "quantizable_data_type": _LIST,
        **_BLOCKS,
        "layer_quantize_config": st.lists(_ENTRY, max_size=4),
    },
)

DOCUMENTS = {"aimet": aimet_documents, "vitis": vitis_documents}
