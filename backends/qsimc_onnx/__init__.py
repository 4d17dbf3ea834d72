"""The ONNX backend: reads models with onnx, writes simulations and QDQ models, calibrates with onnxruntime."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from qsimc.backend import Backend, Batch, Change, Model, Walk
from qsimc.calibrate.distributed import ALONE, Ranks
from qsimc.calibrate.encoding import Encoding
from qsimc.calibrate.observer import Observer
from qsimc.diagnostics import Report
from qsimc.planning.plan import Edge, Kind, Plan
from qsimc_onnx.model import OnnxModel, open_model


class OnnxBackend:
    """`qsimc.backend.Backend` for ONNX files.  onnxruntime is imported by the verbs that run models, not to plan."""

    name = "onnx"

    def open(self, model: str, report: Report) -> Model | None:
        """Open an ONNX file; None after reporting what is wrong with it."""
        return open_model(model, report)

    def rewrite(self, model: Model, names: Sequence[str]) -> tuple[Model, Sequence[Change]]:
        """Rewrite a float model by the named passes."""
        from qsimc_onnx.passes import rewrite

        return rewrite(_ours(model), names)

    def split_edges(self, model: Model, edges: Sequence[Edge]) -> Model:
        """Give each edge a tensor of its own."""
        from qsimc_onnx.edges import split_edges

        return split_edges(_ours(model), edges)

    def with_constants(self, model: Model, values: Mapping[str, NDArray[Any]]) -> Model:
        """Give constants other values."""
        from qsimc_onnx.editor import with_constants

        return with_constants(_ours(model), values)

    def save(self, model: Model, path: Path) -> Sequence[Path]:
        """Write a model as it is now."""
        from qsimc_onnx.write import save

        ours = _ours(model)
        return save(ours.proto, ours.folder, path)

    def walk(
        self,
        model: Model,
        plan: Plan,
        stops: Sequence[str],
        constants: Batch,
        fed: Sequence[str],
        twins: Mapping[str, Batch],
    ) -> tuple[Walk, Mapping[str, str]]:
        """Prepare to run a model piece by piece."""
        from qsimc_onnx.walk import walk

        return walk(_ours(model), plan, stops, constants, fed, twins)

    def build(
        self,
        model: Model,
        plan: Plan,
        out: Path,
        encodings: Mapping[str, Encoding] | None = None,
        *,
        standalone: bool = False,
    ) -> Sequence[Path]:
        """Write the instrumented model `<model>.sim.onnx` into the folder `out`."""
        from qsimc_onnx.build import build

        return build(_ours(model), plan, out, encodings)

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
        """Run the model over `batches` and extend observers and sketches."""
        from qsimc_onnx.observe import observe

        return observe(_ours(model), plan, params, batches, observers, sketches, seen)

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
        """Write the QDQ model `<model>.qdq.onnx` into the folder `out`."""
        from qsimc_onnx.export import export

        return export(_ours(model), plan, encodings, out, report)

    def exported(self, stem: str) -> Sequence[str]:
        """Return the names of the files that `export` always writes."""
        return (f"{stem}.qdq.onnx",)

    def run(
        self,
        model: Path | bytes,
        batches: Iterable[Batch],
        outputs: Sequence[str] | None = None,
        *,
        optimise: bool = True,
    ) -> Iterator[Mapping[str, NDArray[Any]]]:
        """Yield the outputs of each batch, by name: the model's own, or the named tensors."""
        from qsimc_onnx.session import run

        return run(model, batches, outputs, optimise=optimise)

    def quantized(self, built: Path) -> Mapping[str, str]:
        """Return, for each quantizer of a model that `build` wrote, its tensor and the name of what it puts out."""
        from qsimc_onnx.build import quantized

        return quantized(built)

    def read_encodings(self, model: str, report: Report) -> Mapping[str, tuple[Kind, Encoding]] | None:
        """Return the encodings in a QDQ model, by tensor."""
        from qsimc_onnx.read_qdq import read_qdq

        return read_qdq(model, report)

    def size(self, model: Path) -> int:
        """Return the bytes of a model on disk, its data files included."""
        from qsimc_onnx.session import size

        return size(model)

    def ranks(self) -> AbstractContextManager[Ranks]:
        """Give this process alone: no launcher is known that starts several for ONNX models."""
        return nullcontext(ALONE)


def _ours(model: Model) -> OnnxModel:
    if not isinstance(model, OnnxModel):
        raise TypeError(f"the ONNX backend opens its own models, this one is a {type(model).__name__}")
    return model


BACKEND: Backend = OnnxBackend()
