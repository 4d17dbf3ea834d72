"""Two configurations: what they say differently, and with a model, what that does to each tensor."""

from __future__ import annotations

from dataclasses import dataclass

from qsimc import formats
from qsimc.diagnostics import Diagnostic, in_order
from qsimc.formats.dialects.neutral import neutral, spelt_out
from qsimc.ir.config import Config
from qsimc.pipeline.check import examined
from qsimc.pipeline.plan import Choices, installed_backend, opened, resolve_on, stop_on_errors
from qsimc.pipeline.ports import capture_graph, resolve_graph
from qsimc.planning.compare import FieldDifference, TensorDifference, compare_plans
from qsimc.planning.config_diff import RuleDifference, compare_configs
from qsimc.planning.plan import PORT_DIALECT, Plan
from qsimc.planning.torch.match import compare_placements
from qsimc.planning.torch.plan import PortPlan


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two configurations: where it is, and in which format (None: as its content says)."""

    reference: str
    format: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigDiff:
    """How two configurations differ: rule by rule, and tensor by tensor (None without a model).

    `findings` holds what was found about them on the way (no errors).
    """

    before: Config
    after: Config
    rules: tuple[RuleDifference, ...]
    tensors: tuple[TensorDifference, ...] | None = None
    findings: tuple[Diagnostic, ...] = ()

    @property
    def same(self) -> bool:
        """Whether nothing differs: on a model, what happens to it; without one, what is said."""
        return not (self.rules if self.tensors is None else self.tensors)


def diff(before: Side, after: Side, chosen: Choices, model: str | None = None) -> ConfigDiff:
    """Compare two configurations.

    With a model each is resolved on it in its own dialect: on tensors, or, where its format is AIMET's torch
    half, on the ports of the same module.

    Raises:
        InputError: a configuration or the model has errors, or they do not go together.
        LookupError: no such format.
    """
    findings: list[Diagnostic] = []
    configs = [_read(side, chosen, findings) for side in (before, after)]
    tensors = None if model is None else _on_model(configs[0], configs[1], model, chosen, findings)
    return ConfigDiff(
        before=configs[0],
        after=configs[1],
        rules=compare_configs(*_comparable(configs[0], configs[1])),
        tensors=tensors,
        findings=tuple(in_order(dict.fromkeys(findings))),
    )


def _read(side: Side, chosen: Choices, findings: list[Diagnostic]) -> Config:
    config, found = examined(side.reference, format=side.format, mode=chosen.mode)
    findings += found
    stop_on_errors(findings)
    assert config is not None
    return config


def _comparable(before: Config, after: Config) -> tuple[Config, Config]:
    """Return two configurations in one dialect, tensor by tensor and defaults spelt out, if they are in two."""
    dialects = {formats.READINGS.get(config.dialect, config.dialect) for config in (before, after)}
    if len(dialects) == 1:
        return before, after
    return spelt_out(neutral(before, _ignore)), spelt_out(neutral(after, _ignore))


def _ignore(_: object) -> None:
    """Let go of what a comparison of rules cannot say: plans on a model say it."""


def _on_model(
    before: Config, after: Config, model: str, chosen: Choices, findings: list[Diagnostic]
) -> tuple[TensorDifference, ...]:
    configs = {"before": before, "after": after}
    ports = _port_plans({s: c for s, c in configs.items() if c.dialect == PORT_DIALECT}, model, chosen, findings)
    tensors = _tensor_plans({s: c for s, c in configs.items() if c.dialect != PORT_DIALECT}, model, chosen, findings)
    if len(ports) == 2:
        return compare_plans(ports["before"].as_plan(), ports["after"].as_plan())
    if len(tensors) == 2:
        return compare_plans(tensors["before"], tensors["after"])
    if "after" in ports:
        return compare_placements(tensors["before"], ports["after"])
    return tuple(map(_mirrored, compare_placements(tensors["after"], ports["before"])))


def _port_plans(
    configs: dict[str, Config], model: str, chosen: Choices, findings: list[Diagnostic]
) -> dict[str, PortPlan]:
    if not configs:
        return {}
    graph = capture_graph(model, findings.append)
    stop_on_errors(findings)
    assert graph is not None
    plans = {side: resolve_graph(config, graph, chosen, findings.append) for side, config in configs.items()}
    stop_on_errors(findings)
    return {side: plan for side, plan in plans.items() if plan is not None}


def _tensor_plans(
    configs: dict[str, Config], model: str, chosen: Choices, findings: list[Diagnostic]
) -> dict[str, Plan]:
    if not configs:
        return {}
    backend = installed_backend("onnx")
    with opened(model, findings.append, backend) as opened_model:
        stop_on_errors(findings)
        assert opened_model is not None
        bound = {s: resolve_on(backend, opened_model, c, chosen, findings.append) for s, c in configs.items()}
    stop_on_errors(findings)
    return {side: found.plan for side, found in bound.items() if found is not None}


def _mirrored(difference: TensorDifference) -> TensorDifference:
    fields = tuple(
        FieldDifference(f.field, f.after, f.before, f.because_after, f.because_before) for f in difference.fields
    )
    return TensorDifference(difference.tensor, fields, difference.at_after, difference.at_before)
