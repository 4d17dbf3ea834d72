"""compressed-tensors: `quantization_config` of Hugging Face checkpoints that llm-compressor makes and vLLM reads.

Groups of layers, by class, name or `re:` and a regular expression that must match the beginning of a name, have one
scheme each.  A layer takes all of the first target that means it: exact names, then expressions in the order of the
alphabet, then classes; what `ignore` names is left alone.  Only layers of the classes Linear and Embedding are
quantized, so that a pattern stands for these alone.
Source: compressed_tensors 0.20.0 (quantization/quant_config.py, lifecycle/apply.py, utils/match.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from qsimc.diagnostics import Report
from qsimc.formats.foreign._compressed_tensors.args import TOOL, read_args, spec
from qsimc.formats.foreign._compressed_tensors.scheme_groups import config_groups
from qsimc.formats.foreign._layer_names import REGEX, any_of, is_class, last_only, operators, read_regex
from qsimc.formats.foreign._names import globs_of_regex
from qsimc.formats.foreign._shared import Findings, Once, below, lose_options, lose_restrictions, members, text, whole
from qsimc.graph import Graph
from qsimc.ir.config import Clause, Config, Option, Rule, Setting
from qsimc.ir.loss import Lose, LossKind
from qsimc.ir.select import Everything, NodeName, Selector
from qsimc.source import Source, Span
from qsimc.syntax.json import Array, Json, Member, Object, Scalar, kind

TITLE = "compressed-tensors (quantization_config of Hugging Face, llm-compressor, vLLM)"
SUFFIX = ".json"

WRAPPERS = ("quantization_config", "compression_config")
"""Keys of a model's config.json under which the configuration may stand."""

_PARTS = {"weights": "weight", "input_activations": "input", "output_activations": "output"}
_SILENT = frozenset({"quant_method", "version", "config_groups", "ignore", "format"})


def recognises(document: Json) -> bool:
    """Say whether a document is such a configuration, or a config.json that holds one."""
    return isinstance(document, Object) and _is(unwrapped(document)[0])


def read(source: Source, document: Json, report: Report) -> Config:
    """Return what a file says: everything off, then the groups, then what is ignored."""
    findings = Findings(TOOL, report)
    reader = _Reader(findings)
    if isinstance(document, Object):
        inner, pointer = unwrapped(document)
        reader.file(inner, pointer)
    else:
        findings.wrong(document, "the whole file", "an object", "")
    return Config(
        source=source,
        dialect="onnx",
        format="compressed-tensors",
        options=tuple(reader.options),
        rules=tuple(last_only(reader.rules)),
    )


def write(config: Config, lose: Lose, graph: Graph | None) -> str:
    """Return the text of `quantization_config`."""
    once = Once(lose)
    lose_options(config, once, TOOL, "format")
    lose_restrictions(config, once, TOOL)
    groups, ignore, inferred = config_groups(config, once, graph)
    option = config.option("format")
    said = option.value if option is not None else None
    return text(
        {
            "quant_method": "compressed-tensors",
            "format": said if isinstance(said, str) and said in spec()["formats"] else inferred,
            "config_groups": groups,
            "ignore": ignore,
        }
    )


def unwrapped(document: Object) -> tuple[Object, str]:
    """Return the configuration within a config.json and its pointer, or the document itself."""
    for key in WRAPPERS:
        member = members(document).get(key)
        if member is not None and isinstance(member.value, Object):
            return member.value, f"/{key}"
    return document, ""


def _is(document: Object) -> bool:
    said = members(document)
    method = said.get("quant_method")
    named = method.value.value if method is not None and isinstance(method.value, Scalar) else None
    return named == "compressed-tensors" or (named is None and "config_groups" in said)


@dataclass(slots=True)
class _Group:
    """What holds for one target; the last group that has the same target holds."""

    clauses: tuple[Clause, ...]
    span: Span
    pointer: str


