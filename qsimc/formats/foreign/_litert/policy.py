"""What LiteRT's quantizer takes for which operations (specs/formats/tflite.toml): configurations as values."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from qsimc import resources
from qsimc.formats.foreign._shared import Plain
from qsimc.spec.operator_words import operator_words

FAMILY = "tflite"
EVERY = "*"
NONE = "no_quantize"
MINMAX = "min_max_uniform_quantize"
CASTING = "float_casting"
BLOCKS = (32, 64, 128, 256)
GRANULARITIES = ("TENSORWISE", "CHANNELWISE", *(f"BLOCKWISE_{size}" for size in BLOCKS))
KINDS = ("INT", "UINT", "FLOAT")
PRECISIONS = ("INTEGER", "FLOAT")


@dataclass(frozen=True, slots=True)
class Tensor:
    """How the activations or the weights of an operation are quantized; `kind` is INT, UINT or FLOAT."""

    bits: int
    symmetric: bool = True
    granularity: str = "TENSORWISE"
    kind: str = "INT"

    @property
    def blocks(self) -> bool:
        return self.granularity.startswith("BLOCKWISE")


@dataclass(frozen=True, slots=True)
class Mode:
    """The whole configuration of an operation.

    With `activation` its activations have fixed scales; without, `compute` decides whether they get theirs at run time
    (INTEGER) or stay float.
    """

    algorithm: str = NONE
    activation: Tensor | None = None
    weight: Tensor | None = None
    compute: str = "FLOAT"
    explicit: bool = False

    @property
    def dynamic(self) -> bool:
        return self.algorithm != NONE and self.activation is None and self.compute == "INTEGER"


FLOAT = Mode()
"""An operation that stays float."""

ANY_WEIGHT = Tensor(8, granularity="CHANNELWISE")
"""What stands for the weights of operations that have none."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Operations by what they take; the keys of mappings are widths in bits."""

    operations: tuple[str, ...]
    weighted: tuple[str, ...]
    unsigned: tuple[str, ...]
    not_static: Mapping[int, tuple[str, ...]]
    static: Mapping[int, tuple[str, ...]]
    dynamic: Mapping[int, tuple[str, ...]]
    dynamic_blocks: Mapping[int, tuple[str, ...]]
    weight_only: Mapping[int, tuple[str, ...]]
    algorithms: Mapping[str, tuple[str, ...]]
    ranges: Mapping[str, tuple[float, float]]


@cache
def policy() -> Policy:
    """Return what the quantizer's default policy allows."""
    table = tomllib.loads(resources.read("specs", f"formats/{FAMILY}.toml"))["policy"]

    def by_width(name: str) -> dict[int, tuple[str, ...]]:
        return {int(bits): tuple(words) for bits, words in table[name].items()}

    return Policy(
        operations=tuple(table["operations"]),
        weighted=tuple(table["weighted"]),
        unsigned=tuple(table["unsigned"]),
        not_static=by_width("not_static"),
        static=by_width("static"),
        dynamic=by_width("dynamic"),
        dynamic_blocks=by_width("dynamic_blocks"),
        weight_only=by_width("weight_only"),
        algorithms={name: tuple(words) for name, words in table["algorithms"].items()},
        ranges={name: (float(low), float(high)) for name, (low, high) in table["ranges"].items()},
    )


@cache
def allowed(word: str, mode: Mode) -> bool:
    """Say whether the quantizer takes a configuration for an operation."""
    known, weight = policy(), mode.weight
    if mode.algorithm == NONE:
        return True
    if word == "CUSTOM_OP" or word not in known.algorithms.get(mode.algorithm, known.operations):
        return False
    if mode.algorithm == CASTING:
        cast = weight is not None and (weight.bits, weight.kind) == (16, "FLOAT")
        return cast and mode.activation is None and mode.compute == "FLOAT"
    if word in known.weighted and (weight is None or weight.kind != "INT"):
        return False
    if mode.activation is not None:
        return _static(word, mode, mode.activation)
    if word not in known.weighted or weight is None:
        return False
    if mode.compute == "INTEGER" and not mode.explicit and weight.symmetric:
        return word in (known.dynamic_blocks if weight.blocks else known.dynamic).get(weight.bits, ())
    if mode.compute == "FLOAT" and mode.explicit and not weight.blocks:
        return word in known.weight_only.get(weight.bits, ())
    return False


def contradiction(mode: Mode) -> str:
    """Return why the quantizer does not even read a configuration, empty if it does."""
    if mode.activation is None or mode.weight is None or mode.activation.kind != "INT":
        return ""
    if mode.weight.kind == "FLOAT":
        return "integer activations and float weights do not go together"
    if mode.weight.kind == "INT" and mode.compute != "INTEGER":
        return '`compute_precision` must be "INTEGER" where activations and weights are integers'
    return ""


def _static(word: str, mode: Mode, activation: Tensor) -> bool:
    known, weight = policy(), mode.weight
    if contradiction(mode) or mode.compute != "INTEGER" or mode.explicit or activation.granularity != "TENSORWISE":
        return False
    if weight is not None and weight.blocks:
        return False
    if activation.kind == "UINT":
        fits = word in known.unsigned and activation.bits == 8 and not activation.symmetric
    else:
        integers = activation.kind == "INT" and word not in known.not_static.get(activation.bits, known.operations)
        fits = integers and (activation.bits == 8 or activation.symmetric)
    if not fits:
        return False
    if word not in known.weighted:
        return True
    return weight is not None and weight.symmetric and word in known.static.get(weight.bits, ())


def words_of(operator: str) -> tuple[str, ...]:
    """Return LiteRT's operations for an ONNX operator, the one that decides first."""
    return operator_words(FAMILY).of.get(operator, ())


def operators_of(word: str) -> tuple[str, ...]:
    """Return the ONNX operators that an operation may come from, the one that decides first."""
    return operator_words(FAMILY).meant.get(word, ())


def entry(regex: str, operation: str, mode: Mode) -> Plain:
    """Return an entry of a recipe as it is written."""
    found: dict[str, Plain] = {"regex": regex, "operation": operation, "algorithm_key": mode.algorithm}
    if mode.algorithm == NONE:
        return found
    config: dict[str, Plain] = {}
    if mode.activation is not None:
        config["activation_tensor_config"] = _tensor(mode.activation)
    config["weight_tensor_config"] = _tensor(mode.weight or ANY_WEIGHT)
    config |= {"compute_precision": mode.compute, "explicit_dequantize": mode.explicit}
    found["op_config"] = {**config, "skip_checks": False, "min_weight_elements": 0}
    return found


def _tensor(tensor: Tensor) -> Plain:
    return {
        "num_bits": tensor.bits,
        "symmetric": tensor.symmetric,
        "granularity": tensor.granularity,
        "dtype": tensor.kind,
    }
