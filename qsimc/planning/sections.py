"""The sections of an AIMET config, one pass each, in AIMET's order."""

from __future__ import annotations

from qsimc.diagnostics import Label, Vendor
from qsimc.planning.difference import TOOL, Difference, label
from qsimc.planning.plan import Decision, Kind
from qsimc.planning.quantizer import Quantizer, Resolution, Site
from qsimc.planning.rules import CONSTANTS, GRID_PRESERVING
from qsimc.planning.section import Section
from qsimc.planning.words import Words
from qsimc.selection import selected
from qsimc.spec.ops import operators

_WAITS = Decision("enabled", False, CONSTANTS)
_MOVES = (Decision("enabled", False, GRID_PRESERVING),)


def defaults(resolution: Resolution) -> None:
    """Apply `*` rules to every quantizer; model inputs and constants are then off until `model[input]`."""
    words = resolution.said.everything
    inputs, outputs, every = words.inputs, words.outputs, words.every
    section = Section(resolution.differences)
    for site in resolution.sites:
        section.apply(site.inputs, inputs, site.node)
        section.apply(site.outputs, outputs, site.node)
    for quantizer in resolution.made.values():
        if quantizer.kind is Kind.PARAM:
            quantizer.obey(words.params)
            continue
        quantizer.obey(d for d in every if not section.spoke_of(quantizer, d.field))
        if quantizer.kind is Kind.INPUT or is_constant(quantizer):
            quantizer.decide(_WAITS)


def named_params(resolution: Resolution) -> None:
    """Apply `*[bias]` and the like."""
    words = resolution.said.everything
    for site in resolution.sites:
        for quantizer, role in site.params:
            quantizer.obey(words.named(role))


def op_types(resolution: Resolution) -> None:
    """Apply the rules of operator types; movement operators that no rule mentions have their output off."""
    said = resolution.said.op_type
    grid_preserving = operators().grid_preserving
    section = Section(resolution.differences)
    for site in resolution.sites:
        words = said.get(site.node.op)
        if words is not None:
            section.apply(site.inputs, words.inputs, site.node)
            section.apply(site.outputs, words.outputs, site.node)
            for quantizer, role in site.params:
                quantizer.obey(words.params)
                quantizer.obey(words.named(role))
        elif site.node.op in grid_preserving and not site.node.domain:
            section.apply(site.outputs, _MOVES, site.node)


def chain_rules(resolution: Resolution) -> None:
    """Apply rules about chains of nodes to the last of each, which AIMET's own files cannot contain."""
    for chain, words in resolution.said.chains:
        ends = {id(node) for node in selected(resolution.graph, chain)}
        for site in resolution.sites:
            if id(site.node) in ends:
                _about_node(resolution, site, words)


def node_names(resolution: Resolution) -> None:
    """Apply rules about nodes by name, which AIMET's own files cannot contain."""
    if not resolution.said.node and not resolution.said.globs:
        return
    for site in resolution.sites:
        for words in resolution.said.of_node(site.node.name):
            _about_node(resolution, site, words)


def _about_node(resolution: Resolution, site: Site, words: Words) -> None:
    section = Section(resolution.differences)
    section.apply(site.inputs, words.inputs, site.node)
    section.apply(site.outputs, words.outputs, site.node)
    for quantizer, role in site.params:
        quantizer.obey(words.params)
        quantizer.obey(words.named(role))


def model_input(resolution: Resolution) -> None:
    """Apply `model[input]` to the model's inputs that are read, and to constant operands."""
    decisions = resolution.said.boundary.inputs
    constants = [q for q in resolution.made.values() if is_constant(q)]
    if constants and not any(d.field == "enabled" for d in decisions):
        _no_model_input(resolution, constants[0])
    consumers = resolution.graph.consumers
    for quantizer in resolution.made.values():
        if (quantizer.kind is Kind.INPUT and quantizer.tensor in consumers) or is_constant(quantizer):
            quantizer.obey(decisions)


def model_output(resolution: Resolution) -> None:
    """Apply `model[output]` to what nothing reads; in fixed mode also to model outputs that are read.

    AIMET asks whether an output is consumed, not whether it is an output of the model.
    """
    decisions = resolution.said.boundary.outputs
    if not decisions:
        return
    model_outputs = resolution.graph.public if resolution.differences.fixed else frozenset()
    for site in resolution.sites:
        read = bool(resolution.next_nodes(site.node))
        for quantizer in site.outputs:
            if not read:
                quantizer.obey(decisions)
            elif quantizer.tensor in model_outputs:
                _read_output(resolution, site, quantizer, decisions)


def is_constant(quantizer: Quantizer) -> bool:
    """Whether AIMET treats an activation as a constant: initializers, Constant nodes, ConstantOfShape."""
    if quantizer.kind is Kind.CONSTANT:
        return True
    return quantizer.node is not None and quantizer.node.op in operators().produces_constant


def _no_model_input(resolution: Resolution, constant: Quantizer) -> None:
    span = resolution.said.model_input_span
    resolution.differences.fails(
        "Q0521",
        Difference(
            code="Q0521",
            name="empty-model-input",
            message=f"`model_input` is empty, and the model has a constant operand, `{constant.tensor}`",
            labels=(Label(span, "says nothing of `is_input_quantized`"),) if span else (),
            aimet="AIMET reads `is_input_quantized` for every constant operand without asking whether it is there",
            instead="qsimc leaves the model's inputs and constant operands unquantized",
            helps=('say it: `"is_input_quantized": "True"`',),
            vendor=Vendor(TOOL, "KeyError", "'is_input_quantized'"),
        ),
    )


def _read_output(resolution: Resolution, site: Site, quantizer: Quantizer, decisions: tuple[Decision, ...]) -> None:
    changes = [d for d in decisions if getattr(quantizer, d.field) != d.value]
    quantizer.obey(decisions)
    if changes:
        difference = Difference(
            code="Q0525",
            name="model-output-is-read",
            message=f"the model output `{quantizer.tensor}` is also read inside the model",
            labels=label(changes[0], "speaks of the model's outputs"),
            aimet="AIMET takes only tensors that nothing reads for outputs of the model",
            instead=f"qsimc applies the rule to `{quantizer.tensor}`, the output of `{site.node.name}`",
        )
        resolution.differences.differs("Q0525", difference)