@dataclass(slots=True)
class _Reader:
    findings: Findings
    rules: list[Rule] = field(default_factory=list)
    options: list[Option] = field(default_factory=list)
    targets: dict[str, _Group] = field(default_factory=dict)

    def file(self, file: Object, pointer: str) -> None:
        """Read the configuration itself."""
        said = members(file)
        for key, member in said.items():
            self._top(key, member, below(pointer, key))
        groups = said.get("config_groups")
        if groups is None:
            self.findings.bad("`config_groups` is missing", file.span, pointer, 'add `"config_groups": {}`')
        elif not isinstance(groups.value, Object):
            self.findings.wrong(groups.value, "`config_groups`", "an object", below(pointer, "config_groups"))
        else:
            off = Setting("enabled", False, groups.key_span, below(pointer, "config_groups"))
            self.rules.append(Rule(Everything(), (Clause((), (off,), groups.key_span),), groups.key_span))
            for key, member in members(groups.value).items():
                self._group(key, member, below(below(pointer, "config_groups"), key))
        ignored = list(self._ignored(said.get("ignore"), below(pointer, "ignore")))
        self._targets([target for target, _, _ in ignored])
        self._off(ignored)

    def _top(self, key: str, member: Member, pointer: str) -> None:
        known = spec()["keys"]
        value = member.value
        empty = isinstance(value, Scalar) and value.value in (None, "initialized")
        if key not in known:
            self.findings.unknown(member, known, "a quantization config", pointer, refused=False)
        elif key == "format":
            if isinstance(value, Scalar) and isinstance(value.value, str):
                self.options.append(Option("format", value.value, value.span))
            elif not empty:
                self.findings.bad(f"a format is expected, found {kind(value)}", value.span, pointer)
        elif key == "kv_cache_scheme" and not empty:
            message = "caches of keys and values have no word here: their scheme is dropped"
            self.findings.lost(LossKind.PLACEMENT, message, whole(member), pointer)
        elif key not in _SILENT and not empty and not (isinstance(value, Object) and not value.members):
            self.findings.lost(LossKind.DROPPED, f"`{key}` has no word here", whole(member), pointer)

    # ── groups ───────────────────────────────────────────────────────────────────────────────

    def _group(self, name: str, member: Member, pointer: str) -> None:
        """Read a group: a scheme with targets, or the name of a scheme with its targets alone."""
        if isinstance(member.value, Array):
            preset = _preset(name, member)
            if preset is None:
                self.findings.bad(f"no scheme is called `{name[:60]}`", member.key_span, pointer)
            else:
                self._take(member.value, pointer, self._clauses(preset, pointer), whole(member))
            return
        if not isinstance(member.value, Object):
            self.findings.wrong(member.value, f"the group `{name[:60]}`", "an object or a list of targets", pointer)
            return
        said, known = members(member.value), spec()["group_keys"]
        for key, inner in said.items():
            if key not in known:
                self.findings.unknown(inner, known, "a group", below(pointer, key), refused=True)
        targets = said.get("targets")
        if targets is None:
            self.findings.bad("`targets` is missing from the group", member.key_span, pointer, "name layers or classes")
        elif not isinstance(targets.value, Array):
            self.findings.wrong(targets.value, "`targets`", "a list", below(pointer, "targets"))
        else:
            clauses = self._clauses(member.value, pointer)
            self._take(targets.value, below(pointer, "targets"), clauses, whole(member))

    def _clauses(self, group: Object, pointer: str) -> tuple[Clause, ...]:
        said = members(group)
        found: list[Clause] = []
        for key, role in _PARTS.items():
            part, at = said.get(key), below(pointer, key)
            settings: tuple[Setting, ...]
            if part is not None and isinstance(part.value, Object):
                settings = read_args(part.value, role, at, self.findings)
            else:
                if part is not None and not (isinstance(part.value, Scalar) and part.value.value is None):
                    self.findings.wrong(part.value, f"`{key}`", "an object or null", at)
                settings = (Setting("enabled", False, group.span if part is None else part.value.span, at),)
            found.append(Clause((role,), settings, group.span if part is None else whole(part)))
        return tuple(found)

    def _take(self, targets: Array, pointer: str, clauses: tuple[Clause, ...], span: Span) -> None:
        for at, item in enumerate(targets.items):
            here = below(pointer, at)
            if not (isinstance(item, Scalar) and isinstance(item.value, str)):
                self.findings.bad(f"a target is a string, found {kind(item)}", item.span, here)
                continue
            if item.value in self.targets:
                message = f"`{item.value[:60]}` is a target twice; the later group holds"
                self.findings.lost(LossKind.PRECEDENCE, message, self.targets[item.value].span, here)
            self.targets[item.value] = _Group(clauses, item.span, here)

    # ── what targets mean ────────────────────────────────────────────────────────────────────

    def _targets(self, ignored: list[str]) -> None:
        """Turn targets into rules, the strongest last: classes, expressions against the alphabet, names."""
        expressions = sorted((t for t in self.targets if t.startswith(REGEX)), reverse=True)
        words = [target for target in self.targets if not target.startswith(REGEX)]
        classes = [word for word in words if is_class(word)]
        for target in (*classes, *expressions, *(word for word in words if word not in classes)):
            group = self.targets[target]
            if target in ignored or (target in words and any(_matches(target, other) for other in ignored)):
                message = f"`{target[:60]}` is ignored too: what is said of it has no effect"
                self.findings.lost(LossKind.DROPPED, message, group.span, group.pointer)
                continue
            selector = self._selector(target, group, classes)
            if selector is not None:
                self.rules.append(Rule(selector, group.clauses, group.span, group.span))

    def _selector(self, target: str, group: _Group, classes: list[str]) -> Selector | None:
        if target.startswith(REGEX):
            pattern = target.removeprefix(REGEX)
            return any_of(read_regex(pattern, group.span, group.pointer, self.findings, whole=False))
        if target not in classes:
            return NodeName(target)
        if target in spec()["classes"]:
            return operators(target)
        message = f"{TOOL} quantizes the layers {' and '.join(spec()['classes'])} only: `{target[:60]}` has no effect"
        self.findings.lost(LossKind.PLACEMENT, message, group.span, group.pointer)
        return None

    def _ignored(self, member: Member | None, pointer: str) -> Iterator[tuple[str, Span, str]]:
        if member is None or (isinstance(member.value, Scalar) and member.value.value is None):
            return
        if not isinstance(member.value, Array):
            self.findings.wrong(member.value, "`ignore`", "a list", pointer)
            return
        for at, item in enumerate(member.value.items):
            if isinstance(item, Scalar) and isinstance(item.value, str):
                yield item.value, item.span, below(pointer, at)
            else:
                self.findings.bad(f"a layer to ignore is a string, found {kind(item)}", item.span, below(pointer, at))

    def _off(self, ignored: list[tuple[str, Span, str]]) -> None:
        for target, span, pointer in ignored:
            selector: Selector | None
            if target.startswith(REGEX):
                pattern = target.removeprefix(REGEX)
                selector = any_of(read_regex(pattern, span, pointer, self.findings, whole=False))
            else:
                # A class without operators is never quantized, so that nothing is lost with it.
                selector = operators(target) if is_class(target) else NodeName(target)
            if selector is not None:
                clause = Clause((), (Setting("enabled", False, span, pointer),), span)
                self.rules.append(Rule(selector, (clause,), span, span))


