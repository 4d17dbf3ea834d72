"""The node tests that come with ONNX, run on generated modules.

`onnx.backend.test` states for each operator models of one node with inputs and expected outputs; the same models with
the operator expanded into the function that defines it are there too.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto
from onnx.backend.test.case import node as onnx_cases
from onnx.backend.test.case.node import collect_testcases
from qsimc_onnx.graph import read_graph
from qsimc_onnx.model import OnnxModel
from qsimc_torch.build import filled, generated_of, tensor_of

from qsimc.diagnostics import InputError
from qsimc.planning.plan import Mode, Plan

OWN_REDUCTIONS = ("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare")
REDUCTIONS = (*OWN_REDUCTIONS, "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum")

RTOL, ATOL = 1e-3, 1e-5

BFLOAT16_RTOL = 2**-6
"""Two units in the last place, as the runner of ONNX has it."""

_HOW_RUNS_FAIL = (
    AssertionError,
    AttributeError,
    IndexError,
    KeyError,
    NameError,
    NotImplementedError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True)
class NodeCase:
    """A test of ONNX; `node` is the one that it tests, whatever the model makes of it."""

    name: str
    node: NodeProto
    model: ModelProto
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]

    @property
    def op(self) -> str:
        """Its operator, as specs/torch_ops.toml names it."""
        return f"{self.node.domain}.{self.node.op_type}" if self.node.domain else self.node.op_type

    @property
    def expanded(self) -> bool:
        """Whether its model holds the function that defines the operator."""
        return "_expanded" in self.name


@cache
def all_cases() -> Mapping[str, NodeCase]:
    """Return all node tests of the installed ONNX, by name; collecting them takes seconds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the cases overflow and divide by zero on purpose
        collected = collect_testcases(None)
    nodes = onnx_cases._existing_names
    found = {}
    for case in collected:
        tested = nodes[case.name] if case.name in nodes else nodes[case.name.partition("_expanded")[0]]
        ((inputs, outputs),) = case.data_sets or [((), ())]
        assert case.model is not None
        found[case.name] = NodeCase(case.name, tested, case.model, tuple(inputs), tuple(outputs))
    return found


def cases_of(op: str, *, expanded: bool = False) -> tuple[NodeCase, ...]:
    """Return the tests of an operator, as it is or expanded."""
    return tuple(case for case in all_cases().values() if case.op == op and case.expanded is expanded)


def problem_of(case: NodeCase, stored: Collection[int] = (), rtol: float = RTOL) -> str | None:
    """Return why a generated module fails a test, None where it passes.

    Args:
        stored: positions of inputs that are constants of the model, as exporters write them; the tests feed all.
        rtol: how far a float may be off, by its own size.
    """
    names = {case.node.input[position] for position in stored if position < len(case.node.input)}
    try:
        made = ran(case, names)
        for number, (got, wanted) in enumerate(zip(made, case.outputs, strict=True)):
            compare(got, wanted, f"output {number}", rtol)
    except InputError as refusal:
        return "; ".join(finding.message for finding in refusal.findings)
    except _HOW_RUNS_FAIL as problem:
        return f"{type(problem).__name__}: {problem}"
    return None


def ran(case: NodeCase, stored: Collection[str] = ()) -> tuple[torch.Tensor, ...]:
    """Return what the generated module makes of the inputs of a test."""
    model = opened(case, stored)
    fed = {i.name: value for i, value in zip(case.model.graph.input, case.inputs, strict=True)}
    module = filled(generated_of(model, unquantized(model), {}), model)
    with torch.no_grad():
        made = module(*(tensor_of(array(fed[name])) for name in model.graph.inputs))
    return made if isinstance(made, tuple) else (made,)


def source_of(case: NodeCase, stored: Collection[int] = ()) -> str:
    """Return the module that is generated for a test, to look at."""
    model = opened(case, {case.node.input[position] for position in stored if position < len(case.node.input)})
    return generated_of(model, unquantized(model), {}).text


def opened(case: NodeCase, stored: Collection[str]) -> OnnxModel:
    """Return the model of a test, some of its inputs made constants."""
    proto = ModelProto()
    proto.CopyFrom(case.model)
    inputs = [*proto.graph.input]
    del proto.graph.input[:]
    for described, value in zip(inputs, case.inputs, strict=True):
        if described.name in stored:
            proto.graph.initializer.append(_stored(value, described.name))
        else:
            proto.graph.input.append(described)
    return OnnxModel(f"{case.name}.onnx", read_graph(proto), proto)


def unquantized(model: OnnxModel) -> Plan:
    return Plan(graph=model.graph, tensors={}, dialect="aimet", mode=Mode.FIXED)


def compare(made: Any, wanted: Any, what: str, rtol: float = RTOL) -> None:
    """Compare as the runner of ONNX does: integers exactly, floats nearly, types and shapes always."""
    expected = array(wanted)
    if not isinstance(made, torch.Tensor):
        raise TypeError(f"{what} is no tensor: {type(made).__name__}")
    got, name = made.detach(), str(made.dtype).removeprefix("torch.")
    if name != expected.dtype.name:
        raise AssertionError(f"{what} is {name}, not {expected.dtype.name}")
    if tuple(got.shape) != expected.shape:
        raise AssertionError(f"{what} has shape {tuple(got.shape)}, not {expected.shape}")
    if not got.dtype.is_floating_point:
        np.testing.assert_array_equal(got.numpy(), expected, err_msg=what)
        return
    rtol = max(rtol, BFLOAT16_RTOL) if name == "bfloat16" else rtol
    exact = expected.astype(np.float64)
    np.testing.assert_allclose(got.to(torch.float64).numpy(), exact, rtol=rtol, atol=ATOL, err_msg=what)


def array(value: Any) -> NDArray[Any]:
    """Return a value of a test, which may be a number, an array or a TensorProto."""
    if value is None or isinstance(value, list):
        raise TypeError("it is a sequence or an optional value, not a tensor")
    if isinstance(value, TensorProto):
        value = onnx.numpy_helper.to_array(value)
    return np.asarray(value)


def _stored(value: Any, name: str) -> TensorProto:
    if isinstance(value, TensorProto):
        kept = TensorProto()
        kept.CopyFrom(value)
        kept.name = name
        return kept
    return onnx.numpy_helper.from_array(np.asarray(value), name)


# ── tables of tests that do not pass ──


def reason_of(name: str, excluded: Mapping[str, Sequence[str]]) -> str | None:
    """Return why a test is left out, None if it is not; a table has names or patterns of them, by reason."""
    return next((why for why, names in excluded.items() if any(fnmatchcase(name, n) for n in names)), None)


def wrongly_excluded(
    ops: Collection[str],
    excluded: Mapping[str, Sequence[str]],
    stored: Mapping[str, Collection[int]],
    *,
    expanded: bool = False,
) -> Iterator[str]:
    """Yield what a table of tests that do not pass should not have: tests that pass, and names of no test."""
    cases = [case for op in ops for case in cases_of(op, expanded=expanded)]
    for names in excluded.values():
        for name in names:
            matched = [case for case in cases if fnmatchcase(case.name, name)]
            if not matched:
                yield f"{name}: there is no such test"
            yield from (f"{c.name}: it passes" for c in matched if problem_of(c, stored.get(c.op, ())) is None)
