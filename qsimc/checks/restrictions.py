"""Restrictions of the target, of the configuration itself, and of any hardware, on the merged settings of each level.

What nobody said breaks no restriction.  What a target's own tool accepts and then does otherwise is a warning.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from dataclasses import field as default

from qsimc import targets
from qsimc.diagnostics import Diagnostic, Label, Report, Severity, Vendor
from qsimc.formats import READINGS, builtin, spelling
from qsimc.ir.config import Config, Restriction, Setting, show_setting
from qsimc.ir.levels import Level, levels
from qsimc.ir.predicate import Facts, Predicate, evaluate, refs, values_allowed
from qsimc.ir.select import ROLE_GROUPS, ROLES, AnyOf, Everything, NodeName, OpType, Selector, show
from qsimc.source import Span
from qsimc.spec import keymap
from qsimc.spec.fields import domain

_CONFIG_ID = "QUANTIZER_TORCH_QUANT_CONFIG"
_LISTED = 4
"""Values that a help lists one by one."""
_CONFLICTS = 1
"""First number of a complaint's order: vai_q_pytorch looks at conflicts after it has read the whole file."""


@dataclass(slots=True)
class Broken:
    """One restriction broken by one setting, for the tensors of some roles.

    `blamed` are the settings of the file that the restriction reads, none where nobody said anything.
    """

    restriction: Restriction
    level: Level
    blamed: tuple[Setting, ...]
    roles: list[str] = default(default_factory=list)
    order: tuple[int, ...] = ()


def check(config: Config, report: Report) -> None:
    """Report restrictions that a configuration breaks, and where its target's tool will not do what it says."""
    for broken in find(config):
        report(_error(config, broken))
    target = _target(config)
    if target is None or not _same_tool(config, target):
        return
    # What is known of a tool's other half (aimet_torch) is not known of this one.
    cautions = targets.cautions(str(config.target)) if target.dialect == config.dialect else ()
    for broken in _broken(levels(config, targets.silent(config.dialect)), cautions):
        report(_warning(config, broken))
    _other_hardware(config, target, report)


def find(config: Config) -> Iterator[Broken]:
    """Yield what breaks the restrictions of a configuration's target, its own, and those of any hardware."""
    target = _target(config)
    conflicts = targets.conflicts().restrictions if _may_conflict(config) else ()
    if target is None and not config.restrictions and not conflicts:
        return
    # What a configuration takes over from a target that it extends stands back for the target it is checked against.
    own = (r for r in config.restrictions if target is None or not builtin.is_own(r.span.source))
    of_target = target.restrictions if target else ()
    silent = targets.silent(READINGS.get(config.dialect, config.dialect)) if target is not None else ()
    yield from _broken(levels(config, silent), (*of_target, *own, *conflicts))


def _target(config: Config) -> Config | None:
    """Return what restricts a configuration by its target, None if it names no hardware."""
    name = config.target
    known = name is not None and (name in targets.hardware() or name in targets.families())
    return targets.load(str(name)).config if known else None


def _same_tool(config: Config, target: Config) -> bool:
    return target.dialect == READINGS.get(config.dialect, config.dialect)


def _may_conflict(config: Config) -> bool:
    return any(s.field == targets.CONFLICTING for r in config.rules for c in r.clauses for s in c.settings)


def _broken(merged: Iterable[Level], restrictions: Sequence[Restriction]) -> Iterator[Broken]:
    """Yield each broken restriction once per setting to blame, with all tensors concerned.

    A tensor that is not quantized breaks none but those that speak of just that.
    """
    found: dict[tuple[int, tuple[int, ...]], Broken] = {}
    for place, level in enumerate(merged):
        facts = level.facts()
        for index, restriction in enumerate(restrictions):
            for turn, role in enumerate(level.roles):
                if not _concerns(restriction, level.selector, role) or _is_off(restriction, facts, role):
                    continue
                if evaluate(restriction.predicate, facts, role) is not (restriction.polarity == "forbid"):
                    continue
                blamed = _blamed(restriction.predicate, level, role)
                if place and _is_inherited(restriction, level, role):
                    continue
                key = id(restriction), tuple(s.span.start for s in blamed[:1]) or (-1 - place,)
                broken = found.setdefault(key, Broken(restriction, level, blamed))
                broken.roles += [role] if role not in broken.roles else []
                order = (_CONFLICTS, place, turn, index)
                if _is_checked(level, role):
                    broken.order = min(broken.order or order, order)
    return iter(found.values())