def _matches(name: str, ignored: str) -> bool:
    """Say whether a layer's name is among those that an entry of `ignore` means."""
    if not ignored.startswith(REGEX):
        return name == ignored
    globs = globs_of_regex(ignored.removeprefix(REGEX), begins=True, ends=False)  # never run: it may take for ever
    return globs is not None and any(fnmatchcase(name, glob) for glob in globs.patterns)


def _preset(name: str, member: Member) -> Object | None:
    """Return the scheme of a name as if it were written out where the name stands; None if there is none."""
    word = name.upper()
    presets: Mapping[str, Mapping[str, object]] = spec()["presets"]
    if word in presets:
        return _located(presets[word], member.key_span)
    match = re.fullmatch(r"W([2-8])A(4|8|16)", word)
    if match is None or int(match[1]) > int(match[2]) or (int(match[1]) > 4 and match[2] == "4"):
        return None
    scheme: dict[str, object] = {"weights": {"num_bits": int(match[1]), "strategy": "group", "group_size": 128}}
    if match[2] != "16":
        scheme["input_activations"] = {"num_bits": int(match[2]), "strategy": "token", "dynamic": True}
    return _located(scheme, member.key_span)


def _located(table: Mapping[str, object], span: Span) -> Object:
    return Object(tuple(Member(key, span, _value(value, span)) for key, value in table.items()), span)


def _value(value: object, span: Span) -> Json:
    if isinstance(value, Mapping):
        return _located(value, span)
    if isinstance(value, list):
        return Array(tuple(_value(item, span) for item in value), span)
    assert isinstance(value, str | int | float | bool)
    return Scalar(value, span)
