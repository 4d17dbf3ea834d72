"""What other tools call ONNX's operators (specs/formats/*.toml, table `operators`)."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from qsimc import resources


@dataclass(frozen=True, slots=True)
class OperatorWords:
    """Names of operators in one family of tools.

    `of` gives the tool's words for an ONNX operator, the usual one first; `meant` the ONNX operators of a word.
    """

    of: Mapping[str, tuple[str, ...]]
    meant: Mapping[str, tuple[str, ...]]


@cache
def operator_words(family: str) -> OperatorWords:
    """Return the words of one family: `torch` for classes of PyTorch; a test looks at every file."""
    table = tomllib.loads(resources.read("specs", f"formats/{family}.toml"))["operators"]
    of = {operator: tuple(map(str, words)) for operator, words in table.items()}
    meant: dict[str, tuple[str, ...]] = {}
    for operator, words in of.items():
        for word in words:
            meant[word] = (*meant.get(word, ()), operator)
    return OperatorWords(of, meant)
