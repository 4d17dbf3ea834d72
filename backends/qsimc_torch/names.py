"""Names of a model -> names of Python.  A model may call its tensors anything; nothing of that may become code.

What comes out is one of four things: an identifier of ASCII letters, digits and underscores; a path of such; a string
literal; or the text of a comment.  The last two hold printable ASCII only.
"""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Iterable, Sequence
from itertools import pairwise

from torch import nn

from qsimc_torch.helpers import helpers
from qsimc_torch.runtime import Simulation

LONGEST = 40
"""Characters of an identifier: two of them and what joins them fit on a line."""

_LONGEST_PATH = 64

_RESERVED = frozenset(
    {*keyword.kwlist, *keyword.softkwlist, *dir(builtins), *helpers()}
    | {"self", "torch", "nn", "F", "Tensor", "annotations"}
)
"""What a local variable of generated code must not hide."""

_TAKEN = frozenset({*dir(nn.Module()), *dir(Simulation), "T_destination", "captured", "forward", "inputs", "outputs"})
"""What an attribute of generated modules must not hide."""

_PART = re.compile(r"(?!__)[A-Za-z_][A-Za-z0-9_]*|0|[1-9][0-9]{0,8}")


class Names:
    """Identifiers that are not in use yet."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = {*taken}

    def fresh(self, wish: str) -> str:
        """Return `wish`, an identifier, numbered if it is taken."""
        name, number = wish, 0
        while name in self._taken:
            number += 1
            name = f"{wish[: LONGEST - 1 - len(str(number))]}_{number}"
        self._taken.add(name)
        return name


def local_names() -> Names:
    """Return the names of local variables: no keyword, no builtin, nothing that generated code uses otherwise."""
    return Names(_RESERVED)


def identifier(text: str, *, otherwise: str = "value") -> str:
    """Return an identifier that resembles a text: `Conv_0/out:1` is `conv_0_out_1`."""
    words = re.sub(r"[^A-Za-z0-9]+", "_", text[: 4 * LONGEST]).strip("_").lower()[:LONGEST].rstrip("_")
    if not words:
        return otherwise
    return f"{otherwise}_{words}"[:LONGEST] if words[0].isdigit() else words


def local(tensor: str, op: str | None = None) -> str:
    """Return what the variable of a tensor is called, before it is made unique.

    `/layer1/layer1.0/relu/Relu_1_output_0` is `layer1_0_relu_1`: exporters repeat the names of modules inside each
    other, and append the operator and the number of its output.
    """
    parts = [part for part in re.sub(r"_output_0$", "", tensor[: 8 * LONGEST]).split("/") if part]
    if op and len(parts) > 1 and (numbered := re.fullmatch(rf"{re.escape(op)}(_[0-9]+)?", parts[-1])):
        parts[-2:] = [parts[-2] + (numbered[1] or "")]
    repeated = [after.startswith(f"{part}.") for part, after in pairwise(parts)]
    return identifier("_".join(part for part, again in zip(parts, [*repeated, False], strict=False) if not again))


def attribute_paths(names: Sequence[str]) -> dict[str, str]:
    """Return where a module keeps each parameter of a model: under its own name if that is a path of attributes.

    Any other gets one attribute that resembles it.  `layer1.0.weight` keeps its name, `onnx::Conv_1` is `onnx_conv_1`;
    so is a name that is also the beginning of another, which cannot be a parameter and a module at once.
    """
    inner = {name[:position] for name in names for position, char in enumerate(name) if char == "."}
    kept = {name for name in names if name not in inner and _is_path(name)}
    free = Names({*_TAKEN, *keyword.kwlist, *(name.partition(".")[0] for name in kept)})
    return {name: name if name in kept else free.fresh(identifier(name, otherwise="constant")) for name in names}


def _is_path(name: str) -> bool:
    parts = name.split(".")
    return (
        len(name) <= _LONGEST_PATH
        and all(_PART.fullmatch(part) and not keyword.iskeyword(part) and part not in _TAKEN for part in parts)
        and not parts[0].startswith("q_")
        and not parts[-1].isdigit()
    )


def reference(path: str) -> str:
    """Return the expression for an attribute path: `self.layer1[0].weight`."""
    return "self" + "".join(f"[{part}]" if part.isdigit() else f".{part}" for part in path.split("."))


def string(text: str) -> str:
    """Return a string literal."""
    return f'"{printable(text)}"'


def printable(text: str) -> str:
    """Return text for a literal, a comment or a docstring: what cannot be seen, quotes and backslashes escaped."""
    return "".join(char if " " <= char <= "~" and char not in _DELIMITERS else _escape(ord(char)) for char in text)


_DELIMITERS = '"\\'


def class_name(text: str) -> str:
    """Return the name of a class: `resnet-18` is `Resnet18`."""
    words = re.findall(r"[A-Za-z0-9]+", text[: 4 * LONGEST])
    name = "".join(word[0].upper() + word[1:] for word in words)[:LONGEST]
    return name if name and not name[0].isdigit() and name not in _CLASSES else f"Model{name}"


_CLASSES = frozenset(
    {"Cast", "F", "FakeQuantize", "Quantized", "Scope", "Simulation", "Tensor", *keyword.kwlist, *dir(builtins)}
)


def _escape(code: int) -> str:
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
