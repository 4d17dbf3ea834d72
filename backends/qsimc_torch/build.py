"""The simulation as files: a module in Python, its weights and encodings in safetensors."""

from __future__ import annotations

import linecache
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from qsimc_onnx.model import OnnxModel
from safetensors.torch import save_file

from qsimc.calibrate.encoding import Encoding
from qsimc.outputs import safe_name
from qsimc.planning.plan import Plan
from qsimc_torch.quantizers import Quantizer, numbers, quantizers
from qsimc_torch.runtime import Simulation
from qsimc_torch.source import Generated, generate


def build(
    model: OnnxModel,
    plan: Plan,
    out: Path,
    encodings: Mapping[str, Encoding] | None = None,
    *,
    standalone: bool = False,
) -> Sequence[Path]:
    """Write `<model>_quantsim.py` and `<model>.safetensors` into `out`; return both, the module first.

    Raises:
        InputError: operators have no expression (Q0552); nothing is written.
    """
    generated = generated_of(model, plan, encodings or {}, standalone=standalone)
    weights = filled(generated, model).state_dict()
    module, data = (out / name for name in file_names(model))
    out.mkdir(parents=True, exist_ok=True)
    module.write_text(generated.text, encoding="utf-8", newline="\n")
    save_file({name: value.contiguous() for name, value in weights.items()}, data)
    data.chmod(module.stat().st_mode)  # safetensors lets nobody else read its files
    return module, data


def file_names(model: OnnxModel) -> tuple[str, str]:
    """Return what the files of a model are called."""
    stem = safe_name(model.stem)
    return f"{stem}_quantsim.py", f"{stem}.safetensors"


def generated_of(
    model: OnnxModel, plan: Plan, encodings: Mapping[str, Encoding], *, standalone: bool = False, shared: bool = True
) -> Generated:
    """Return the source of a model's simulation.

    Args:
        shared: False gives each tensor a quantizer of its own, so that one can be told from another.

    Raises:
        InputError: operators have no expression (Q0552).
    """
    found = quantizers_of(model, plan, encodings, shared=shared)
    return generate(model, plan, found, weights=file_names(model)[1], standalone=standalone)


def quantizers_of(
    model: OnnxModel, plan: Plan, encodings: Mapping[str, Encoding], *, shared: bool = True
) -> tuple[Quantizer, ...]:
    """Return the quantizers of a plan, in graph order."""
    channels = {t.tensor: _channels(model, t.tensor, t.axis) for t in plan.enabled() if t.axis is not None}
    return quantizers(plan, encodings, channels=channels, shared=shared)


def filled(generated: Generated, model: OnnxModel) -> Simulation:
    """Return an instance of a generated module, with the model's weights and its quantizers' encodings."""
    made = class_of(generated.text, generated.name)()
    with torch.no_grad():
        for name, value in made.state_dict(keep_vars=True).items():
            if name in generated.parameters:
                value.data.copy_(tensor_of(generated.model.constant(generated.parameters[name])))
    for attribute, quantizer in generated.quantizers.items():
        if quantizer.encoding is not None:
            submodule: Any = made.get_submodule(attribute)  # of the module's own class, if it stands alone
            submodule.encode(*map(torch.from_numpy, numbers(quantizer.encoding)))
    return made.eval()


def class_of(text: str, name: str) -> type[Simulation]:
    """Return a class of generated source, whose lines tracebacks can show."""
    place = f"<qsimc {name}>"
    linecache.cache[place] = (len(text), None, text.splitlines(keepends=True), place)
    namespace: dict[str, Any] = {"__name__": f"qsimc_{name}"}
    exec(compile(text, place, "exec"), namespace)
    made: type[Simulation] = namespace[name]
    return made


def tensor_of(value: NDArray[Any]) -> torch.Tensor:
    """Return a constant of a model as a tensor; NumPy has no bfloat16 of its own."""
    array = np.array(value, copy=True)
    if value.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.uint16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def _channels(model: OnnxModel, tensor: str, axis: int) -> int:
    size = (model.graph.tensors[tensor].shape or ())[axis]
    assert size is not None, f"channels of {tensor} are not known"
    return size
