"""PyTorch's own observers on ResNet18, for worker.py: what a prepared model costs, and the float model in PyTorch."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch.ao.quantization import HistogramObserver, MinMaxObserver, QConfig, QConfigMapping
from torch.ao.quantization.observer import default_per_channel_weight_observer
from torch.ao.quantization.quantize_fx import prepare_fx
from worker import Feed, serve

sys.path.append(str(Path(__file__).resolve().parents[1]))

from nets import resnet18

_OBSERVERS = {"min-max": MinMaxObserver, "histogram": HistogramObserver}


def prepare(path: Path, method: str) -> Callable[[Feed], object]:
    """Put observers into the module that the model was exported from; `float` puts none in."""
    assert path.parent.name == "ResNet18", "the other models have no module here"
    torch.set_grad_enabled(False)
    module, example = resnet18()
    if method != "float":
        config = QConfig(activation=_OBSERVERS[method], weight=default_per_channel_weight_observer)
        module = prepare_fx(module, QConfigMapping().set_global(config), example)

    def run(feed: Feed) -> None:
        for batch in feed():
            module(torch.from_numpy(batch["x"]))

    return run


if __name__ == "__main__":
    serve(prepare)
