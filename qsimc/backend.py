"""What a backend does, and how one is found: a few verbs, no base class."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from qsimc.calibrate.distributed import Ranks
from qsimc.calibrate.encoding import Encoding
from qsimc.calibrate.observer import Observer
from qsimc.diagnostics import Report
from qsimc.graph import Graph, Tensor
from qsimc.planning.plan import Edge, Kind, Plan

Batch = Mapping[str, NDArray[Any]]
"""One value per model input, by name; the first axis counts samples."""


def samples(batch: Batch) -> int:
    """Return how many samples a batch has; a single number is one."""
    first = next(iter(batch.values()))
    return len(first) if first.ndim else 1


@dataclass(frozen=True, slots=True)
class Change:
    """What a rewrite did to a model: its name, the node that it changed, and what is to be said about that."""

    rewrite: str
    node: str
    detail: str


class Model(Protocol):
    """An opened model: its graph, and its constants on demand."""

    path: str
    graph: Graph

    @property
    def inputs(self) -> Mapping[str, Tensor]:
        """Name -> dtype and shape of each input that must be fed, in the model's order."""
        ...

    def stores(self, tensor: str) -> bool:
        """Return whether the main graph holds the value of a tensor, so that `constant` gives it."""
        ...

    def constant(self, tensor: str) -> NDArray[Any]:
        """Return an initializer's or Constant node's value, memory-mapped when it lies in another file."""
        ...


Settle = Callable[[Batch], Batch]
"""Gets tensors that were just made; returns the values that some of them have from then on."""


class Walk(Protocol):
    """A model that runs piece by piece, so that what one piece makes can be changed before the next reads it."""

    def run(self, batch: Batch, constants: Batch, settle: Settle) -> Batch:
        """Run one batch and return the model's outputs.

        Args:
            constants: values of the constants that each run gives.
            settle: is called for every piece with what it made of the stops and of what is shown besides.
        """
        ...


