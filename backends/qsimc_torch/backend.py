"""The PyTorch backend: simulations are Python modules; the model itself is ONNX, and the ONNX backend's business."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from qsimc_onnx import OnnxBackend
from qsimc_onnx.model import OnnxModel

from qsimc.backend import Backend, Batch, Model
from qsimc.calibrate.distributed import Ranks
from qsimc.calibrate.encoding import Encoding
from qsimc.calibrate.observer import Observer
from qsimc.diagnostics import Report
from qsimc.outputs import safe_name
from qsimc.planning.plan import Plan


class TorchBackend(OnnxBackend):
    """`qsimc.backend.Backend` for PyTorch.  torch is imported by the verbs that make or run modules, not to plan."""

    name = "torch"

    def build(
        self,
        model: Model,
        plan: Plan,
        out: Path,
        encodings: Mapping[str, Encoding] | None = None,
        *,
        standalone: bool = False,
    ) -> Sequence[Path]:
        """Write `<model>_quantsim.py` and `<model>.safetensors` into the folder `out`."""
        from qsimc_torch.build import build

        return build(_ours(model), plan, out, encodings, standalone=standalone)

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
        """Run the module over `batches` and extend observers and sketches."""
        from qsimc_torch.observe import observe

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
        """Write the calibrated simulation into the folder `out`."""
        return self.build(model, plan, out, encodings, standalone=standalone)

    def exported(self, stem: str) -> Sequence[str]:
        """Return the names of the files that `export` always writes."""
        return f"{safe_name(stem)}_quantsim.py", f"{safe_name(stem)}.safetensors"

    def run(
        self,
        model: Path | bytes,
        batches: Iterable[Batch],
        outputs: Sequence[str] | None = None,
        *,
        optimise: bool = True,
    ) -> Iterator[Mapping[str, NDArray[Any]]]:
        """Yield the outputs of each batch, by name: the model's own, or the named tensors.

        An ONNX file is run by onnxruntime.  Of a module, outputs and what quantizers put out have names.
        """
        if isinstance(model, bytes) or model.suffix != ".py":
            return super().run(model, batches, outputs, optimise=optimise)
        from qsimc_torch.run import run

        return run(model, batches, outputs)

    def quantized(self, built: Path) -> Mapping[str, str]:
        """Return, for each tensor that a module quantizes, the name of what its quantizer puts out: its own."""
        from qsimc_torch.run import opened

        return {tensor: tensor for q in opened(built).quantizers() for tensor in q.tensors}

    def size(self, model: Path) -> int:
        """Return the bytes of a model on disk: of a module those of its source and its weights."""
        if model.suffix != ".py":
            return super().size(model)
        from qsimc_torch.run import weights_of

        return model.stat().st_size + weights_of(model).stat().st_size

    def ranks(self) -> AbstractContextManager[Ranks]:
        """Join the processes that `torchrun` started."""
        from qsimc_torch.ranks import joined

        return joined()


def _ours(model: Model) -> OnnxModel:
    if not isinstance(model, OnnxModel):
        raise TypeError(f"the PyTorch backend opens ONNX models, this one is a {type(model).__name__}")
    return model


BACKEND: Backend = TorchBackend()
