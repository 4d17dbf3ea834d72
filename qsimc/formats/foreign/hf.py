"""Hugging Face's `quantization_config` of any method: what it says statically of the layers of a model.

Each method has keys of its own, and its own name for the list of layers that it leaves alone.  A layer is left alone
if its name begins with an entry of the list up to a dot, matches it so as a regular expression, or ends with it.
Written is compressed-tensors, the one method that can say most of what a configuration says.
Source: transformers 5.23.0 (quantizers/auto.py, quantizers_utils.py); nvidia-modelopt 0.47.0 for hf_quant_config.json.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from qsimc.diagnostics import Report, did_you_mean
from qsimc.formats.foreign import compressed_tensors, torchao
from qsimc.formats.foreign._hf.methods import Layer, spec
from qsimc.formats.foreign._layer_names import any_of, operators
from qsimc.formats.foreign._names import glob_of_name, globs_of_regex
from qsimc.formats.foreign._shared import Findings, below, members, whole
from qsimc.graph import Graph
from qsimc.ir.config import Clause, Config, Rule, Setting
from qsimc.ir.loss import Lose, LossKind
from qsimc.ir.select import Everything, NodeName, Selector
from qsimc.source import Source, Span
from qsimc.syntax.json import Array, Json, Member, Object, Scalar, kind

TITLE = "Hugging Face quantization_config (GPTQ, AWQ, FP8, MXFP4, bitsandbytes, ModelOpt, torchao, ...)"
SUFFIX = ".json"

_TOOL = "transformers"
_MODELOPT = "modelopt"


def recognises(document: Json) -> bool:
    """Say whether a document is such a configuration of a method without a reader of its own."""
    if not isinstance(document, Object):
        return False
    inner, _ = _unwrapped(document)
    method, _ = _method(inner)
    if method == "torchao":
        return "quant_type" in members(inner)
    return method is not None and (
        method in spec()["methods"] or method in spec()["others"]["names"] or method == _MODELOPT
    )


def read(source: Source, document: Json, report: Report) -> Config:
    """Return what a file says: everything off, then all Linear layers, then those left alone."""
    if isinstance(document, Object) and compressed_tensors.recognises(document):
        return replace(compressed_tensors.read(source, document, report), format="hf")
    reader = _Reader(report, Findings(_TOOL, report))
    if isinstance(document, Object):
        reader.file(*_unwrapped(document))
    else:
        reader.findings.wrong(document, "the whole file", "an object", "")
    return Config(source=source, dialect="onnx", format="hf", rules=tuple(reader.rules))


def write(config: Config, lose: Lose, graph: Graph | None) -> str:
    """Return the text of a configuration of the method compressed-tensors, as a config.json holds it."""
    inner = compressed_tensors.write(config, lose, graph)
    indented = inner.rstrip("\n").replace("\n", "\n  ")
    return f'{{\n  "quantization_config": {indented}\n}}\n'


def _unwrapped(document: Object) -> tuple[Object, str]:
    """Return the configuration within a config.json, or within ModelOpt's file, and its pointer."""
    inner, pointer = compressed_tensors.unwrapped(document)
    quantization = members(inner).get("quantization")
    if quantization is None or not isinstance(quantization.value, Object) or "quant_method" in members(inner):
        return inner, pointer
    held = "quant_algo" in members(quantization.value)
    return (quantization.value, below(pointer, "quantization")) if held else (inner, pointer)


def _method(document: Object) -> tuple[str | None, Member | None]:
    """Return the method of a configuration, and where it is said."""
    said = members(document)
    for key, method in (("load_in_8bit", "bitsandbytes_8bit"), ("load_in_4bit", "bitsandbytes_4bit")):
        if key in said and isinstance(value := said[key].value, Scalar) and value.value is True:
            return method, said[key]
    named = said.get("quant_method")
    if named is None:
        algorithm = said.get("quant_algo")
        return (_MODELOPT, algorithm) if algorithm is not None else (None, None)
    word = named.value.value if isinstance(named.value, Scalar) else None
    return (word if isinstance(word, str) else None), named


