"""What a Vitis AI file says in vain, or says and loses: one file's worth of surprises of vai_q_pytorch 3.5."""

from __future__ import annotations

from collections.abc import Iterator

from qsimc.diagnostics import Diagnostic, Label, Report, Severity, Vendor
from qsimc.ir.config import Clause, Config, Setting
from qsimc.ir.levels import Level, levels
from qsimc.ir.select import ROLES, Everything, show
from qsimc.source import Span
from qsimc.spec import keymap

_DPU = "vitis-dpu"
_NOT_YET = ("keep_first_last_layer_accuracy", "keep_add_layer_accuracy")
_COMPARED = ("output", "bias")
"""Tensors whose widths the DPU's checks compare, in the order in which they are looked up."""


def check(config: Config, report: Report) -> None:
    """Report keys without effect, shares that are lost, and entries that the DPU's checks stop at."""
    if config.format != "vitis":
        return
    for finding in (*_incomplete(config), *_lost_percentages(config), *_without_effect(config)):
        report(finding)


def _incomplete(config: Config) -> Iterator[Diagnostic]:
    """The DPU's checks look up the widths of activation and bias in every entry that has an integer tensor."""
    if config.target != _DPU:
        return
    for place, level in enumerate(levels(config)):
        listed = [role for role in level.roles if "enabled" in level.own[role]]
        turn = next((i for i, role in enumerate(listed) if _is_int(level, role)), None)
        if isinstance(level.selector, Everything) or turn is None:
            continue
        words = {role: word for word, role in keymap.load("vitis").roles.items()}
        lacking = [role for role in _COMPARED if role not in listed and "bits" not in level.own[role]]
        if not lacking:
            continue
        # A block outside the list is there, but without the widths under it.
        key = "bit_width" if lacking[0] in level.roles else words[lacking[0]]
        stated = level.own[listed[0]]["enabled"]
        named = [f"`{words[role]}`" for role in _COMPARED if role not in listed]
        yield Diagnostic(
            code="Q0311",
            name="incomplete-entry",
            severity=Severity.WARNING,
            message=f"the entry for `{show(level.selector)}` leaves {' and '.join(named)} out",
            labels=(Label(stated.span),),
            notes=("for the DPU vai_q_pytorch compares the widths of activation and bias in every entry, and stops",),
            helps=("list all four tensors; what an entry does not say of them is as it is for all layers",),
            vendor=Vendor(keymap.load("vitis").tool, "KeyError", repr(key), (1, place, turn, -1)),
            pointer=stated.pointer,
        )


def _is_int(level: Level, role: str) -> bool:
    setting = level.setting(role, "type")
    return setting is None or setting.value == "int"


def _lost_percentages(config: Config) -> Iterator[Diagnostic]:
    """A block that is read for a tensor calibrated by percentile sets the share to 99.99 unless it says one."""
    merged = levels(config)
    general = merged[0]
    for level, clause in _tensor_clauses(config, merged):
        for role in clause.roles:
            calib, share = level.setting(role, "calib"), general.said[role].get("percentile")
            if isinstance(level.selector, Everything):
                share = _overall(config, "percentile")
            fields = [setting.field for setting in clause.settings]
            if calib is None or calib.value != "percentile" or share is None or "percentile" in fields:
                continue
            if share.value == 99.99 or level.said[role].get("percentile") is not share:
                continue
            yield Diagnostic(
                code="Q0312",
                name="lost-percentage",
                severity=Severity.WARNING,
                message=f"vai_q_pytorch forgets the percentage {share.value} here, and calibrates with 99.99",
                labels=(Label(_first(clause), "this block says none"), Label(share.span, "lost")),
                helps=(f'repeat `"percentage": {share.value}` in this block',),
                pointer=clause.settings[0].pointer.rpartition("/")[0] if clause.settings else "",
            )
            break


def _first(clause: Clause) -> Span:
    return clause.settings[0].span if clause.settings else clause.span


def _tensor_clauses(config: Config, merged: tuple[Level, ...]) -> Iterator[tuple[Level, Clause]]:
    """Yield clauses that are read on top of others: all that name tensors, but the lists of tensors."""
    by_selector = {level.selector: level for level in merged}
    for rule in config.rules:
        for clause in rule.clauses:
            if clause.roles and not any(setting.field == "enabled" for setting in clause.settings):
                yield by_selector[rule.selector], clause


def _overall(config: Config, field: str) -> Setting | None:
    clauses = (c for r in config.rules if isinstance(r.selector, Everything) for c in r.clauses if not c.roles)
    return next((s for clause in clauses for s in clause.settings if s.field == field), None)


def _without_effect(config: Config) -> Iterator[Diagnostic]:
    for option in config.options:
        if option.name in _NOT_YET and option.value is True:
            note = f'it prints "{option.name} feature will be supported in next version"'
            yield _vain(f"vai_q_pytorch ignores `{option.name}`", Setting(option.name, True, option.span), note)
    yield from _list_of_the_file(config)
    for rule in config.rules:
        for clause in rule.clauses:
            for setting in clause.settings:
                if setting.value is not None:
                    yield from _vain_setting(config, clause, setting)


def _list_of_the_file(config: Config) -> Iterator[Diagnostic]:
    """Whatever tensors the file lists, all are quantized."""
    off = [
        (clause, setting)
        for rule in config.rules
        if isinstance(rule.selector, Everything)
        for clause in rule.clauses
        for setting in clause.settings
        if setting.field == "enabled" and setting.value is False
    ]
    for clause, setting in off:
        left_out = ", ".join(word for word, role in keymap.load("vitis").roles.items() if role in clause.roles)
        message = f"the list leaves {left_out} out, and vai_q_pytorch quantizes them all the same"
        yield _vain(message, setting, "its program parses the list into nothing; its document says that it selects")


def _vain_setting(config: Config, clause: Clause, setting: Setting) -> Iterator[Diagnostic]:
    parameters_only = bool(clause.roles) and not {"input", "output"} & set(clause.roles)
    if setting.field == "reduce" and parameters_only:
        yield _vain("`calib_statistic_method` is for input and activation only", setting, "weights are seen once")
    if setting.field == "percentile" and not _is_percentile(config, clause, setting):
        yield _vain(
            "`percentage` has no effect: no method here is `percentile`", setting, "not even its type is checked"
        )


def _is_percentile(config: Config, clause: Clause, setting: Setting) -> bool:
    """Say whether some tensor that a share is said for is calibrated by percentile."""
    for level in levels(config):
        for role in clause.roles or ROLES:
            calib = level.said[role].get("calib")
            if level.said[role].get("percentile") is setting and calib is not None and calib.value == "percentile":
                return True
    return False


def _vain(message: str, setting: Setting, note: str) -> Diagnostic:
    return Diagnostic(
        code="Q0313",
        name="without-effect",
        severity=Severity.WARNING,
        message=message,
        labels=(Label(setting.span),),
        notes=(note,),
        pointer=setting.pointer,
    )
