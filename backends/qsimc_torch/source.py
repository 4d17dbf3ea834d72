"""A model and its plan -> the source of a module.

Everything is decided in `qsimc_torch.writer` and here; templates/torch/module.py.j2 only lays it out.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from jinja2 import Environment, FunctionLoader, StrictUndefined, Template
from qsimc_onnx.model import OnnxModel

from qsimc import resources
from qsimc.planning.plan import Plan
from qsimc_torch import helpers, layout
from qsimc_torch.bodies import unfolded
from qsimc_torch.names import class_name, printable, string
from qsimc_torch.quantizers import Quantizer
from qsimc_torch.writer import Writer


@dataclass(frozen=True, slots=True)
class Generated:
    """A module as source.

    Attributes:
        parameters: name in the state dict -> the constant of the model that it holds.
        quantizers: attribute -> the quantizer that it is.
        model: the model that the constants are in: of one with control flow, a copy that has them in its main graph.
    """

    name: str
    text: str
    parameters: Mapping[str, str]
    quantizers: Mapping[str, Quantizer]
    model: OnnxModel


@dataclass(frozen=True, slots=True)
class Page:
    """What the template lays out: lines, complete and indented."""

    title: str
    name: str
    load: str
    imports: Sequence[str]
    runtime: Sequence[str]
    attributes: Sequence[str]
    registrations: Sequence[str]
    signature: Sequence[str]
    body: Sequence[str]


def generate(
    model: OnnxModel, plan: Plan, quantizers: Sequence[Quantizer], *, weights: str, standalone: bool = False
) -> Generated:
    """Return the module of a model with quantizers where a plan has them.

    Args:
        weights: name of the file that holds its weights.
        standalone: write the runtime into the module, which then needs nothing but torch.

    Raises:
        InputError: operators have no expression (Q0552), all of them at once.
    """
    model, bodies = unfolded(model)
    writer = Writer(model, plan, quantizers, bodies)
    writer.write()
    name = class_name(model.stem)
    parameters, attributes = list(writer.inputs.values()), writer.attributes()
    returns = (
        "Tensor" if len(model.graph.outputs) == 1 else f"tuple[{', '.join(['Tensor'] * len(model.graph.outputs))}]"
    )
    signature = layout.signature("forward", ["self", *(f"{p}: Tensor" for p in parameters)], returns, 1)
    code = [*attributes, *writer.registrations(), *signature, *writer.lines]
    page = Page(
        title=f"{printable(layout.shortened(model.stem, 60))} with {len(quantizers)} quantizers, written by qsimc.",
        name=name,
        load=f"{name}.load({string(weights)})",
        imports=list(_imports(code, standalone)),
        runtime=[_runtime()[1], *(f"\n{part}\n" for part in helpers.sources(_plain(code)))] if standalone else [],
        attributes=attributes,
        registrations=writer.registrations(),
        signature=signature,
        body=writer.lines,
    )
    return Generated(name, _template().render(page=page), writer.parameters(), writer.used_quantizers(), model)


@cache
def _template() -> Template:
    environment = Environment(
        loader=FunctionLoader(lambda name: resources.read("templates", f"torch/{name}")),
        autoescape=False,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("module.py.j2")


@cache
def _runtime() -> tuple[tuple[str, ...], str]:
    """Return the imports of the runtime and the rest of it."""
    text = files("qsimc_torch").joinpath("runtime", "fake_quant.py").read_text(encoding="utf-8")
    lines = text.splitlines()
    statements = [s for s in ast.parse(text).body if isinstance(s, ast.Import | ast.ImportFrom)]
    first, last = statements[0].lineno - 1, statements[-1].end_lineno or 0
    return tuple(lines[first:last]), "\n".join(lines[last:]).strip("\n") + "\n"


def _imports(code: Sequence[str], standalone: bool) -> Iterator[str]:
    """Yield the imports that the code needs, in the order in which linters want them."""
    plain = _plain(code)
    if standalone:
        plain = "\n".join([plain, *helpers.sources(plain)])
    functional = "import torch.nn.functional as F" if re.search(r"\bF\.", plain) else ""
    if standalone:
        for line in _runtime()[0]:
            yield line
            if line == "import torch" and functional:
                yield functional
        return
    if "torch." in plain:
        yield "import torch"
    if functional:
        yield functional
    used = [name for name in ("Cast", "FakeQuantize") if f"{name}(" in plain]
    yield f"from qsimc_torch.runtime import {', '.join([*used, 'Simulation'])}"
    yield from helpers.imports(plain)
    yield "from torch import Tensor"


def _plain(code: Sequence[str]) -> str:
    """Return code without its strings and comments."""
    return re.sub(r'"[^"]*"|#.*', "", "\n".join(code))
