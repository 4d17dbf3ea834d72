"""A configuration in another format, with every loss reported; with a model, what the losses do to its tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

from qsimc import formats
from qsimc.backend import Backend, Model
from qsimc.diagnostics import Diagnostic, Severity, in_order
from qsimc.formats import foreign, keyed_writer
from qsimc.formats.dialects import aimet, vitis
from qsimc.formats.dialects.neutral import VITIS, NodesOf, by_name, neutral
from qsimc.graph import Graph
from qsimc.ir.config import Config, Value, show_setting
from qsimc.ir.levels import levels
from qsimc.ir.loss import OF_FIELD, Lose, Loss, LossKind
from qsimc.ir.select import NodeName
from qsimc.outputs import safe_name
from qsimc.pipeline.plan import Choices, installed_backend, opened, resolve_on, stop_on_errors
from qsimc.planning.compare import FieldDifference, TensorDifference, compare_plans
from qsimc.planning.plan import PORT_DIALECT, Plan
from qsimc.planning.unsimulated import report_unsimulated
from qsimc.planning.vitis.modules import of_name
from qsimc.planning.vitis.network import Network
from qsimc.reading import read_source
from qsimc.source import Source
from qsimc.spec import keymap

_INTO: dict[str, Callable[[Config, Lose], Config]] = {"aimet": aimet.into_aimet, "vitis": vitis.into_vitis}


@dataclass(frozen=True, slots=True, kw_only=True)
class Translation:
    """A configuration in another format.

    `losses` are what it says otherwise than the source, or not at all, in the source's order; `findings` what was found
    while the source was read (no errors).
    """

    text: str
    losses: tuple[Loss, ...]
    source: Source
    findings: tuple[Diagnostic, ...] = ()

    @property
    def lossless(self) -> bool:
        """Whether nothing was lost; what is only put in another way does not count."""
        losses = (loss.diagnostic() for loss in self.losses)
        found = (*losses, *(d for d in self.findings if d.code.startswith("Q07")))
        return not any(d.severity is Severity.WARNING for d in found)

    def reported(self) -> list[Diagnostic]:
        """Return losses and findings as diagnostics, in the order of the file."""
        return in_order([*self.findings, *(loss.diagnostic(self.source.path) for loss in self.losses)])


def translate(
    path: str | PathLike[str], to: str, *, format: str | None = None, model: str | None = None
) -> tuple[str, list[Loss]]:
    """Return a configuration in another format, and what was lost.

    Args:
        path: the configuration: a file, `-`, or a built-in name.
        to: the format, one of `qsimc.formats.writable()`.
        format: what the configuration is in; None looks at its content.
        model: an .onnx file or `package.module:factory`; the losses then name the tensors that they change.

    Raises:
        InputError: the configuration or the model has errors.
        LookupError: no such format.
    """
    done = translated(str(path), to, format=format, model=model)
    return done.text, list(done.losses)


def not_writable(to: str) -> str:
    """Return why a configuration cannot be written in a format, and what to do instead."""
    # Imported here: encodings bring numpy, and are asked for by mistake only.
    from qsimc.pipeline.encodings import TARGETS

    if to in TARGETS:
        return f"`{to}` holds encodings, which come from data: `qsimc quantize` first, then `qsimc encodings convert`"
    return f"no format `{to}` can be written; there are {', '.join(formats.writable())}"


def translated(
    reference: str, to: str, *, format: str | None = None, model: str | None = None, chosen: Choices | None = None
) -> Translation:
    """Do what `translate` does, and return all there is to say about it.

    Args:
        chosen: what the configuration does not say, for plans on the model.
    """
    if to not in formats.writable():
        raise LookupError(not_writable(to))
    findings: list[Diagnostic] = []
    source = read_source(reference, findings.append)
    stop_on_errors(findings)
    assert source is not None
    config = formats.written(source, findings.append, format)
    stop_on_errors(findings)
    assert config is not None
    if model is None:
        losses: list[Loss] = []
        text = _text(config, to, losses.append, None, None)
    else:
        backend = installed_backend("onnx")
        with opened(model, findings.append, backend) as on:
            stop_on_errors(findings)
            assert on is not None
            losses, text = on_model(config, to, backend, on, chosen or Choices(), findings)
    return Translation(text=text, losses=tuple(_ordered(losses)), source=source, findings=tuple(in_order(findings)))


def _text(config: Config, to: str, lose: Lose, graph: Graph | None, nodes_of: NodesOf | None) -> str:
    """Return a configuration as written in a format."""
    if to == formats.QSIM:
        # Imported here: no other format needs the language.
        from qsimc.formats import qsim_writer

        return qsim_writer.write(config, compact=True)
    if to in keymap.names():
        table = keymap.load(to)
        if formats.READINGS.get(config.dialect, config.dialect) == table.dialect:
            return keyed_writer.write(table, config, lose)
        plain = neutral(config, lose, nodes_of)
        if graph is not None and table.dialect == VITIS:
            plain = by_name(plain, graph, lose)
        return keyed_writer.write(table, _INTO[table.dialect](plain, lose), lose)
    writer = foreign.writer(to)
    assert writer is not None, f"{to} is writable"
    return writer.write(neutral(config, lose, nodes_of), lose, graph)


# ── on a model ───────────────────────────────────────────────────────────────────────────────


def on_model(
    config: Config, to: str, backend: Backend, model: Model, chosen: Choices, findings: list[Diagnostic]
) -> tuple[list[Loss], str]:
    """Translate with a model at hand; what happens otherwise to its tensors is added to the losses."""
    losses: list[Loss] = []
    text = _text(config, to, losses.append, model.graph, _nodes_of(config, model, chosen))
    if to not in formats.names() or config.dialect == PORT_DIALECT:
        return losses, text
    before = _plan(formats.meaning(config), backend, model, chosen, findings)
    again = _read_back(text, to, config, model.graph)
    after = None if again is None else _plan(again, backend, model, chosen, [])
    if before is None or after is None:
        return losses, text
    return list(attributed(losses, compare_plans(before, after), to)), text


def _plan(config: Config, backend: Backend, model: Model, chosen: Choices, findings: list[Diagnostic]) -> Plan | None:
    """Return a plan; none of a configuration that can be translated and not simulated."""
    if report_unsimulated(config, lambda _: None):
        return None
    found: list[Diagnostic] = []
    bound = resolve_on(backend, model, config, chosen, found.append)
    if bound is None:
        findings += found
        stop_on_errors(findings)
    return None if bound is None else bound.plan


def _read_back(text: str, to: str, config: Config, graph: Graph) -> Config | None:
    """Return a translation as its own format reads it.

    Raises:
        InputError: it is not sound, which is a bug of ours.
    """
    found: list[Diagnostic] = []
    again = formats.read(Source(f"{config.source.path}, as {to}", text), found.append, to, graph)
    stop_on_errors(found)
    return again


def _nodes_of(config: Config, model: Model, chosen: Choices) -> NodesOf:
    """Return what finds the nodes of a model that a layer name of Vitis AI means."""
    network = Network.of(model.graph)
    merged = {level.selector: level for level in levels(formats.meaning(config))}

    def nodes_of(pattern: str) -> tuple[str, ...]:
        name = safe_name(Path(model.path).stem)
        found = of_name(network, merged[NodeName(pattern)], name, chosen.mode, lambda _: None)
        return tuple(layer.node.name for layer in found)

    return nodes_of


def attributed(losses: Sequence[Loss], differences: Sequence[TensorDifference], to: str) -> Iterator[Loss]:
    """Yield losses with the tensors that each changes, and one for every kind of difference that none accounts for."""
    tensors: dict[int, list[str]] = {index: [] for index in range(len(losses))}
    others: dict[tuple[str, str], list[str]] = {}
    for difference in differences:
        for field in difference.fields:
            blamed = [i for i, loss in enumerate(losses) if field.field in loss.fields and _same_place(loss, field)]
            for index in blamed:
                tensors[index].append(difference.tensor)
            if not blamed:
                before, after = (_shown(field.field, value) for value in (field.before, field.after))
                message = f"`{before}` comes out as `{after}` in {to}, by its own rules"
                others.setdefault((field.field, message), []).append(difference.tensor)
    for index, loss in enumerate(losses):
        yield replace(loss, tensors=tuple(dict.fromkeys(tensors[index])))
    for (name, message), changed in others.items():
        kind = OF_FIELD.get(name, LossKind.PLACEMENT)
        yield Loss(kind, message, tensors=tuple(dict.fromkeys(changed)), fields=(name,))


def _same_place(loss: Loss, field: FieldDifference) -> bool:
    """Say whether a loss is of the very word that decided a field before."""
    return loss.span is not None and field.because_before.span == loss.span


def _shown(field: str, value: Value) -> str:
    if value is None:
        return f"no {field}"
    return f"{field}={value}" if field in ("axis", "shares") else show_setting(field, value)


def _ordered(losses: Sequence[Loss]) -> list[Loss]:
    """Return losses in the order of the source, those without a place last; each once."""
    unique = dict.fromkeys(losses)
    return sorted(unique, key=lambda loss: (loss.span is None, loss.span.start if loss.span else 0, loss.code))
