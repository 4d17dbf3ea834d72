"""Write the groups of layers, and the layers to ignore, of compressed-tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qsimc.formats.foreign._compressed_tensors.args import TOOL, spec
from qsimc.formats.foreign._compressed_tensors.scheme import scheme
from qsimc.formats.foreign._layer_names import REGEX, alphabetical, write_regex
from qsimc.formats.foreign._layers import Entry, Tool, entries, escaped, on
from qsimc.formats.foreign._leftovers import lose_bias
from qsimc.formats.foreign._names import may_overlap
from qsimc.formats.foreign._shared import Once, Plain
from qsimc.graph import Graph
from qsimc.ir.config import Config
from qsimc.ir.levels import levels
from qsimc.ir.loss import Loss, LossKind
from qsimc.ir.select import OpType
from qsimc.spec.operator_words import operator_words

_MIXED = "mixed-precision"


def config_groups(config: Config, lose: Once, graph: Graph | None) -> tuple[dict[str, Plain], list[Plain], str]:
    """Return the groups, the layers to ignore, and the format in which such tensors are kept."""
    tool = Tool(TOOL, {word: operator_words("torch").meant[word] for word in spec()["classes"]})
    classes, names = entries(config, tool, lose, graph)
    classes = [_without_indices(entry, config) for entry in classes]
    lose_bias([*classes, *names], TOOL, lose)
    schemes = {id(entry): scheme(entry, lose) for entry in (*classes, *names)}
    ignored = [e for at, e in enumerate(names) if not schemes[id(e)] and not _overruled(at, names, schemes)]
    written = [entry for entry in names if not any(entry is other for other in ignored)]
    words = _words(written, lose)
    ignore: list[Plain] = [_target(entry) for entry in ignored]
    grouped: list[tuple[list[str], dict[str, Plain]]] = []
    # The strongest first, as a reader that takes the first target in the file would have it.
    for entry in (*reversed(written), *classes):
        args = schemes[id(entry)]
        word = words[id(entry)] if entry.name is not None else entry.word
        if not args and entry.name is None:
            continue
        if grouped and grouped[-1][1] == args:
            grouped[-1][0].append(word)
        else:
            grouped.append(([word], args))
    kept = [_kept(args) for _, args in grouped if args]
    mixed = len(set(kept)) > 1
    groups: dict[str, Plain] = {}
    for number, (targets, args) in enumerate(grouped):
        group: dict[str, Plain] = {"targets": list(targets), **args}
        groups[f"group_{number}"] = {**group, "format": _kept(args)} if mixed and args else group
    return groups, ignore, _MIXED if mixed else kept[0] if kept else "dense"


def _words(names: Sequence[Entry], lose: Once) -> dict[int, str]:
    """Return names as targets: patterns as expressions whose alphabetical order is that of their strength."""
    patterns = [entry for entry in names if entry.name is not None and entry.name.glob]
    found = {id(entry): entry.name.pattern for entry in names if entry.name is not None}
    globs = [escaped(entry) for entry in patterns]
    expressions = alphabetical(globs)
    if expressions is None:
        message = f"{TOOL} takes the first expression in the alphabet where several match: another may hold"
        lose(Loss(LossKind.PRECEDENCE, message))
        expressions = [write_regex(glob, whole=False) for glob in globs]
    return found | {id(entry): REGEX + word for entry, word in zip(patterns, expressions, strict=True)}


def _target(entry: Entry) -> str:
    """Return a name as a target by itself."""
    assert entry.name is not None
    pattern = entry.name.pattern
    return REGEX + write_regex(pattern, whole=False) if entry.name.glob else pattern


def _overruled(at: int, names: Sequence[Entry], schemes: Mapping[int, object]) -> bool:
    """Say whether a later entry quantizes some of the layers that an entry leaves alone: `ignore` beats everything."""
    return any(schemes[id(other)] and may_overlap(escaped(names[at]), escaped(other)) for other in names[at + 1 :])


def _without_indices(entry: Entry, config: Config) -> Entry:
    """Return the entry of embeddings without their input, which is of integers, unless the file speaks of it."""
    if entry.word != "Embedding" or not on(entry.said["input"]):
        return entry
    own = [level.own["input"] for level in levels(config) if level.selector == OpType("Gather")]
    return entry if any("enabled" in said for said in own) else Entry(None, entry.word, {**entry.said, "input": {}})


def _kept(args: Mapping[str, Plain]) -> str:
    """Return the format in which the weights of a scheme are kept."""
    weights = args.get("weights")
    if not isinstance(weights, Mapping):
        return "naive-quantized"
    bits, mx = weights["num_bits"], weights.get("scale_dtype") == "torch.uint8"
    if weights["type"] == "float":
        if bits == 8:
            return "mxfp8-quantized" if mx else "float-quantized"
        if bits == 6 or mx:
            return f"mxfp{bits}-pack-quantized"
        return "nvfp4-pack-quantized" if weights["strategy"] == "tensor_group" else "naive-quantized"
    if bits == 4 or (bits == 8 and "input_activations" not in args):
        return "pack-quantized"
    return "int-quantized" if bits == 8 else "naive-quantized"
