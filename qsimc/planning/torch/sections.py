"""The sections of an AIMET config, one pass each, as its torch half applies them to ports."""

from __future__ import annotations

from collections.abc import Mapping

from qsimc.diagnostics import Vendor
from qsimc.planning.difference import Difference, label
from qsimc.planning.plan import Decision
from qsimc.planning.torch.around import Reach, function_reach, module_reach
from qsimc.planning.torch.graph import Call
from qsimc.planning.torch.names import Entries
from qsimc.planning.torch.section import PortSection, obey_all
from qsimc.planning.torch.state import TOOL, PortResolution, Ports
from qsimc.planning.words import Words

NAMED_PARAMS = frozenset({"weight", "bias"})
"""The only parameters that a config can name: an LSTM's `weight_ih_l0` has the defaults."""

_NOT_PARAMS = frozenset({"", "act", "input", "output", "param"})


class Sections:
    """Applies sections; how far a rule reaches is the same in each, so it is worked out once."""

    def __init__(self, resolution: PortResolution, entries: Entries) -> None:
        self._resolution = resolution
        self._entries = entries
        self._modules: Mapping[str, Reach] = {
            name: module_reach(resolution, ports) for name, ports in resolution.ports.items()
        }
        functions = (call for call in resolution.graph.calls if call.is_named_function)
        self._functions = [(call, function_reach(resolution, call)) for call in functions]

    def defaults(self) -> None:
        """Apply `*` rules to every quantizer."""
        resolution = self._resolution
        words = resolution.said.everything
        section = PortSection(resolution.differences)
        for name in resolution.ports:
            section.apply(self._modules[name], words, name)
        for call, reach in self._functions:
            section.apply(reach, words, call.name)
        for ports in resolution.ports.values():
            obey_all(ports.params.values(), words.params)
            for quantizer in (*ports.inputs, *ports.outputs):
                quantizer.obey(d for d in words.every if not section.spoke_of(quantizer, d.field))

    def named_params(self) -> None:
        """Apply `*[bias]` and the like."""
        words = self._resolution.said.everything
        for ports in self._resolution.ports.values():
            for name in NAMED_PARAMS & ports.params.keys():
                ports.params[name].obey(words.named(name))

    def op_types(self) -> None:
        """Apply the rules of operator types, modules first, then functions."""
        section = PortSection(self._resolution.differences)
        for name, ports in self._resolution.ports.items():
            for words in self._entries.of_class(ports.row):
                self._tell(section, ports, name, words)
        for call, reach in self._functions:
            found = self._entries.of_type(call.type)
            if found is not None:
                section.apply(reach, found, call.name)
                self._refuse_params(call, found)

    def module_names(self) -> None:
        """Apply rules about modules by name, which AIMET's own files cannot contain."""
        for name, ports in self._resolution.ports.items():
            for words in self._resolution.said.of_node(name):
                self._tell(PortSection(self._resolution.differences), ports, name, words)

    def model_input(self) -> None:
        """Apply `model[input]` to the inputs of modules whose values nobody has quantized yet."""
        decisions = self._resolution.said.boundary.inputs
        graph = self._resolution.graph
        for call in graph.in_order:
            ports = self._resolution.of(call)
            if ports is None:
                continue
            bare = {i for i, edge in enumerate(call.inputs) if not graph.is_quantized(edge)}
            obey_all((q for i, q in enumerate(ports.inputs) if i in bare), decisions)

    def model_output(self) -> None:
        """Apply `model[output]` to modules whose results nothing reads; in fixed mode also to read model outputs."""
        decisions = self._resolution.said.boundary.outputs
        if not decisions:
            return
        graph = self._resolution.graph
        known = graph.outputs if self._resolution.differences.fixed else ()
        for call in graph.calls:
            ports = self._resolution.of(call)
            if ports is None:
                continue
            read = bool(graph.readers(call))
            if read and call.name in known:
                self._report_read(call, decisions)
            if not read or call.name in known:
                name = ports.module.name
                PortSection(self._resolution.differences).apply_outputs(self._modules[name], decisions, name)

    def _tell(self, section: PortSection, ports: Ports, name: str, words: Words) -> None:
        section.apply(self._modules[name], words, name)
        obey_all(ports.params.values(), words.params)
        for param in NAMED_PARAMS & ports.params.keys():
            ports.params[param].obey(words.named(param))

    def _refuse_params(self, call: Call, words: Words) -> None:
        """A function has no parameters; AIMET fails where a config speaks of some."""
        said = next(
            (d for role, fields in words.by_role.items() if role not in _NOT_PARAMS for d in fields.values()), None
        )
        if said is None:
            return
        difference = Difference(
            code="Q0533",
            name="params-of-function",
            message=f"`{said.reason.rule}` speaks of a parameter, and `{call.name}` is the call of a function",
            labels=label(said, "this parameter"),
            aimet="AIMET's torch half stops when such an entry meets a function",
            instead="qsimc has nothing to do for it",
            helps=("use a module for this operation",),
            vendor=Vendor(TOOL, "AssertionError", "No module provided to set params for"),
        )
        self._resolution.differences.fails(("Q0533", said.reason.rule), difference)

    def _report_read(self, call: Call, decisions: tuple[Decision, ...]) -> None:
        difference = Difference(
            code="Q0525",
            name="model-output-is-read",
            message=f"the model output of `{call.module}` is also read inside the model",
            labels=label(decisions[0], "speaks of the model's outputs"),
            aimet="AIMET takes only values that nothing reads for outputs of the model",
            instead=f"qsimc applies the rule to `{call.module}`",
        )
        self._resolution.differences.differs("Q0525", difference)
