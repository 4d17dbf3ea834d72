"""AMD Quark's quantization configuration for ONNX models, as its `QConfig` writes and loads it.

Quark 0.13 writes `activation` and does not load it again; what it loads is `input_tensors`.  Both mean all activations.
Source: amd-quark 0.13, quark/onnx/quantization/config.
"""

from __future__ import annotations

from collections.abc import Mapping

from qsimc.diagnostics import Report
from qsimc.formats.foreign._names import globs_of_regex
from qsimc.formats.foreign._quark.onnx_write import write as write
from qsimc.formats.foreign._quark.read_onnx import TensorReader
from qsimc.formats.foreign._shared import Findings, below, members, whole
from qsimc.ir.config import Clause, Config, Rule, Setting
from qsimc.ir.loss import LossKind
from qsimc.ir.select import AnyOf, Everything, NodeName, OpType, Selector
from qsimc.source import Source, Span
from qsimc.syntax.json import Array, Json, Member, Object, Scalar, kind, plain

TITLE = "AMD Quark, ONNX"
SUFFIX = ".json"

_KEYS = (
    "global_config", "specific_layer_config", "layer_type_config", "exclude", "algo_config", "use_external_data_format",
    "extra_options",
)  # fmt: skip
_ROLES = {
    "input_tensors": "input",
    "activation": "input",
    "weight": "weight",
    "bias": "bias",
    "output_tensors": "output",
}
_OPTIONS = (
    "QuantizeBias", "Int32Bias", "Int16Bias", "WeightsOnly", "Percentile", "MinMSEModePof2Scale", "OpTypesToQuantize",
    "OpTypesToExcludeOutputQuantization",
)  # fmt: skip
_ANY = "^(?=.*)"  # in front of a pattern that Quark would not take for one: it matches everywhere


def recognises(document: Json) -> bool:
    """Say whether a document is such a configuration."""
    return isinstance(document, Object) and "global_config" in members(document)


def read(source: Source, document: Json, report: Report) -> Config:
    """Return what a file says; what the neutral vocabulary has no words for is reported."""
    findings = Findings("Quark", report)
    rules: list[Rule] = []
    if isinstance(document, Object):
        rules = _Reader(findings, members(document)).rules(document)
    else:
        findings.wrong(document, "the whole file", "an object", "")
    return Config(source=source, dialect="onnx", format="quark-onnx", rules=tuple(rules))


