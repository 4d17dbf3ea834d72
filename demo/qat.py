"""The demo of training: digits at 4, 3 and 2 bits, first calibrated only, then trained for a few epochs, then exported.

`python demo/qat.py` writes demo/out/qat/ and exits with 1 when what is deployed is not what was trained.  It needs
PyTorch, and scikit-learn for the digits to train on; one core has it done in less than a minute.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from qat_page import Curve, page
from rich.console import Console
from rich.table import Table
from run import HERE, INPUT, MODEL, batches, images
from torch import Tensor, nn
from train_digits import Split, digits, jitter

import qsimc

OUT = HERE / "out" / "qat"
SEED = 7
EPOCHS = 5
BATCH_SIZE = 64
EVERY = 5
"""Steps from one point of a curve to the next."""

WEIGHT_LR, SCALE_LR, ZERO_POINT_LR = 2e-3, 5e-3, 5e-2
ALLOWED_DIFFERENCE = 0.5
"""Percentage points between the trained module and what onnxruntime makes of its export: two of 450 images."""


@dataclass(frozen=True)
class Setting:
    """The types of weights and of activations."""

    name: str
    param: str
    act: str


SETTINGS = (Setting("W4A4", "int4", "int4"), Setting("W3A3", "int3", "int3"), Setting("W2A2", "int2", "int2"))


@dataclass(frozen=True)
class Measured:
    """Accuracy on the test images in percent: as training went on, and of what was exported, in onnxruntime.

    `curve` holds pairs of step and accuracy: calibration only at first, all of training at last.
    """

    name: str
    curve: Sequence[tuple[int, float]]
    deployed: float

    @property
    def calibrated(self) -> float:
        return self.curve[0][1]

    @property
    def trained(self) -> float:
        return self.curve[-1][1]


def train(setting: Setting, training: Split, test: Split, out: Path, *, epochs: int = EPOCHS) -> Measured:
    """Calibrate the model, train its weights and ranges together, and export it into a folder."""
    torch.manual_seed(SEED)
    plan = qsimc.plan(HERE / "config.json", MODEL, act=setting.act, param=setting.param)
    encodings = qsimc.torch.calibrate(plan, MODEL, batches(images("digits_calibration.npz")))
    model = qsimc.torch.build(plan, MODEL, encodings)
    model.learn_ranges()
    optimizer = torch.optim.Adam(model.parameter_groups(scale_lr=SCALE_LR, zero_point_lr=ZERO_POINT_LR), lr=WEIGHT_LR)
    steps = list(shuffled(training, epochs))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, len(steps))
    curve = [(0, accuracy(simulated(model, test.images), test))]
    for step, (inputs, labels) in enumerate(steps, start=1):
        loss = nn.functional.cross_entropy(model(jitter(inputs)), labels, label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        if step % EVERY == 0 or step == len(steps):
            curve.append((step, accuracy(simulated(model, test.images), test)))
    exported = qsimc.torch.export(model, out)
    return Measured(setting.name, curve, accuracy(deployed(exported.model, test.images), test))


def shuffled(split: Split, epochs: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches of images and labels, each image once an epoch."""
    inputs, labels = torch.from_numpy(split.images), torch.from_numpy(split.labels)
    for _ in range(epochs):
        for chosen in torch.randperm(len(inputs)).split(BATCH_SIZE):
            yield inputs[chosen], labels[chosen]


def simulated(model: nn.Module, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what the module makes of images."""
    with torch.no_grad():
        logits: NDArray[np.float32] = model(torch.from_numpy(values)).numpy()
    return logits


def deployed(model: Path, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what onnxruntime makes of images, every node run as written.

    Its optimizer (1.31) rounds float biases to multiples of input scale times weight scale, which are coarse at a few
    bits, and lets MaxPool work on integers of 4 bits, for which it has none.
    """
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {INPUT: values})
    return np.asarray(logits)


def accuracy(logits: NDArray[np.float32], test: Split) -> float:
    """Return how many images in a hundred have their label's logit for the largest."""
    return 100.0 * float((logits.argmax(1) == test.labels).mean())


def show(console: Console, original: float, measured: Sequence[Measured]) -> None:
    """Print what training gives back."""
    title = f"Handwritten digits, 450 test images; float {original:.2f} %"
    table = Table("", "calibrated", "trained", "exported, in onnxruntime", title=title, title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    for one in measured:
        table.add_row(one.name, f"{one.calibrated:.2f} %", f"{one.trained:.2f} %", f"{one.deployed:.2f} %")
    console.print(table)


def main() -> int:
    console = Console()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    training, test = digits()
    original = accuracy(deployed(MODEL, test.images), test)
    measured = [train(setting, training, test, OUT / setting.name) for setting in SETTINGS]
    show(console, original, measured)
    curves = [Curve(one.name, one.curve) for one in measured]
    (OUT / "report.html").write_text(page(original, curves), encoding="utf-8", newline="\n")
    console.print(f"The curves of training: {OUT / 'report.html'}")
    if any(abs(one.trained - one.deployed) > ALLOWED_DIFFERENCE for one in measured):
        console.print(f"[red]an exported model differs by more than {ALLOWED_DIFFERENCE:g} points[/]")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