def _is_off(restriction: Restriction, facts: Facts, role: str) -> bool:
    return facts[role].get("enabled") is False and all(ref.field != "enabled" for ref in refs(restriction.predicate))


def _is_inherited(restriction: Restriction, level: Level, role: str) -> bool:
    """Say whether a level breaks a restriction by nothing of its own: then `*` breaks it too, and is told."""
    read = {(ref.role or role, ref.field) for ref in refs(restriction.predicate)}
    return isinstance(restriction.selector, Everything) and not any(field in level.own[of] for of, field in read)


def _is_checked(level: Level, role: str) -> bool:
    """Say whether vai_q_pytorch looks at a tensor: at every one of the file, and at those an entry lists."""
    if isinstance(level.selector, Everything):
        return True
    return "enabled" in level.own[role]


def _concerns(restriction: Restriction, selector: Selector, role: str) -> bool:
    roles = [r for said in restriction.roles for r in ROLE_GROUPS.get(said, (said,))]
    return (not roles or role in roles) and _covers(restriction.selector, selector)


def _covers(restricted: Selector, selector: Selector) -> bool:
    """Say whether a restriction's selector holds every node of a level's."""
    match restricted:
        case Everything():
            return True
        case AnyOf(choices):
            return any(_covers(choice, selector) for choice in choices)
        case OpType(name):
            return isinstance(selector, OpType) and selector.name.rpartition(".")[2] == name.rpartition(".")[2]
        case NodeName():
            return restricted == selector
        case _:
            return False


def _blamed(predicate: Predicate, level: Level, role: str) -> tuple[Setting, ...]:
    """Return the settings of the file that a predicate reads, those of its conclusion first."""
    read = (level.said[ref.role or role].get(ref.field) for ref in refs(predicate))
    said = tuple(dict.fromkeys(setting for setting in read if setting is not None and setting.value is not None))
    # The number family is in nearly every premise, and hardly ever the mistake.
    return tuple(setting for setting in said if setting.field != "type") or said


# ── diagnostics ──────────────────────────────────────────────────────────────────────────────


def _error(config: Config, broken: Broken) -> Diagnostic:
    restriction = broken.restriction
    named = f"`{restriction.name}`" if restriction.name else "a restriction"
    found = Diagnostic(
        code="Q0401",
        name="restriction",
        severity=Severity.ERROR,
        message=f"{_said(broken)}, which {named} does not allow",
        labels=_labels(config, broken),
        notes=tuple(_notes(broken)),
        helps=tuple(_helps(config, broken)),
        vendor=_vendor(config, broken),
        pointer=broken.blamed[0].pointer if broken.blamed else "",
    )
    return replace(found, name=restriction.name or found.name)


def _warning(config: Config, broken: Broken) -> Diagnostic:
    restriction = broken.restriction
    tool = keymap.load(config.dialect).tool
    return Diagnostic(
        code="Q0402",
        name="vendor-caution",
        severity=Severity.INFO if restriction.name.startswith("may-") else Severity.WARNING,
        message=f"{_said(broken)}: {tool} {restriction.message}",
        labels=_labels(config, broken),
        notes=(*_notes(broken), f"known as `{restriction.name}`"),
        pointer=broken.blamed[0].pointer if broken.blamed else "",
    )


