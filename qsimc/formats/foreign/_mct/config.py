"""Quantization configurations of a TPC file out of what rules say of an operator."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache

from qsimc import resources
from qsimc.formats.foreign._mct import values as mct
from qsimc.formats.foreign._mct.sets import FAMILY
from qsimc.formats.foreign._mct.tensors import Block, Tensors
from qsimc.formats.foreign._shared import Once, Plain, lost, of
from qsimc.ir.config import Value
from qsimc.ir.levels import Level
from qsimc.ir.quant import Numeric, precision


@cache
def kernel_sets() -> tuple[str, ...]:
    """Return the operator sets whose weights have names: kernel and bias."""
    table = tomllib.loads(resources.read("specs", f"formats/{FAMILY}.toml"))
    return tuple(map(str, table["attributes"]["kernels"]))


class Configurations:
    """Writes configurations; `everything` is what holds for all operators.  What cannot be said is lost once."""

    def __init__(self, lose: Once, everything: Level) -> None:
        self.lose = lose
        self.everything = everything
        self.kernel_sets = kernel_sets()
        quiet = Tensors(None)
        self.uneven = quiet.weight(everything, "weight") != quiet.weight(everything, "bias")

    def widths(self, levels: Iterable[Level]) -> tuple[int, ...]:
        """Return the widths that activations have, sorted: what inputs may have where nobody restricts them."""
        quiet = Tensors(None)
        return tuple(sorted({quiet.bits(level, "output") for level in levels}))

    def options(self, word: str, level: Level, inputs: tuple[int, ...]) -> Plain:
        """Return the options of an operator set, "" for all operators."""
        tensors = Tensors(self.lose)
        default = tensors.weight(self.everything if word in self.kernel_sets else level, "weight")
        attributes: Block = {}
        if word in self.kernel_sets:
            attributes = {
                mct.KERNEL: tensors.weight(level, "weight"),
                mct.BIAS: tensors.weight(level, "bias"),
            }
        elif Tensors(None).weight(level, "bias") != default:
            tensors.drop_bias(level)
        base: Block = {
            "default_weight_attr_config": default,
            "attr_weights_configs_mapping": attributes,
            **tensors.activation(level),
            "supported_input_activation_n_bits": list(inputs),
            "quantization_preserving": False,
        }
        choices = list(_choices(base, self._pairs(word, level), word in self.kernel_sets))
        return {"quantization_configurations": [*choices], "base_config": base}

    def _pairs(self, word: str, level: Level) -> list[tuple[int, int]]:
        """Return the widths to choose from, of activations and of kernels; 0 where none is said."""
        setting = level.own["output"].get("kernels")
        if setting is None or not word or not isinstance(setting.value, tuple):
            return []
        pairs: list[tuple[int, int]] = []
        for kernel in setting.value:
            widths = _widths(kernel)
            if widths is None or (widths[1] and word not in self.kernel_sets):
                message = f"MCT chooses between widths of integers: {of(setting, level.selector)} is not kept whole"
                self.lose(lost(setting, message))
            else:
                pairs.append(widths)
        return pairs


def _widths(kernel: Value) -> tuple[int, int] | None:
    """Return the widths of one kernel, None if it has other types than integers."""
    words = kernel if isinstance(kernel, tuple) else ()
    found: list[int] = []
    for word in words:
        try:
            family, bits = precision(str(word))
        except ValueError:
            return None
        if family is not Numeric.INT:
            return None
        found.append(bits)
    return (found[0], found[1] if len(found) > 1 else 0) if 1 <= len(found) <= 2 else None


def _choices(base: Block, pairs: list[tuple[int, int]], has_kernel: bool) -> Iterator[Block]:
    """Yield the configurations to choose from, `base` first if no pair of widths is its."""
    found: list[Block] = []
    for act, param in pairs:
        choice: Block = {**base, "activation_n_bits": act}
        attributes = base["attr_weights_configs_mapping"]
        own = attributes.get(mct.KERNEL) if isinstance(attributes, Mapping) else None
        if has_kernel and param and isinstance(attributes, Mapping) and isinstance(own, Mapping):
            kernel: Block = {**own, "weights_n_bits": param}
            choice["attr_weights_configs_mapping"] = {**attributes, mct.KERNEL: kernel}
        if choice not in found:
            found.append(choice)
    yield from found if base in found else [base, *found]