class _Reader:
    def __init__(self, findings: Findings, found: Mapping[str, Member]) -> None:
        self.findings = findings
        self.tensors = TensorReader(findings)
        self.found = found
        options = found.get("extra_options")
        self.options: Mapping[str, Member] = {}
        if options is not None and isinstance(options.value, Object):
            self.options = members(options.value)
        elif options is not None and options.value != Scalar(None, options.value.span):
            findings.wrong(options.value, "`extra_options`", "an object", "/extra_options")

    def rules(self, document: Object) -> list[Rule]:
        rules = self._global(document)
        rules += self._entries("layer_type_config", named=False)
        rules += self._outputs_off()
        rules += self._entries("specific_layer_config", named=True)
        rules += self._excluded()
        self._others()
        return rules

    # ── the whole model ──────────────────────────────────────────────────────────────────────

    def _global(self, document: Object) -> list[Rule]:
        member = self.found.get("global_config")
        if member is None or not isinstance(member.value, Object):
            self.findings.bad("`global_config` is missing, or no object", document.span, "", "add `global_config`")
            return []
        found = members(member.value)
        for names in (("input_tensors", "activation"), ("weight",)):
            if not any(name in found for name in names):
                message = f"`{names[0]}` is missing from `global_config`"
                self.findings.bad(message, member.value.span, "/global_config", f"add `{names[0]}`")
        if "activation" in found and "input_tensors" not in found:
            message = "Quark 0.13 does not load `activation`: it asks for `input_tensors`"
            self.findings.lost(LossKind.DROPPED, message, found["activation"].key_span, "/global_config/activation")
        clauses = []
        for key, inner in found.items():
            pointer = below("/global_config", key)
            if key in ("bias", "output_tensors"):
                message = f"Quark takes no `{key}` for a whole model"
                self.findings.lost(LossKind.PLACEMENT, message, inner.key_span, pointer)
            elif key not in _ROLES:
                self.findings.unknown(inner, tuple(_ROLES), "`global_config`", pointer, refused=False)
            else:
                role = _ROLES[key]
                settings = self.tensors.read(role, inner.value, pointer)
                if role == "input":
                    off, place = self._flag("WeightsOnly", False)
                    if off and place is not None:
                        settings = [Setting("enabled", False, place, "/extra_options/WeightsOnly")]
                    clauses.append(Clause(("input", "output"), (*settings, *self._statistic(settings)), whole(inner)))
                else:
                    clauses.append(Clause((role,), tuple(settings), whole(inner)))
        clauses.append(self._bias(member.key_span, found))
        selector: Selector = Everything()
        types = [str(name) for name in self._names("OpTypesToQuantize")]
        if types:
            selector = OpType(types[0]) if len(types) == 1 else AnyOf(tuple(map(OpType, types)))
        return [Rule(selector, tuple(clauses), whole(member), member.key_span)]

    def _bias(self, span: Span, found: Mapping[str, Member]) -> Clause:
        on, place = self._flag("QuantizeBias", True)
        weights_only, _ = self._flag("WeightsOnly", False)
        where = "/extra_options/QuantizeBias"
        if not on or weights_only:
            return Clause(("bias",), (Setting("enabled", False, place or span, where),), place or span)
        scale = [plain(found[k].value) for k in ("input_tensors", "weight") if k in found]
        pow2 = all(isinstance(s, dict) and s.get("scale_type") == "ScaleType.PowerOf2" for s in scale) and bool(scale)
        wide, at = self._flag("Int32Bias", not pow2)
        half, half_at = self._flag("Int16Bias", False)
        bits, at = (16, half_at) if half else (32 if wide else 8, at)
        settings = (
            Setting("enabled", True, place or span, where),
            Setting("type", "int", at or span, "/extra_options/Int32Bias"),
            Setting("bits", bits, at or span, "/extra_options/Int32Bias"),
            Setting("signed", True, at or span, "/extra_options/Int32Bias"),
            Setting("symmetric", True, at or span, "/extra_options/Int32Bias"),
        )
        return Clause(("bias",), settings, place or span)

    def _statistic(self, settings: list[Setting]) -> list[Setting]:
        """Return what options say of the ranges of activations."""
        said = {setting.field: setting for setting in settings}
        calib, scale = said.get("calib"), said.get("scale")
        if calib is None or scale is None:
            return []
        mode, percentile = self.options.get("MinMSEModePof2Scale"), self.options.get("Percentile")
        found = []
        if calib.value == "minmax":
            found.append(Setting("reduce", "max", calib.span, calib.pointer))
        if (calib.value, scale.value) == ("mse", "pow2") and mode is not None and plain(mode.value) == "MostCommon":
            found.append(Setting("reduce", "modal", mode.value.span, "/extra_options/MinMSEModePof2Scale"))
        share = None if percentile is None else plain(percentile.value)
        if percentile is not None and calib.value == "percentile" and isinstance(share, (int, float)):
            if not isinstance(share, bool) and 50 <= share <= 100:
                found.append(Setting("percentile", share, percentile.value.span, "/extra_options/Percentile"))
            else:
                self.findings.bad("a percentile is 50 to 100", percentile.value.span, "/extra_options/Percentile")
        return found

    # ── types and nodes ──────────────────────────────────────────────────────────────────────

    def _entries(self, key: str, *, named: bool) -> list[Rule]:
        rules: list[Rule] = []
        for index, item in enumerate(self._array(key)):
            pointer = below(f"/{key}", index)
            match item:
                case Array((entry, Array(subjects, _)), _):
                    clauses = self._clauses(entry, below(pointer, 0))
                    for place, subject in enumerate(subjects):
                        at = below(below(pointer, 1), place)
                        found = self._selectors(subject, at, named=named)
                        rules += [Rule(selector, clauses, item.span, subject.span) for selector in found]
                case _:
                    self.findings.wrong(item, f"an entry of `{key}`", "an entry and an array of names", pointer)
        return rules

    def _clauses(self, entry: Json, pointer: str) -> tuple[Clause, ...]:
        match entry:
            case Scalar(None, span):
                return (Clause((), (Setting("enabled", False, span, pointer),), span),)
            case Object():
                pass
            case _:
                self.findings.wrong(entry, "the entry of a layer", "an object or null", pointer)
                return ()
        clauses = []
        for key, inner in members(entry).items():
            if key not in _ROLES or key == "activation":
                known = tuple(k for k in _ROLES if k != "activation")
                self.findings.unknown(inner, known, "the entry of a layer", below(pointer, key), refused=False)
                continue
            settings = self.tensors.read(_ROLES[key], inner.value, below(pointer, key))
            # Of an entry Quark takes the data type and the symmetry.
            taken = tuple(s for s in settings if s.field in ("enabled", "type", "bits", "signed", "symmetric"))
            clauses.append(Clause((_ROLES[key],), taken, whole(inner)))
        return tuple(clauses)

    def _selectors(self, subject: Json, pointer: str, *, named: bool) -> list[Selector]:
        match subject:
            case Scalar(str() as name, span) if named and name.startswith("^"):
                return list(self._pattern(name, span, pointer))
            case Scalar(str() as name, _):
                return [NodeName(name) if named else OpType(name)]
            case Array() if named:
                message = "there are no words for parts of a model between nodes"
                self.findings.lost(LossKind.SELECTOR, message, subject.span, pointer)
            case _:
                self.findings.bad(f"a name is a string, found {kind(subject)}", subject.span, pointer)
        return []

    def _pattern(self, name: str, span: Span, pointer: str) -> tuple[NodeName, ...]:
        if ".*" not in name:
            self.findings.bad("a pattern of Quark has `.*` in it", span, pointer, "write the name without `^`")
            return ()
        regex = f"^{name.removeprefix(_ANY)}" if name.startswith(_ANY) else name
        globs = globs_of_regex(regex, begins=False, ends=False)
        if globs is None:
            self.findings.lost(LossKind.SELECTOR, f"no glob matches what `{name[:80]}` does", span, pointer)
            return ()
        if not globs.exact:
            self.findings.lost(LossKind.SELECTOR, f"the globs for `{name[:80]}` match more than it does", span, pointer)
        return tuple(NodeName(glob, glob=True) for glob in globs.patterns)

    def _outputs_off(self) -> list[Rule]:
        member = self.options.get("OpTypesToExcludeOutputQuantization")
        rules = []
        for name in self._names("OpTypesToExcludeOutputQuantization"):
            assert member is not None
            off = Setting("enabled", False, member.value.span, "/extra_options/OpTypesToExcludeOutputQuantization")
            rules.append(Rule(OpType(str(name)), (Clause(("output",), (off,), off.span),), off.span))
        return rules

    def _excluded(self) -> list[Rule]:
        rules = []
        for index, item in enumerate(self._array("exclude")):
            pointer = below("/exclude", index)
            for selector in self._selectors(item, pointer, named=True):
                off = Clause((), (Setting("enabled", False, item.span, pointer),), item.span)
                rules.append(Rule(selector, (off,), item.span, item.span))
        return rules

    # ── the rest ─────────────────────────────────────────────────────────────────────────────

    def _others(self) -> None:
        for key, member in self.found.items():
            if key not in _KEYS:
                self.findings.unknown(member, _KEYS, "the whole file", below("", key), refused=False)
        for index, item in enumerate(self._array("algo_config")):
            message = "there are no words for algorithms"
            self.findings.lost(LossKind.OPTION, message, item.span, below("/algo_config", index))
        for key, member in self.options.items():
            if key not in _OPTIONS:
                message = f"there is no word for the option `{key[:80]}`"
                self.findings.lost(LossKind.OPTION, message, member.key_span, below("/extra_options", key))

    def _array(self, key: str) -> tuple[Json, ...]:
        member = self.found.get(key)
        if member is None or member.value == Scalar(None, member.value.span):
            return ()
        if not isinstance(member.value, Array):
            self.findings.wrong(member.value, f"`{key}`", "an array", f"/{key}")
            return ()
        return member.value.items

    def _names(self, key: str) -> list[str]:
        member = self.options.get(key)
        names = [] if member is None else plain(member.value)
        if isinstance(names, list) and all(isinstance(name, str) for name in names):
            return [str(name) for name in names]
        assert member is not None
        self.findings.wrong(member.value, f"`{key}`", "an array of names", below("/extra_options", key))
        return []

    def _flag(self, key: str, usual: bool) -> tuple[bool, Span | None]:
        member = self.options.get(key)
        value = usual if member is None else plain(member.value)
        if isinstance(value, bool):
            return value, None if member is None else member.value.span
        assert member is not None
        self.findings.bad(f"`{key}` is true or false", member.value.span, below("/extra_options", key))
        return usual, member.value.span
