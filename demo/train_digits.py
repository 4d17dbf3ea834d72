"""Train the demo's classifier and write every data file of the demo: `python demo/train_digits.py`.

The data are scikit-learn's handwritten digits (1797 grey images of 8x8 pixels).  Everything is seeded and
runs on one CPU thread, so that the same libraries on the same machine write the same bytes.  Needs torch,
onnx, onnxscript and scikit-learn; running the demo (run.py) needs only what this script wrote.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

HERE = Path(__file__).parent
SEED = 7
EPOCHS = 40
TEST_IMAGES = 450
CALIBRATION_IMAGES = 256
REQUIRED_ACCURACY = 0.98


@dataclass(frozen=True)
class Split:
    """Images float32 (N, 1, 8, 8) in [0, 1] and labels int64 (N,)."""

    images: NDArray[np.float32]
    labels: NDArray[np.int64]


class Residual(nn.Module):
    """A depthwise-separable block: x + pointwise(relu(depthwise(x))), then relu.

    Depthwise weights have one filter per channel, so their ranges differ much between channels: the case
    that per-channel quantization is for.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, kernel_size=3, padding=1, groups=channels)
        self.pointwise = nn.Conv2d(channels, channels, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.pointwise(torch.relu(self.depthwise(x))))


class Digits(nn.Module):
    """8x8 image -> 10 logits: a stem, two residual blocks with a pooling between, two linear layers."""

    def __init__(self, channels: int = 48, hidden: int = 96) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, channels, kernel_size=3, padding=1)
        self.block1 = Residual(channels)
        self.block2 = Residual(channels)
        self.pool = nn.MaxPool2d(2)
        self.hidden = nn.Linear(channels * 4, hidden)
        self.classify = nn.Linear(hidden, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        x = self.pool(self.block1(x))
        x = self.pool(self.block2(x))
        x = torch.relu(self.hidden(torch.flatten(x, 1)))
        logits: Tensor = self.classify(x)
        return logits


def digits() -> tuple[Split, Split]:
    """Return the training and the test images: disjoint, every digit equally represented in both."""
    raw = load_digits()
    images = (raw.images / 16.0).astype(np.float32)[:, None]
    labels = raw.target.astype(np.int64)
    train_x, test_x, train_y, test_y = train_test_split(
        images, labels, test_size=TEST_IMAGES, stratify=labels, random_state=SEED
    )
    return Split(train_x, train_y), Split(test_x, test_y)


def jitter(images: Tensor) -> Tensor:
    """Return a batch moved by up to one pixel each way, so that few images teach enough."""
    row, column = torch.randint(0, 3, (2,)).tolist()
    padded = nn.functional.pad(images, (1, 1, 1, 1))
    return padded[..., row : row + 8, column : column + 8]


def train(split: Split) -> Digits:
    """Return a classifier trained from scratch, in eval mode."""
    torch.manual_seed(SEED)
    model = Digits()
    data = TensorDataset(torch.from_numpy(split.images), torch.from_numpy(split.labels))
    batches = DataLoader(data, batch_size=64, shuffle=True)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=8e-3, total_steps=EPOCHS * len(batches))
    for _ in range(EPOCHS):
        for images, labels in batches:
            loss = nn.functional.cross_entropy(model(jitter(images)), labels, label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return model.eval()


def accuracy(model: Digits, split: Split) -> float:
    """Return the share of images whose largest logit is that of their label."""
    with torch.no_grad():
        logits = model(torch.from_numpy(split.images))
    return float((logits.argmax(1).numpy() == split.labels).mean())


def without_traces(model: onnx.ModelProto) -> onnx.ModelProto:
    """Remove the exporter's stack traces and module paths: they name the folders of the machine that trained."""

    def clear(message: Any) -> None:
        del message.metadata_props[:]
        message.doc_string = ""

    clear(model)
    clear(model.graph)
    for part in (model.graph.node, model.graph.input, model.graph.output, model.graph.value_info):
        for message in part:
            clear(message)
    for initializer in model.graph.initializer:
        clear(initializer)
    return model


def export(model: Digits, path: Path) -> None:
    """Write the model as one ONNX file with a dynamic batch and the parameters' own names."""
    program = torch.onnx.export(
        model,
        (torch.zeros(2, 1, 8, 8),),
        dynamo=True,
        input_names=["image"],
        output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        opset_version=18,
        verbose=False,
    )
    assert program is not None
    onnx.save(without_traces(program.model_proto), path)


def main() -> int:
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    training, test = digits()
    model = train(training)
    reached = accuracy(model, test)
    print(f"float accuracy: {reached:.2%} on {len(test.labels)} test images")
    if reached < REQUIRED_ACCURACY:
        print(f"expected at least {REQUIRED_ACCURACY:.0%}; nothing was written", file=sys.stderr)
        return 1
    export(model, HERE / "digits.onnx")
    np.savez_compressed(HERE / "digits_calibration.npz", image=training.images[:CALIBRATION_IMAGES])
    np.savez_compressed(HERE / "digits_test.npz", image=test.images)
    np.save(HERE / "digits_test_labels.npy", test.labels.astype(np.uint8))
    return 0


if __name__ == "__main__":
    sys.exit(main())
