"""Quantization-aware training: PyTorch modules in memory.  Importing this does not import PyTorch.

plan = qsimc.plan("config.json", "package.module:factory")
encodings = qsimc.torch.calibrate(plan, module, batches)
simulation = qsimc.torch.build(plan, module, encodings)
simulation.learn_ranges()                     # or leave the ranges as they are and train the weights only
...                                           # train it, like any module, with any optimizer
result = qsimc.torch.export(simulation, "out/")
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from os import PathLike
from pathlib import Path
from typing import Any

from qsimc.backend import load_backend, load_builder
from qsimc.calibrate.distributed import Ranks
from qsimc.calibrate.encoding import Encoding
from qsimc.pipeline.calibrate import calibrate as calibrate_model
from qsimc.pipeline.trained import Trained, calibration_data, write_trained
from qsimc.planning.plan import Plan


def build(plan: Plan, module: Any, encodings: Mapping[str, Encoding] | None = None) -> Any:
    """Return an `nn.Module` that computes what a module computes, with the quantizers of a plan in it.

    It has copies of the module's parameters, under their names, and can be trained: `learn_ranges()` trains the
    encodings as well, `parameter_groups()` gives them rates of their own, `freeze()` stops them.  Batch norms
    compute with the statistics that they have.  Without encodings its quantizers pass values on.

    Args:
        plan: made from the same module: `qsimc.plan(config, "package.module:factory")`.
        module: an `nn.Module`, or the .onnx file that the plan was made from.

    Raises:
        ValueError: the plan is for another model.
        InputError: the module cannot be captured (Q0511), or operators have no expression (Q0552).
        LookupError: PyTorch is not installed.
    """
    return load_builder("torch").build(plan, module, encodings)


def prepare(module: Any, plan: Plan, encodings: Mapping[str, Encoding] | None = None) -> Any:
    """Put the quantizers of a plan onto a live module, which keeps its code, its parameters and its hooks.

    What is returned has the phases of `build`'s modules (`learn_ranges`, `freeze`, ...) and can be called and exported
    like one.  `quantizers()` gives what was put on the module, `unmapped` says of every other tensor of the plan why
    nothing was: only what goes in or out of a module can be caught, and no step in the middle of a `forward`.
    `remove()` takes all of it off.  Batch norms must be in eval mode, as the plan has them.

    Args:
        module: an `nn.Module`, which is run once on random data.
        plan: made from the same module.

    Raises:
        ValueError: the plan is for another model.
        InputError: the module cannot be captured (Q0511).
        LookupError: PyTorch is not installed.
    """
    return load_builder("torch").prepare(module, plan, encodings)


def calibrate(plan: Plan, module: Any, batches: Iterable[Any]) -> Mapping[str, Encoding]:
    """Return the encodings of a plan on some data.

    Args:
        module: as for `build`; or what `build` or `prepare` returned, as trained by now.
        batches: each a mapping from input to array or tensor, a tuple in the order of the inputs, or the only input.

    Raises:
        ValueError: the plan is for another model.
        InputError: the module cannot be captured (Q0511), or the data cannot be used (Q06xx).
        LookupError: PyTorch is not installed.
    """
    model, _keeps_the_files = load_builder("torch").model_of(plan, module)
    data = calibration_data(model, batches)
    return calibrate_model(load_backend("onnx"), model, plan, data, lambda _: None).encodings


def encodings(module: Any) -> Mapping[str, Encoding]:
    """Return the encodings that a module of `build` or `prepare` has now, trained or not, by tensor."""
    found: Mapping[str, Encoding] = load_builder("torch").encodings(module)
    return found


def export(module: Any, out: str | PathLike[str], *, force: bool = False) -> Trained:
    """Write a trained module into a folder, as `qsimc quantize` does.

    That is the float model with the trained weights, and of the encodings that the module has now: the QDQ model,
    `encodings.json`, AIMET's encodings file.  `qsimc evaluate`, `qsimc export` and `qsimc encodings` take it from
    there.

    Args:
        module: what `build` or `prepare` returned.
        force: replace files in a folder that qsimc did not write.

    Raises:
        ValueError: `module` comes from elsewhere.
        InputError: `out` cannot be written to; it is untouched.
    """
    model, plan = load_builder("torch").trained(module)
    return write_trained(model, plan, encodings(module), Path(out), force=force)


def ranks() -> AbstractContextManager[Ranks]:
    """Join the processes that `torchrun` started, so that they calibrate one model together.

    In each of them, with the same arguments:

        with qsimc.torch.ranks() as ranks:
            qsimc.quantize("cfg.json", model="m.onnx", data=batches, out="out/", backend="torch", ranks=ranks)

    Each runs its share of the batches, all get the same result, and the first one writes it.  Inside, PyTorch's
    default process group is there for training, too.

    Raises:
        LookupError: PyTorch is not installed.
    """
    return load_backend("torch").ranks()
