"""torchao: the configuration of `quantize_`, as `config_to_dict` writes it and Hugging Face stores it.

One configuration for all Linear layers, or an `FqnToConfig` by name: names of layers first, then the first `re:` that
matches a whole name, then `_default`; null leaves a layer alone.
Source: torchao 0.18.0 (core/config.py, quantization/quant_api.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from qsimc.diagnostics import Report
from qsimc.formats.foreign._layer_names import REGEX, any_of, last_only, operators, read_regex, write_regex
from qsimc.formats.foreign._layers import Tool, entries
from qsimc.formats.foreign._leftovers import lose_bias
from qsimc.formats.foreign._names import globs_of_regex, may_overlap
from qsimc.formats.foreign._shared import (
    Findings,
    Once,
    Plain,
    below,
    lose_options,
    lose_restrictions,
    members,
    text,
    whole,
)
from qsimc.formats.foreign._torchao.read import TOOL, named, read_config
from qsimc.formats.foreign._torchao.write import write_config
from qsimc.graph import Graph
from qsimc.ir.config import Clause, Config, Rule, Setting
from qsimc.ir.loss import Lose, LossKind
from qsimc.ir.select import Everything, NodeName, Selector
from qsimc.source import Source
from qsimc.spec.operator_words import operator_words
from qsimc.syntax.json import Json, Member, Object, Scalar

TITLE = "torchao (configuration of quantize_, and of Hugging Face's TorchAoConfig)"
SUFFIX = ".json"

_DEFAULT = "_default"
_LINEAR = "Linear"
_BY_NAME = ("FqnToConfig", "ModuleFqnToConfig")
_TABLES = ("fqn_to_config", "module_fqn_to_config")
_PARAMETER = (".weight", r"\.weight")

_OF_LAYERS = r"(?<!\.weight)(?<!\.bias)"
"""Ends an expression that would match names of parameters as well.

Of expressions for layers the first holds; of those that match a parameter torchao 0.18 applies one after the other, and
one that leaves the layer alone does not stop the next.
"""


def recognises(document: Json) -> bool:
    """Say whether a document is an object with a name and arguments."""
    return named(document, "") is not None


def read(source: Source, document: Json, report: Report) -> Config:
    """Return what a file says: everything off, then all Linear layers, then those of some names."""
    return Config(source=source, dialect="onnx", format="torchao", rules=tuple(read_rules(document, "", report)))


def read_rules(document: Json, pointer: str, report: Report) -> list[Rule]:
    """Return the rules of a configuration that stands in some document."""
    findings = Findings(TOOL, report)
    config = named(document, pointer)
    if config is None:
        findings.wrong(document, "a configuration", "an object with `_type` and `_data`", pointer)
        return []
    off = Clause((), (Setting("enabled", False, config.name_span, pointer),), config.name_span)
    reader = _Reader(findings, [Rule(Everything(), (off,), config.name_span)])
    if config.name in _BY_NAME:
        reader.tables(config.said, config.pointer)
    elif (clauses := read_config(document, pointer, findings)) is not None:
        reader.rules.append(Rule(_linear(), clauses, config.span, config.name_span))
    return last_only(reader.rules)


def write(config: Config, lose: Lose, graph: Graph | None) -> str:
    """Return the text of a configuration: of one for all Linear layers if no names are spoken of."""
    once = Once(lose)
    lose_options(config, once, TOOL)
    lose_restrictions(config, once, TOOL)
    classes, names = entries(config, Tool(TOOL, {_LINEAR: operator_words("torch").meant[_LINEAR]}), once, graph)
    lose_bias([*classes, *names], TOOL, once)
    usual = write_config(classes[0], once)
    table: dict[str, Plain] = {}
    for entry in reversed(names):
        assert entry.name is not None
        pattern = entry.name.pattern
        key = _expression(pattern) if entry.name.glob else pattern
        table[key] = write_config(entry, once)
    if usual is not None and not table:
        return text(usual)
    if usual is not None:
        table[_DEFAULT] = usual
    return text({"_type": "FqnToConfig", "_version": 1, "_data": {"fqn_to_config": table}})


def _rank(key: str, member: Member) -> int:
    """Return the place of an expression among others: those that match parameters too come first, null among them last.

    torchao goes through them before it looks at layers, and null does not stop it.
    """
    globs = globs_of_regex(key.removeprefix(REGEX), begins=True, ends=True)
    if key.endswith(_OF_LAYERS) or globs is None or not any(map(_wide, globs.patterns)):
        return 2
    return 1 if isinstance(member.value, Scalar) and member.value.value is None else 0


def _wide(glob: str) -> bool:
    """Say whether a glob matches names of parameters."""
    return any(may_overlap(glob, parameter) for parameter in ("*.weight", "*.bias"))


def _expression(glob: str) -> str:
    """Return the expression of a glob for names of layers, not for those of their parameters."""
    return REGEX + write_regex(glob, whole=True) + (_OF_LAYERS if _wide(glob) else "")


def _linear() -> Selector:
    found = operators(_LINEAR)
    assert found is not None, "torch.toml has no Linear"
    return found


@dataclass(slots=True)
class _Reader:
    findings: Findings
    rules: list[Rule] = field(default_factory=list)

    def tables(self, said: dict[str, Member] | object, pointer: str) -> None:
        """Read the table of names: both keys hold the same one."""
        assert isinstance(said, dict)
        table: Member | None = None
        for key, member in said.items():
            if key not in _TABLES:
                self.findings.unknown(member, _TABLES, "`FqnToConfig`", below(pointer, key), refused=True)
            elif not isinstance(member.value, Object):
                self.findings.wrong(member.value, f"`{key}`", "an object", below(pointer, key))
            elif member.value.members and (table is None or key == _TABLES[0]):
                table = member
        if table is not None and isinstance(table.value, Object):
            self._names(table.value, below(pointer, table.key))

    def _names(self, table: Object, pointer: str) -> None:
        """Turn names into rules, the strongest last: the default, expressions from the last to the first, names."""
        said = members(table)
        expressions = sorted((key for key in said if key.startswith(REGEX)), key=lambda key: _rank(key, said[key]))
        names = [key for key in said if key not in expressions and key != _DEFAULT]
        for key in (*(key for key in said if key == _DEFAULT), *reversed(expressions), *names):
            member, at = said[key], below(pointer, key)
            selector = self._selector(key, member, at)
            if selector is None:
                continue
            self.rules.extend(self._rule(selector, member, at))

    def _selector(self, key: str, member: Member, pointer: str) -> Selector | None:
        if key == _DEFAULT:
            return _linear()
        bare = key
        for suffix in _PARAMETER:
            # A parameter's name outranks its layer's; that both are spoken of is not known here.
            bare = bare.removesuffix(suffix)
        if key.startswith(REGEX):
            pattern = bare.removeprefix(REGEX).removesuffix(_OF_LAYERS)
            return any_of(read_regex(pattern, member.key_span, pointer, self.findings, whole=True))
        return NodeName(bare)

    def _rule(self, selector: Selector, member: Member, pointer: str) -> Iterator[Rule]:
        value = member.value
        if isinstance(value, Scalar) and value.value is None:
            off = Clause((), (Setting("enabled", False, value.span, pointer),), value.span)
            yield Rule(selector, (off,), whole(member), member.key_span)
            return
        config = named(value, pointer)
        if config is not None and config.name in _BY_NAME:
            self.findings.lost(LossKind.DROPPED, "a table of names within another has no effect", value.span, pointer)
        elif (clauses := read_config(value, pointer, self.findings)) is not None:
            yield Rule(selector, clauses, whole(member), member.key_span)
