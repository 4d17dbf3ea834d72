"""Say whether Quark takes configurations for PyTorch: it loads each, quantizes a small model with it, and runs it.

    python -P quark.py FILE...            # -P: this file has the name of what it imports

The model has a layer of every class that Quark quantizes, and one for each name that the file speaks of.
"""

from __future__ import annotations

import json
import math
import re
import sys
from pathlib import Path
from typing import Any

import torch
from quark.torch import ModelQuantizer
from quark.torch.quantization.config.config import QConfig
from torch import nn

_LEAST_CHANNELS = 8
_SIZE = 8
_BATCHES = 3


class Net(nn.Module):
    """A convolution, its transpose and linear layers, of which those by name hang in modules of their own."""

    def __init__(self, channels: int, names: list[str]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3)
        self.relu = nn.ReLU()
        self.up = nn.ConvTranspose2d(channels, channels, 2)
        self.linear = nn.Linear(channels, channels)
        self.paths = names
        for name in names:
            self._hang(name.split("."), nn.Linear(channels, channels))

    def _hang(self, parts: list[str], layer: nn.Module) -> None:
        parent: nn.Module = self
        for part in parts[:-1]:
            if not hasattr(parent, part):
                parent.add_module(part, nn.Module())
            parent = getattr(parent, part)
        parent.add_module(parts[-1], layer)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.linear(self.up(self.relu(self.conv(x))).mean((2, 3)))
        for path in self.paths:
            x = self.get_submodule(path)(x)
        return x


def main() -> None:
    """Print a line of JSON for each file."""
    for path in sys.argv[1:]:
        try:
            _quantize(json.loads(Path(path).read_text(encoding="utf-8")))
        except Exception as error:  # whatever the vendor's code raises is its verdict
            print(json.dumps({"file": path, "accepted": False, "error": f"{type(error).__name__}: {error}"[:500]}))
        else:
            print(json.dumps({"file": path, "accepted": True, "error": ""}))


def _quantize(document: dict[str, Any]) -> None:
    config = QConfig.from_dict(document)
    torch.manual_seed(0)
    channels = math.lcm(_LEAST_CHANNELS, *_groups(document))
    net = Net(channels, _names(document)).eval()
    data = [torch.randn(2, channels, _SIZE, _SIZE) for _ in range(_BATCHES)]
    quantized = ModelQuantizer(config).quantize_model(net, data)
    quantized = ModelQuantizer.freeze(quantized)
    with torch.no_grad():
        assert torch.isfinite(quantized(data[0])).all(), "the quantized model does not give numbers"


def _groups(value: Any) -> list[int]:
    """Return the sizes of groups that a file speaks of, which channels must be a multiple of."""
    if isinstance(value, dict):
        own = [value["group_size"]] if isinstance(value.get("group_size"), int) and value["group_size"] > 0 else []
        return own + [size for inner in value.values() for size in _groups(inner)]
    return [size for inner in value for size in _groups(inner)] if isinstance(value, list) else []


def _names(document: dict[str, Any]) -> list[str]:
    """Return a name that fits each pattern of a file, as far as a name of a module can."""
    patterns = [*document["layer_quant_config"], *document["exclude"]]
    names = [re.sub(r"[^\w.]", "x", pattern).strip(".") for pattern in patterns]
    taken = {"conv", "relu", "up", "linear", "paths"}
    return [name for name in dict.fromkeys(names) if name and ".." not in name and name.split(".")[0] not in taken]


if __name__ == "__main__":
    main()
