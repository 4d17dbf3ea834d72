"""NVIDIA ModelOpt's recipes of post-training quantization, in YAML.

A later entry wins over an earlier one.  Weights and inputs of modules are quantized unless an entry switches them off,
outputs only where one switches them on.  Snippets that come with ModelOpt are known, files of others are not read.
Source: recipe loader, configuration schema and quantized modules of nvidia-modelopt 0.47.0.
"""

from __future__ import annotations

from collections.abc import Mapping

from qsimc.diagnostics import Diagnostic, Label, Report, Severity
from qsimc.formats.foreign._modelopt.read import rules
from qsimc.formats.foreign._modelopt.write import ALGORITHMS
from qsimc.formats.foreign._modelopt.write import write as write
from qsimc.formats.foreign._shared import Findings, below, members
from qsimc.ir.config import Config, Option, Rule, Setting
from qsimc.ir.loss import LossKind
from qsimc.source import Source, Span
from qsimc.syntax.json import Array, Json, Member, Object, Scalar

TITLE = "NVIDIA ModelOpt recipe"
SUFFIX = ".yaml"

_TOP = ("imports", "metadata", "quantize")
_QUANTIZE = ("imports", "quant_cfg", "algorithm", "effective_bits")
_METADATA = ("recipe_type", "description")


def parse(source: Source, report: Report) -> Json | None:
    """Return the located value of a file; of two documents the first one holds the imports of the second."""
    # Imported here: no other configuration needs PyYAML.
    from qsimc.syntax import yaml

    documents = yaml.parse_all(source, report)
    if documents is None:
        return None
    if len(documents) > 2 or (len(documents) == 2 and not isinstance(documents[0], Object)):
        message = "a file holds one document, or one of imports and another one"
        label = Label(documents[1].span)
        report(Diagnostic(code="Q0115", name="not-yaml", severity=Severity.ERROR, message=message, labels=(label,)))
        return None
    if len(documents) < 2:
        return documents[0] if documents else Scalar(None, Span(source, 0, 0))
    header, content = documents
    assert isinstance(header, Object)
    if isinstance(content, Object):
        return Object((*header.members, *content.members), content.span)
    entries = Member("quant_cfg", Span(source, content.span.start, content.span.start), content)
    return Object((*header.members, entries), content.span)


def recognises(document: Json) -> bool:
    """Say whether a document has quantizers by name: within `quantize`, in `quant_cfg`, or in an array of entries."""
    if isinstance(document, Array):
        return any(isinstance(item, Object) and "quantizer_name" in members(item) for item in document.items)
    if not isinstance(document, Object):
        return False
    found = members(document)
    inner = found.get("quantize")
    within = inner is not None and isinstance(inner.value, Object) and "quant_cfg" in members(inner.value)
    recipe = found.get("metadata")
    typed = recipe is not None and isinstance(recipe.value, Object) and "recipe_type" in members(recipe.value)
    return within or typed or "quant_cfg" in found


def read(source: Source, document: Json, report: Report) -> Config:
    """Return what a recipe, a configuration within one, or an array of entries says."""
    reader = _Reader(Findings("ModelOpt", report))
    reader.file(document)
    return Config(
        source=source, dialect="onnx", format="modelopt", options=tuple(reader.options), rules=tuple(reader.rules)
    )


class _Reader:
    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        self.rules: list[Rule] = []
        self.options: list[Option] = []

    def file(self, document: Json) -> None:
        if isinstance(document, Array):
            self.rules += rules(document, {}, None, _start(document.span), "", self.findings)
            return
        if not isinstance(document, Object):
            self.findings.wrong(document, "the whole file", "an object, or an array of entries", "")
            return
        found = members(document)
        imports = self._object(found.get("imports"), "/imports")
        if not self._is_ptq(found.get("metadata")):
            return
        section = found.get("quantize")
        if section is None:
            known = _TOP if "metadata" in found else _QUANTIZE
            self._unknown(document, known, "the top level", "")
            if "metadata" not in found:
                self._quantize(found, imports, document.span, "")
            return
        self._unknown(document, _TOP, "a recipe", "")
        own = self._object(section, "/quantize")
        if isinstance(section.value, Object):
            self._unknown(section.value, _QUANTIZE, "`quantize`", "/quantize")
            self._quantize(own, imports, section.key_span, "/quantize")

    def _unknown(self, value: Object, known: tuple[str, ...], where: str, pointer: str) -> None:
        for member in members(value).values():
            if member.key not in known:
                self.findings.unknown(member, known, where, below(pointer, member.key), refused=True)

    def _is_ptq(self, member: Member | None) -> bool:
        """Say whether a recipe is of this kind, after reporting one that is not."""
        found = self._object(member, "/metadata")
        for other in found.values():
            if other.key not in _METADATA:
                self.findings.unknown(other, _METADATA, "`metadata`", below("/metadata", other.key), refused=True)
        kind = found.get("recipe_type")
        word = kind.value.value if kind is not None and isinstance(kind.value, Scalar) else None
        if kind is None or word == "ptq":
            return True
        message = f"a recipe of type `{str(word)[:40]}` is no configuration; only `ptq` is"
        self.findings.bad(message, kind.value.span, "/metadata/recipe_type")
        return False

    def _quantize(self, found: Mapping[str, Member], imports: Mapping[str, Member], span: Span, pointer: str) -> None:
        entries, algorithm = found.get("quant_cfg"), found.get("algorithm")
        place = entries.key_span if entries is not None else _start(span)
        calib = self._algorithm(algorithm.value, below(pointer, "algorithm")) if algorithm is not None else None
        value = entries.value if entries is not None else None
        self.rules += rules(value, imports, calib, place, below(pointer, "quant_cfg"), self.findings)

    def _algorithm(self, value: Json, pointer: str) -> Setting | None:
        """Return how ranges of weights are found, if not by the largest value; other algorithms become options."""
        if isinstance(value, Array):
            done = [self._algorithm(item, below(pointer, index)) for index, item in enumerate(value.items)]
            return next((setting for setting in reversed(done) if setting is not None), None)
        method: Json = value
        if isinstance(value, Object):
            found = members(value)
            if "method" not in found:
                self.findings.bad("an algorithm has a `method`", value.span, pointer)
                return None
            method = found["method"].value
            for member in found.values():
                if member.key != "method":
                    message = f"nothing else has the parameter `{member.key}` of an algorithm: it is dropped"
                    at = below(pointer, member.key)
                    self.findings.lost(LossKind.OPTION, message, member.value.span, at)
        word = method.value if isinstance(method, Scalar) else False
        if word == "mse":
            return Setting("calib", "mse", method.span, pointer)
        if isinstance(word, str) and word in ALGORITHMS:
            self.options.append(Option("algorithm", word, method.span))
        elif word is not None and word != "max":
            known = ", ".join(f"`{name}`" for name in ("max", "mse", *ALGORITHMS))
            self.findings.bad(f"no algorithm is called `{str(word)[:40]}`", method.span, pointer, f"known: {known}")
        return None

    def _object(self, member: Member | None, pointer: str) -> Mapping[str, Member]:
        if member is None or (isinstance(member.value, Scalar) and member.value.value is None):
            return {}
        if isinstance(member.value, Object):
            return members(member.value)
        self.findings.wrong(member.value, f"`{member.key}`", "an object", pointer)
        return {}


def _start(span: Span) -> Span:
    """Return the place where something begins."""
    return Span(span.source, span.start, span.start)