def _other_hardware(config: Config, target: Config, report: Report) -> None:
    """Warn of a configuration that says it is for other hardware than its target."""
    said, wanted = config.option(targets.HARDWARE), target.option(targets.HARDWARE)
    if said is None or wanted is None or said.value == wanted.value:
        return
    labels = [Label(said.span, "said here")]
    if config.target_span is not None:
        labels.append(Label(config.target_span, "this target was chosen"))
    tool = keymap.load(target.dialect).tool
    report(
        Diagnostic(
            code="Q0402",
            name="vendor-caution",
            severity=Severity.WARNING,
            message=f"`{said.name}` is `{said.value}`, and the target `{config.target}` is `{wanted.value}`",
            labels=(*labels, Label(wanted.span, "the target says it here")),
            notes=(f"{tool} goes by the file: it has rules of its own for V66, V68 and V69",),
            helps=(f"write `{wanted.value}`, or check against the hardware that the file is for",),
        )
    )


def _said(broken: Broken) -> str:
    """Return what is the matter, as the beginning of a message: "`asymmetric` for weight and bias of Conv"."""
    level = broken.level
    ref = next(iter(refs(broken.restriction.predicate)))
    blamed = broken.blamed[0] if broken.blamed else level.setting(ref.role or broken.roles[0], ref.field)
    what = show_setting(blamed.field, blamed.value) if blamed is not None else ref.field
    of = "" if isinstance(level.selector, Everything) else f" of `{show(level.selector)}`"
    return f"`{what}` for {_and(broken.roles)}{of}"


def _and(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _labels(config: Config, broken: Broken) -> tuple[Label, ...]:
    labels = [Label(s.span, "said here" if not i else "and this") for i, s in enumerate(broken.blamed[:3])]
    if not labels and config.target_span is None:
        labels.append(Label(Span(config.source, 0, min(1, len(config.source.text))), "nothing here says otherwise"))
    if config.target_span is not None and broken.restriction not in config.restrictions:
        labels.append(Label(config.target_span, "this target was chosen"))
    return (*labels, Label(broken.restriction.span, broken.restriction.message))


def _notes(broken: Broken) -> Iterator[str]:
    """Yield what holds although nobody said it."""
    role, level = broken.roles[0], broken.level
    for ref in dict.fromkeys(refs(broken.restriction.predicate)):
        at = ref.role or role
        given = level.given[at].get(ref.field)
        if given is not None and ref.field not in level.said[at] and ref.field != "type":
            yield f"`{show_setting(ref.field, given.value)}` is the default of {at}"


def _helps(config: Config, broken: Broken) -> Iterator[str]:
    """Yield the values that the first setting to blame could have instead."""
    role, level = broken.roles[0], broken.level
    facts, predicate = level.facts(), broken.restriction.predicate
    wanted = broken.restriction.polarity == "require"
    for ref in dict.fromkeys(refs(predicate)):
        setting = level.setting(ref.role or role, ref.field)
        if setting is None or (broken.blamed and setting is not broken.blamed[0]):
            continue
        allowed = values_allowed(predicate, ref, domain(ref.field), facts, role, wanted=wanted)
        words = [f"`{spelling.spell(config, ref.field, value)}`" for value in allowed]
        if len(words) == 1 and setting is not None and _is_shared(level, ref.field, setting, broken.roles):
            named = _and([f"`{spelling.role(config, at)}`" for at in broken.roles])
            yield f"leave it as it is for the other tensors, and write {words[0]} for {named} alone"
            return
        if len(words) > _LISTED:
            yield f"write one of {words[0]} to {words[-1]}"
        elif words:
            yield f"write {' or '.join(words)}"
        return


def _is_shared(level: Level, field: str, setting: Setting, roles: Iterable[str]) -> bool:
    """Say whether a setting also holds for tensors that have nothing to do with what it breaks."""
    return any(level.said[role].get(field) is setting for role in ROLES if role not in roles)


def _vendor(config: Config, broken: Broken) -> Vendor | None:
    """Return what the dialect's own tool prints, if the restriction is its own and it looks at the tensor."""
    if config.dialect not in keymap.names() or not broken.order:
        return None
    table = keymap.load(config.dialect)
    text = table.says.get(broken.restriction.name)
    return None if text is None else Vendor(table.tool, _CONFIG_ID, text, broken.order)
