"""Which nodes ONNX Runtime quantizes, said by types and names alone: without a model."""

from __future__ import annotations

from dataclasses import dataclass, field

from qsimc.formats.foreign._names import name_of_glob
from qsimc.formats.foreign._ort.common import ACTS, Common, Settings, is_on
from qsimc.formats.foreign._ort.losses import differs, lose_float
from qsimc.formats.foreign._ort.words import NOTHING, TOOL, ort_words, shares_grid
from qsimc.formats.foreign._shared import lost, of
from qsimc.ir.config import Config, Setting
from qsimc.ir.levels import Level
from qsimc.ir.loss import Lose, Loss, LossKind
from qsimc.ir.select import Boundary, Chain, NodeName, OpType, Selector, alternatives, chains, show
from qsimc.spec.ops import operators


@dataclass(slots=True)
class Placement:
    """The arguments that choose nodes; `types` None stands for the quantizer's own list."""

    types: list[str] | None = None
    names: list[str] = field(default_factory=list)
    excluded: list[str] = field(default_factory=list)
    without_output: list[str] = field(default_factory=list)
    bias: bool = True
    overrides: dict[str, list[dict[str, object]]] = field(default_factory=dict)
    batched_matmul: bool = False


def place(config: Config, found: tuple[Level, ...], args: Common, lose: Lose) -> Placement:
    """Return the nodes to quantize, after reporting what types and names cannot say of them."""
    star, rest = found[0], found[1:]
    everywhere = _acts(star, args) or _on(star, "weight", args)
    result = Placement(bias=_bias(found, args, lose, everywhere=everywhere))
    types = {level.selector.name: level for level in rest if isinstance(level.selector, OpType)}
    # A type that shares its input's grid is listed where a file names it without a word on its tensors.
    chosen = [n for n, level in types.items() if _chosen(level, args) or (shares_grid(n) and not level.roles)]
    if everywhere:
        usual = [name for name in ort_words().default_operators if name not in types or shares_grid(name)]
        chosen = sorted({*usual, *chosen})
        _lose_everything(star, len(chosen), lose)
    for name, level in types.items():
        _outputs(name, level, result, args, lose, chosen=name in chosen)
    if everywhere and not _on(star, "output", args):
        result.without_output = sorted({*result.without_output, *(t for t in chosen if t not in types)})
        if not _on(star, "input", args):
            _lose_off(star, "input", lose, f"{TOOL} quantizes the inputs of every operator whose weights it quantizes")
    names = [level for level in rest if isinstance(level.selector, NodeName)]
    _names(names, chosen, everywhere, result, args, lose)
    result.types = chosen or (None if result.names else list(NOTHING))
    _channels(args, lose)
    for level in rest:
        _fields(level, args, lose)
    _boundary(config, args, lose, everywhere=everywhere)
    _chains(config, args, chosen, lose)
    return result


def _merged(level: Level, role: str) -> Settings:
    return {**level.given[role], **level.said[role]}


def _on(level: Level, role: str, args: Common) -> bool:
    return is_on(_merged(level, role), float8=args.float8)


def _acts(level: Level, args: Common) -> bool:
    return any(_on(level, role, args) for role in ACTS)


def _chosen(level: Level, args: Common) -> bool:
    """Say whether nodes of a level have something to quantize; a type without params has no weight."""
    weightless = isinstance(level.selector, OpType) and not operators()[level.selector.name].params
    return _acts(level, args) or (not weightless and _on(level, "weight", args))


def _lose_everything(star: Level, many: int, lose: Lose) -> None:
    setting = next((s for role in ("output", "weight", "input") if (s := star.setting(role, "enabled"))), None)
    if setting is not None and setting.value is True:
        message = (
            f"{TOOL} has no word for every operator: `on` of * becomes a list of {many} types, for want of a model"
        )
        lose(lost(setting, message, LossKind.SELECTOR))


def _lose_off(level: Level, role: str, lose: Lose, why: str) -> None:
    setting = level.setting(role, "enabled")
    if setting is not None:
        lose(lost(setting, f"{why}: {of(setting, level.selector)} is dropped", LossKind.PLACEMENT))


def _outputs(name: str, level: Level, result: Placement, args: Common, lose: Lose, *, chosen: bool) -> None:
    """Leave the output of a type out where it is off; say what a selected neighbour does to it all the same."""
    if chosen and not _on(level, "output", args) and not shares_grid(name):
        result.without_output.append(name)
    off = level.own["output"].get("enabled")
    if off is not None and off.value is False and not shares_grid(name):
        message = f"{TOOL} quantizes what a selected operator reads: {of(off, level.selector)} holds for other readers"
        lose(lost(off, message, LossKind.PLACEMENT))
    if chosen:
        _input_off(level, lose)


def _input_off(level: Level, lose: Lose) -> None:
    off = level.own["input"].get("enabled")
    if off is not None and off.value is False:
        _lose_off(level, "input", lose, f"{TOOL} quantizes every input of a selected operator")


