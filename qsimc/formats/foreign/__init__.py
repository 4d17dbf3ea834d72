"""Formats of other tools, one module each; the listing of this folder is the registry.

A module `name.py` is the format `name` (with `-` for `_`) and has

    TITLE: str                                            what the format is, in a few words
    SUFFIX: str                                           of a file in it: ".json"
    def recognises(document: Json) -> bool                by content; only for formats in JSON or YAML
    def read(source, document, report) -> Config          of the dialect `onnx`; left out where qsimc only writes
    def write(config, lose, graph) -> str                 left out where qsimc only reads

and, where they are needed,

    def parse(source, report) -> Json | None              of a text that is no plain JSON
    def read_on(source, document, report, graph)          of a file that speaks of the tensors of a model

`read` and `write` speak in ONNX's operator names and in the neutral vocabulary (specs/fields.toml).  What a file says
and the vocabulary has no word for is reported as a loss (`Loss.diagnostic()`) while it is read; what a config says and
the format cannot is a loss while it is written.  `write` gets a configuration with its defaults spelt out; `graph` is
that of a model, if there is one, for what can be said by names only.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Protocol, cast

from qsimc.syntax import json

if TYPE_CHECKING:
    from qsimc.diagnostics import Report
    from qsimc.graph import Graph
    from qsimc.ir.config import Config
    from qsimc.ir.loss import Lose
    from qsimc.source import Source
    from qsimc.syntax.json import Json


class Reader(Protocol):
    """A format that can be read."""

    TITLE: str
    SUFFIX: str

    def recognises(self, document: Json) -> bool: ...

    def read(self, source: Source, document: Json, report: Report) -> Config: ...


class Writer(Protocol):
    """A format that can be written."""

    TITLE: str
    SUFFIX: str

    def write(self, config: Config, lose: Lose, graph: Graph | None) -> str: ...


@cache
def names() -> tuple[str, ...]:
    """Return the names of all formats of other tools, sorted."""
    return tuple(sorted(m.name.replace("_", "-") for m in iter_modules(__path__) if not m.name.startswith("_")))


def reader(name: str) -> Reader | None:
    """Return the format of a name if it can be read."""
    found = _module(name)
    return cast(Reader, found) if hasattr(found, "read") else None


def writer(name: str) -> Writer | None:
    """Return the format of a name if it can be written."""
    found = _module(name)
    return cast(Writer, found) if hasattr(found, "write") else None


def read(format: Reader, source: Source, document: Json, report: Report, graph: Graph | None) -> Config:
    """Return what a document in a format says, with a model at hand if `graph` is given."""
    on_model: Callable[[Source, Json, Report, Graph], Config] | None = getattr(format, "read_on", None)
    if graph is None or on_model is None:
        return format.read(source, document, report)
    return on_model(source, document, report, graph)


def parser(name: str) -> Callable[[Source, Report], Json | None]:
    """Return what makes a located value of a text in a format: the format's own parser, or that of JSON."""
    own: Callable[[Source, Report], Json | None] = getattr(_module(name), "parse", json.parse)
    return own


@cache
def with_syntax() -> tuple[str, ...]:
    """Return the formats that have a parser of their own."""
    return tuple(name for name in names() if hasattr(_module(name), "parse"))


def _module(name: str) -> object:
    return import_module(f"{__name__}.{name.replace('-', '_')}") if name in names() else None