class Backend(Protocol):
    """One runtime.  Found through the `qsimc.backends` entry points; never imported by the core."""

    name: str

    def open(self, model: str, report: Report) -> Model | None:
        """Open a model; None after reporting what is wrong with it (Q05xx)."""
        ...

    def rewrite(self, model: Model, names: Sequence[str]) -> tuple[Model, Sequence[Change]]:
        """Return the float model after the named rewrites, which run in their own order, and what they changed.

        Raises:
            LookupError: no rewrite is called so; the message names those there are.
        """
        ...

    def split_edges(self, model: Model, edges: Sequence[Edge]) -> Model:
        """Return the model with a tensor of its own for each edge."""
        ...

    def with_constants(self, model: Model, values: Mapping[str, NDArray[Any]]) -> Model:
        """Return the model with other values of some constants."""
        ...

    def save(self, model: Model, path: Path) -> Sequence[Path]:
        """Write a model as it is now, and what it keeps beside it; the first path is the model."""
        ...

    def walk(
        self,
        model: Model,
        plan: Plan,
        stops: Sequence[str],
        constants: Batch,
        fed: Sequence[str],
        twins: Mapping[str, Batch],
    ) -> tuple[Walk, Mapping[str, str]]:
        """Return a walk of a model, and for each twin the name of what it gives.

        Tensors that the plan casts to another float type are cast, but for constants that the caller gives.

        Args:
            stops: tensors whose values the caller settles.
            constants: values that take the place of the model's.
            fed: constants that the caller gives in each run, since they change between runs.
            twins: outputs of operators that are computed once more, by these values of their parameters; both
                outputs are shown.
        """
        ...

    def build(
        self,
        model: Model,
        plan: Plan,
        out: Path,
        encodings: Mapping[str, Encoding] | None = None,
        *,
        standalone: bool = False,
    ) -> Sequence[Path]:
        """Write the instrumented model into the folder `out`: one named quantizer per planned tensor.

        Without encodings its quantizers pass values through (it computes what the model computes); with
        them it is the simulation.  A `standalone` one runs without qsimc, as an ONNX file does anyway.
        """
        ...

    def observe(
        self,
        model: Model,
        plan: Plan,
        params: Mapping[str, Encoding],
        batches: Iterable[Batch],
        observers: Mapping[str, Sequence[Observer]],
        sketches: Mapping[str, Sequence[Observer]],
        seen: Callable[[int], None],
    ) -> tuple[Mapping[str, Sequence[Observer]], Mapping[str, Sequence[Observer]]]:
        """Run the model over `batches`, params fake-quantized and activations not; extend observers and sketches.

        Observers are known by the tensor that owns a quantizer and see every tensor that shares it; sketches
        are known by tensor and see that one.  A quantizer one of whose tensors held infinity is missing from
        what is returned.  In vendor mode nodes run as written, as the vendor runs them.
        `seen` is called after each batch with its number of samples.  Memory does not grow with the
        number of batches.
        """
        ...

    def export(
        self,
        model: Model,
        plan: Plan,
        encodings: Mapping[str, Encoding],
        out: Path,
        report: Report,
        *,
        standalone: bool = False,
    ) -> Sequence[Path]:
        """Write what quantization is for (QDQ for ONNX, the simulation for PyTorch) into the folder `out`.

        The first path is the model.
        """
        ...

    def exported(self, stem: str) -> Sequence[str]:
        """Return the names of the files that `export` always writes for a model of that name."""
        ...

    def run(
        self, model: Path, batches: Iterable[Batch], outputs: Sequence[str] | None = None, *, optimise: bool = True
    ) -> Iterator[Mapping[str, NDArray[Any]]]:
        """Yield the outputs of each batch, by name: the model's own, or the named tensors.

        Without `optimise` every node runs as written.
        """
        ...

    def quantized(self, built: Path) -> Mapping[str, str]:
        """Return, for each quantizer of a model that `build` wrote, its tensor and the name of what it puts out."""
        ...

    def read_encodings(self, model: str, report: Report) -> Mapping[str, tuple[Kind, Encoding]] | None:
        """Return the encodings in a quantized (QDQ) model, by the names that tensors have without the quantizers.

        None after reporting why the model cannot be read.
        """
        ...

    def size(self, model: Path) -> int:
        """Return the bytes of a model on disk, its data files included."""
        ...

    def ranks(self) -> AbstractContextManager[Ranks]:
        """Join the processes that a launcher started together with this one; there may be no other."""
        ...


Capture = Callable[[str, Path, Report], Path | None]
"""Turn `package.module:factory` into an ONNX file in a folder; None after reporting why it cannot be."""


def load_backend(name: str) -> Backend:
    """Import a backend the first time somebody asks for it.

    Raises:
        LookupError: no such backend is installed; the message names those that are.
    """
    backend: Backend = _load("backend", name).BACKEND
    return backend


def load_capture(name: str) -> Capture:
    """Import what captures models of one framework (`torch`).

    Raises:
        LookupError: the framework's package is not installed; the message names those that are.
    """
    capture: Capture = _load("capture", name)
    return capture


def load_tracer(name: str) -> Any:
    """Import what traces the ports of one framework's modules (`torch`): a function of reference and report.

    Raises:
        LookupError: the framework's package is not installed; the message names those that are.
    """
    return _load("tracer", name)


def load_builder(name: str) -> Any:
    """Import what instruments modules of one framework (`torch`): a module, with `build` and what goes with it.

    Raises:
        LookupError: the framework's package is not installed; the message names those that are.
    """
    return import_module(_load("builder", name).__module__)


def _load(kind: str, name: str) -> Any:
    found = {entry.name: entry for entry in entry_points(group=f"qsimc.{kind}s")}
    if name not in found:
        raise LookupError(f"no {kind} `{name}`; installed: {', '.join(sorted(found)) or 'none'}")
    try:
        return found[name].load()
    except ModuleNotFoundError as error:
        raise LookupError(f"the {kind} `{name}` needs the package `{error.name}`, which is not installed") from error
