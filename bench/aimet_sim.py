"""AIMET's side of torch_sim.py, for a Python that has aimet-torch: times each task whose name it reads from stdin."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import torch

_register = torch.library.register_fake


def _without_torchvision(name: Any, *arguments: Any, **options: Any) -> Any:
    """Register nothing for torchvision, whose wheel does not fit a CPU build of torch."""
    if str(name).startswith("torchvision"):
        return lambda function: function
    return _register(name, *arguments, **options)


torch.library.register_fake = _without_torchvision  # type: ignore[assignment]

from aimet_torch.common.defs import QuantScheme  # noqa: E402
from aimet_torch.quantsim import QuantizationSimModel  # noqa: E402
from nets import resnet18  # noqa: E402


def main() -> None:
    batch, batches = map(int, sys.argv[1:])
    torch.set_grad_enabled(False)
    module, (image,) = resnet18()
    images = [torch.randn(batch, 3, 224, 224) for _ in range(batches)]

    def forward(model: Callable[[torch.Tensor], Any]) -> None:
        for one in images:
            model(one)

    schemes = {"min-max": QuantScheme.min_max, "sqnr": QuantScheme.training_range_learning_with_tf_enhanced_init}
    sims = {name: QuantizationSimModel(module, dummy_input=image, quant_scheme=s) for name, s in schemes.items()}
    sims["min-max"].compute_encodings(lambda model: model(image))
    tasks: dict[str, Callable[[], Any]] = {
        "float": lambda: forward(module),
        "simulation": lambda: forward(sims["min-max"].model),
        "min-max": lambda: sims["min-max"].compute_encodings(forward),
        "sqnr": lambda: sims["sqnr"].compute_encodings(forward),
    }
    for line in sys.stdin:
        start = time.perf_counter()
        tasks[line.strip()]()
        print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main()
