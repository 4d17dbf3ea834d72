"""Say of each file whether ModelOpt loads it, and quantizes a small model with it: one line of JSON per file.

python modelopt.py FILE...
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import warnings
from pathlib import Path

# Beside this file lie others with the names of vendors' packages.
sys.path[:] = [folder for folder in sys.path if Path(folder).resolve() != Path(__file__).resolve().parent]

import modelopt.torch.quantization as mtq  # noqa: E402
import torch  # noqa: E402
from modelopt.recipe import load_recipe  # noqa: E402
from modelopt.torch.quantization.config import QuantizeConfig  # noqa: E402

SHAPE = (2, 3, 8, 8)


class Net(torch.nn.Module):
    """A convolution and its transpose, norms, activations, a pool, an embedding, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 16, 3, padding=1)
        self.norm = torch.nn.BatchNorm2d(16)
        self.leaky = torch.nn.LeakyReLU()
        self.up = torch.nn.ConvTranspose2d(16, 16, 2)
        self.pool = torch.nn.AdaptiveAvgPool2d(1)
        self.fc = torch.nn.Linear(16, 16)
        self.layer_norm = torch.nn.LayerNorm(16)
        self.embedding = torch.nn.Embedding(4, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.up(self.leaky(self.norm(torch.relu(self.conv(x)))))
        y = self.layer_norm(self.fc(self.pool(y).flatten(1)))
        return torch.softmax(y + self.embedding(torch.zeros(len(y), dtype=torch.long)), 1)


def accept(file: str) -> None:
    """Load and use a file.

    Raises:
        Exception: ModelOpt does not take it.
    """
    recipe = load_recipe(Path(file).resolve())
    config = recipe.quantize.model_dump(exclude_unset=True)
    QuantizeConfig.model_validate(config)
    samples = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    found = mtq.quantize(Net().eval(), config, lambda model: model(samples))
    if not torch.isfinite(found(samples)).all():
        raise ValueError("the quantized model computes no finite numbers")


def main() -> None:
    warnings.simplefilter("ignore")
    for file in sys.argv[1:]:
        error = ""
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                accept(file)
        except Exception as problem:
            error = f"{type(problem).__name__}: {problem}"
        print(json.dumps({"file": file, "accepted": not error, "error": error[:2000]}))


main()