@dataclass(slots=True)
class _Reader:
    report: Report
    findings: Findings
    rules: list[Rule] = field(default_factory=list)

    def file(self, file: Object, pointer: str) -> None:
        """Read the configuration of some method."""
        method, named = _method(file)
        if method is None or named is None:
            where = named.value.span if named is not None else file.span
            self.findings.bad("`quant_method` is missing", where, pointer, "say which method it is")
            return
        span, at = named.value.span, below(pointer, named.key)
        if method in spec()["methods"]:
            self._layers(method, file, named, pointer)
        elif method == _MODELOPT:
            self._modelopt(file, named, pointer)
        elif method == "torchao":
            self._torchao(file, pointer)
        elif method in spec()["elsewhere"]:
            self.findings.bad(
                f"a configuration of `{method}` has a format of its own", span, at, f"read it as {method}"
            )
        elif method in spec()["others"]["names"]:
            self._off(span, at)
            self.findings.lost(LossKind.DTYPE, f"what the method `{method}` does has no words here", span, at)
            self._excluded(("modules_to_not_convert",), file, pointer)
        else:
            near = did_you_mean(method, (*spec()["methods"], "compressed-tensors", "torchao"))
            helps = (f"did you mean `{near}`?",) if near else ()
            self.findings.bad(f"no method is called `{method[:60]}`", span, at, *helps)

    def _layers(self, method: str, file: Object, named: Member, pointer: str) -> None:
        """Read a method of the table: one way for all Linear layers."""
        table = spec()["methods"][method]
        span, at = named.value.span, below(pointer, named.key)
        self._off(span, at)
        clauses = Layer(members(file), span, at, pointer, self.findings).clauses(table)
        self.rules.append(Rule(_linear(), clauses, span))
        rows = [row for role in ("weight", "input") for row in table.get(role, {}).values()]
        keys = [row["key"] for row in rows if isinstance(row, Mapping)]
        head = table.get("head")
        self._keys(table, [*keys, *([head] if head else [])], file, pointer)
        self._excluded(table["exclusions"], file, pointer)
        if head in members(file):
            self._head(members(file)[head], below(pointer, head))

    def _head(self, member: Member, pointer: str) -> None:
        """Read whether the last layer is quantized too."""
        value = member.value
        if not isinstance(value, Scalar) or not isinstance(value.value, bool):
            self.findings.bad(f"true or false is expected, found {kind(value)}", value.span, pointer)
        elif not value.value:
            off = Clause((), (Setting("enabled", False, value.span, pointer),), value.span)
            self.rules.append(Rule(NodeName(member.key), (off,), value.span, member.key_span))

    def _modelopt(self, file: Object, named: Member, pointer: str) -> None:
        """Read ModelOpt's algorithm: one for all layers, or one for each of those that are named."""
        span = named.value.span
        self._off(span, below(pointer, named.key))
        table = spec()["modelopt"]
        self._algorithm(file, _linear(), pointer, span)
        layers = members(file).get("quantized_layers")
        if layers is not None and isinstance(layers.value, Object):
            for key, member in members(layers.value).items():
                at = below(below(pointer, "quantized_layers"), key)
                if isinstance(member.value, Object):
                    self._algorithm(member.value, NodeName(key), at, member.key_span)
                else:
                    self.findings.wrong(member.value, f"`{key[:60]}`", "an object", at)
        self._keys(table, [], file, pointer)
        self._excluded(table["exclusions"], file, pointer, globs=True)

    def _algorithm(self, layer: Object, selector: Selector, pointer: str, span: Span) -> None:
        said = members(layer)
        member = said.get("quant_algo")
        word = member.value.value if member is not None and isinstance(member.value, Scalar) else None
        known = spec()["algorithms"]
        if word in ("MIXED_PRECISION", None, "NO_QUANT") and (member is None or isinstance(member.value, Scalar)):
            return
        assert member is not None
        if not isinstance(word, str) or word not in known:
            near = did_you_mean(word, tuple(known)) if isinstance(word, str) else None
            meant = f"; did you mean `{near}`?" if near else ""
            message = f"the algorithm `{str(word)[:60]}` has no words here{meant}"
            self.findings.lost(LossKind.DTYPE, message, member.value.span, below(pointer, "quant_algo"))
            return
        clauses = Layer(said, member.value.span, below(pointer, "quant_algo"), pointer, self.findings).clauses(
            known[word]
        )
        self.rules.append(Rule(selector, clauses, span, span))

    def _torchao(self, file: Object, pointer: str) -> None:
        """Read a configuration of torchao, which stands under `quant_type.default`."""
        outer = members(file).get("quant_type")
        inner = members(outer.value).get("default") if outer is not None and isinstance(outer.value, Object) else None
        if outer is None or inner is None:
            place = outer.value.span if outer is not None else file.span
            self.findings.bad("`quant_type` must hold a configuration under `default`", place, pointer)
            return
        at = below(below(pointer, "quant_type"), "default")
        self.rules.extend(torchao.read_rules(inner.value, at, self.report))
        lost = {"include_input_output_embeddings": False, "untie_embedding_weights": False}
        self._keys({"exclusions": ["modules_to_not_convert"], "quiet": ["quant_type"], "lost": lost}, [], file, pointer)
        self._excluded(("modules_to_not_convert",), file, pointer)

    # ── what methods share ───────────────────────────────────────────────────────────────────

    def _off(self, span: Span, pointer: str) -> None:
        off = Clause((), (Setting("enabled", False, span, pointer),), span)
        self.rules.append(Rule(Everything(), (off,), span))

    def _keys(self, table: Mapping[str, Any], keys: list[str], file: Object, pointer: str) -> None:
        """Report the keys that have no word, and those that transformers ignores."""
        known = [*keys, *table["exclusions"], *table["quiet"], *table["lost"]]
        for key, member in members(file).items():
            at = below(pointer, key)
            if key in table["lost"] and key not in keys:
                value = member.value
                empty = isinstance(value, Scalar) and value.value in (None, table["lost"][key])
                if not empty and not (isinstance(value, Object | Array) and not _length(value)):
                    self.findings.lost(LossKind.DROPPED, f"`{key}` has no word here", whole(member), at)
            elif key not in known and key not in spec()["shared"]:
                self.findings.unknown(member, known, "this method", at, refused=False)

    def _excluded(self, keys: tuple[str, ...] | list[str], file: Object, pointer: str, *, globs: bool = False) -> None:
        """Turn the layers of a list off."""
        said = members(file)
        for key in keys:
            if key not in said or (isinstance(value := said[key].value, Scalar) and value.value is None):
                continue
            at = below(pointer, key)
            if not isinstance(said[key].value, Array):
                self.findings.wrong(said[key].value, f"`{key}`", "a list of layers", at)
                continue
            items = said[key].value
            assert isinstance(items, Array)
            for index, item in enumerate(items.items):
                here = below(at, index)
                if not (isinstance(item, Scalar) and isinstance(item.value, str)):
                    self.findings.bad(f"a layer is a string, found {kind(item)}", item.span, here)
                    continue
                names = _glob(item.value) if globs else tuple(self._left_alone(item.value, item.span, here))
                if (selector := any_of(names)) is not None:
                    off = Clause((), (Setting("enabled", False, item.span, here),), item.span)
                    self.rules.append(Rule(selector, (off,), item.span, item.span))

    def _left_alone(self, entry: str, span: Span, pointer: str) -> Iterator[NodeName]:
        """Yield the globs of an entry: as a beginning that ends at a dot, and as an end."""
        if not re.search(r"[*+?\[\](){}|^$\\]", entry):
            # A dot is any character in an expression; that it is meant as one nobody can tell.
            yield NodeName("*" + glob_of_name(entry), glob=True)
            yield NodeName(f"{entry.removesuffix('.')}.*", glob=True)
            return
        found = globs_of_regex(entry, begins=True, ends=True)
        if found is None:
            message = f"no glob is like `{entry[:60]}`, which is dropped"
            self.findings.lost(LossKind.SELECTOR, message, span, pointer)
            return
        if not found.exact:
            message = f"`{entry[:60]}` becomes a glob that may match more names"
            self.findings.lost(LossKind.SELECTOR, message, span, pointer)
        for glob in found.patterns:
            yield NodeName(glob, glob=True)
            if not glob.endswith("*"):
                yield NodeName(f"{glob}.*", glob=True)


def _glob(entry: str) -> tuple[NodeName, ...]:
    return (NodeName(entry, glob=bool(re.search(r"[*?\[]", entry))),)


def _length(value: Object | Array) -> int:
    return len(value.members) if isinstance(value, Object) else len(value.items)


def _linear() -> Selector:
    found = operators("Linear")
    assert found is not None, "torch.toml has no Linear"
    return found