def _names(
    names: list[Level], chosen: list[str], everywhere: bool, result: Placement, args: Common, lose: Lose
) -> None:
    only_names = not everywhere and not chosen
    for level in names:
        assert isinstance(level.selector, NodeName)
        name = name_of_glob(level.selector.pattern) if level.selector.glob else level.selector.pattern
        switched = [s for role in level.roles if (s := level.own[role].get("enabled")) is not None]
        if name is None:
            for setting in switched:
                message = f"{TOOL} takes names, not patterns: {of(setting, level.selector)} is dropped without a model"
                lose(lost(setting, message, LossKind.SELECTOR))
        elif not switched:
            continue
        elif not _chosen(level, args):
            result.excluded.append(name)
        elif only_names:
            result.names.append(name)
            _partly(level, args, lose)
        elif not everywhere and (switch := next((s for s in switched if s.value is True), None)) is not None:
            message = f"{TOOL} takes a node of a selected type only: {of(switch, level.selector)} needs the model"
            lose(lost(switch, message, LossKind.SELECTOR))
        else:
            _partly(level, args, lose)


def _partly(level: Level, args: Common, lose: Lose) -> None:
    """Lose single tensors that are off of a node that is quantized."""
    for role in ("output", "weight"):
        setting = level.own[role].get("enabled")
        if setting is not None and setting.value is False:
            message = f"{TOOL} quantizes a node or leaves it out: {of(setting, level.selector)} is dropped"
            lose(lost(setting, message, LossKind.PLACEMENT))
    _input_off(level, lose)


def _channels(args: Common, lose: Lose) -> None:
    """Lose the asymmetry of weights with channels, which are symmetric unless an override says otherwise."""
    setting = args.weight_from.get("symmetric")
    if args.per_channel and not args.weight.symmetric and setting is not None:
        message = f"{TOOL} takes weights with channels to be symmetric: `asymmetric` is dropped without a model"
        lose(lost(setting, message))


def _fields(level: Level, args: Common, lose: Lose) -> None:
    """Lose what would take overrides of tensors."""
    for role in level.roles:
        merged = _merged(level, role)
        lose_float(merged, level.selector, lose, float8=args.float8)
        if is_on(merged, float8=args.float8):
            for setting in level.own[role].values():
                _field(setting, role, level.selector, args, merged, lose)


def _field(setting: Setting, role: str, selector: Selector, args: Common, merged: Settings, lose: Lose) -> None:
    if why := differs(setting, role, args, selector, merged):
        lose(lost(setting, f"{TOOL} {why}: {of(setting, selector)} is dropped without a model"))


def _boundary(config: Config, args: Common, lose: Lose, *, everywhere: bool) -> None:
    for rule in config.rules:
        if Boundary() not in alternatives(rule.selector):
            continue
        for clause in rule.clauses:
            for setting in clause.settings:
                if setting.field != "enabled":
                    _field(setting, "output", Boundary(), args, {**args.act_from, setting.field: setting}, lose)
                elif setting.value is not everywhere:
                    why = "quantizes what selected nodes read and write"
                    message = f"{TOOL} {why}: {of(setting, Boundary())} is dropped without a model"
                    lose(lost(setting, message, LossKind.PLACEMENT))


def _chains(config: Config, args: Common, chosen: list[str], lose: Lose) -> None:
    """Lose chains, but those in which the quantizer itself takes the last operators into the first."""
    for fusion in config.fusions:
        if not all(_folds(chain, args, chosen) for chain in chains(fusion.chain)):
            message = f"{TOOL} does not fuse by pattern: the tensors within {show(fusion.chain)} are quantized"
            lose(Loss(LossKind.SUPERGROUP, message, fusion.span))
    for rule in config.rules:
        if any(isinstance(selector, Chain) for selector in alternatives(rule.selector)):
            for clause in rule.clauses:
                for setting in clause.settings:
                    message = f"{TOOL} does not match chains: {of(setting, rule.selector)} is dropped without a model"
                    lose(lost(setting, message, LossKind.SELECTOR))


def _folds(chain: tuple[str, ...], args: Common, chosen: list[str]) -> bool:
    return all(step in ort_words().removable and step in chosen for step in chain[1:])


def _bias(found: tuple[Level, ...], args: Common, lose: Lose, *, everywhere: bool) -> bool:
    """Return whether biases are quantized, to int32 as always: those of `*`, or else any; lose what says otherwise."""
    on = {level.selector for level in found if is_on(_merged(level, "bias"), float8=False)}
    quantized = found[0].selector in on if everywhere else bool(on)
    for level in found:
        own = level.own["bias"]
        switched, bits = own.get("enabled"), own.get("bits")
        if (level.selector in on) is not quantized and switched is not None and _chosen(level, args):
            message = f"{TOOL} quantizes all biases or none: {of(switched, level.selector)} is dropped"
            lose(lost(switched, message, LossKind.BIAS))
        elif quantized and level.selector in on and bits is not None and bits.value != 32:
            message = f"{TOOL} keeps a bias in 32 bits: {of(bits, level.selector)} is dropped without a model"
            lose(lost(bits, message, LossKind.BIAS))
    return quantized
