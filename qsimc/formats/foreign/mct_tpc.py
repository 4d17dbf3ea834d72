"""Target platform capabilities of Sony's Model Compression Toolkit, schema version 2: what a device has.

    {"default_qco": OPTIONS, "operator_set": [{"name": "Conv", "qc_options": OPTIONS}], "fusing_patterns": [...]}

Options are quantization configurations to choose from, and the one that is used without a choice; an operator's
replace those for all.  Outputs are quantized, and the model's inputs as all other outputs are.
Source: model-compression-toolkit 2.6.1, schema/v1.py and v2.py, and its behaviour on accepted and refused files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from qsimc.diagnostics import Report
from qsimc.formats.foreign._mct.read import Losses, Meaning, all_widths
from qsimc.formats.foreign._mct.sets import OperatorSet, Sets
from qsimc.formats.foreign._mct.values import Options, Values
from qsimc.formats.foreign._mct.write import document as written
from qsimc.formats.foreign._shared import Findings, below, text
from qsimc.graph import Graph
from qsimc.ir.config import Clause, Config, Fusion, Option, Restriction, Rule, Setting
from qsimc.ir.loss import Lose, LossKind
from qsimc.ir.select import AnyOf, Boundary, Chain, Everything, OpType, Selector
from qsimc.source import Source
from qsimc.syntax.json import Array, Json, Member, Object, Scalar

TITLE = "Sony MCT target platform capabilities"
SUFFIX = ".json"

_OPTIONS: Mapping[str, type[int | str | bool]] = {
    "tpc_minor_version": int,
    "tpc_patch_version": int,
    "tpc_platform_type": str,
    "add_metadata": bool,
    "name": str,
    "is_simd_padding": bool,
    "insert_preserving_quantizers": bool,
}
_KEYS = ("default_qco", "operator_set", "fusing_patterns", "SCHEMA_VERSION", *_OPTIONS)
_VERSION = 2


def recognises(document: Json) -> bool:
    """Say whether a document describes a target to MCT."""
    return isinstance(document, Object) and "default_qco" in {m.key for m in document.members}


def read(source: Source, document: Json, report: Report) -> Config:
    """Return what a file says; everything wrong with it is reported."""
    return _File(Findings("MCT", report)).config(source, document)


def write(config: Config, lose: Lose, graph: Graph | None) -> str:
    """Return a description that MCT takes; it has no rules about single nodes, so a model makes no difference."""
    return text(written(config, lose, tuple(_OPTIONS) if config.format == "mct-tpc" else (), _VERSION))


class _File:
    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        self.values = Values(findings)
        self.lost = Losses(findings)
        self.restrictions: list[Restriction] = []

    def config(self, source: Source, document: Json) -> Config:
        empty = Config(source, "onnx", "mct-tpc")
        if not isinstance(document, Object):
            self.findings.wrong(document, "a description of a target", "an object", "")
            return empty
        found = self.values.members(document, _KEYS, "a description of a target", "")
        default = None
        if "default_qco" not in found:
            self.findings.bad("`default_qco` is missing", document.span, "")
        else:
            member = found["default_qco"]
            default = self.values.options(member.value, "default_qco", "/default_qco")
            if default is not None and len(default.choices) > 1:
                message = "`default_qco` must have exactly one configuration"
                self.findings.bad(message, member.value.span, "/default_qco")
        sets = Sets(self.findings, self.values)
        listed = self._items(found["operator_set"].value, "operator_set") if "operator_set" in found else ()
        operators = sets.operators(listed)
        fused = self._items(found["fusing_patterns"].value, "fusing_patterns") if "fusing_patterns" in found else ()
        rules = tuple(self._rules(default, operators))
        return Config(
            source,
            "onnx",
            "mct-tpc",
            options=tuple(self._top(found)),
            rules=rules,
            fusions=tuple(Fusion(Chain(steps), span) for steps, span in sets.fusions(fused)),
            restrictions=tuple(self.restrictions),
        )

    def _rules(self, default: Options | None, operators: list[tuple[OperatorSet, tuple[str, ...]]]) -> Iterator[Rule]:
        every = (options for options in (default, *(found.options for found, _ in operators)) if options is not None)
        meaning = Meaning(self.lost, all_widths(every))
        if default is not None:
            span = default.base.activation.span
            clauses = tuple(meaning.clauses(default, Everything()))
            yield Rule(Everything(), clauses, span)
            yield Rule(Boundary(), (_inputs(clauses),), span)
            self._restrict(meaning, default, Everything())
        for found, names in operators:
            ops = tuple(map(OpType, names))
            selector: Selector = ops[0] if len(ops) == 1 else AnyOf(ops)
            clauses = () if found.options is None else tuple(meaning.clauses(found.options, selector))
            yield Rule(selector, clauses, found.span, found.name_span)
            if found.options is not None:
                self._restrict(meaning, found.options, selector)

    def _restrict(self, meaning: Meaning, options: Options, selector: Selector) -> None:
        restriction = meaning.restriction(options, selector)
        if restriction is not None:
            self.restrictions.append(restriction)

    def _items(self, value: Json, key: str) -> Iterable[tuple[Json, str]]:
        if isinstance(value, Array):
            return [(item, f"/{key}/{index}") for index, item in enumerate(value.items)]
        if not (isinstance(value, Scalar) and value.value is None):
            self.findings.wrong(value, f"`{key}`", "an array", f"/{key}")
        return ()

    def _top(self, found: Mapping[str, Member]) -> Iterator[Option]:
        """Yield what a file says of itself."""
        for key, member in found.items():
            value, at = member.value, below("", key)
            scalar = value.value if isinstance(value, Scalar) else ()
            if key == "SCHEMA_VERSION" and scalar != _VERSION:
                if not isinstance(scalar, int) or isinstance(scalar, bool):
                    self.findings.wrong(value, f"`{key}`", "a number", at)
                else:
                    message = f"files of schema version {scalar} are read as those of version {_VERSION}"
                    self.findings.lost(LossKind.DROPPED, message, value.span, at)
            if key not in _OPTIONS or scalar is None:
                continue
            wanted = _OPTIONS[key]
            if not isinstance(scalar, wanted) or (wanted is int and isinstance(scalar, bool)):
                expected = {int: "a number", str: "a string", bool: "true or false"}[wanted]
                self.findings.wrong(value, f"`{key}`", expected, at)
            else:
                assert isinstance(scalar, int | str)
                yield Option(key, scalar, value.span)


def _inputs(clauses: Iterable[Clause]) -> Clause:
    """Return the clause of the model's inputs, which are quantized as outputs are."""
    output = next(clause for clause in clauses if clause.roles == ("output",))
    enabled: Setting = next(setting for setting in output.settings if setting.field == "enabled")
    return Clause(("input",), (enabled,), output.span)
