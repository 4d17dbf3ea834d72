"""Say whether compressed-tensors takes configurations: `python -P compressed_tensors.py FILE...` beside the package.

Prints one line of JSON per file.  Each is validated, applied to a small model that has a layer of every class that the
package quantizes and one for each name that the file speaks of.
"""

from __future__ import annotations

import contextlib
import json
import sys
from typing import Any

with contextlib.redirect_stdout(sys.stderr):
    import torch
    from compressed_tensors.quantization import QuantizationConfig, apply_quantization_config

_SIZE = 256


def complaint(path: str) -> str:
    """Return what compressed-tensors says against a file, empty if it takes it."""
    try:
        with open(path, encoding="utf-8") as file:
            said = json.load(file)
        said = said.get("quantization_config", said)
        config = QuantizationConfig.model_validate(said)
        model = _model(said)
        apply_quantization_config(model, config)
        quantized = [name for name, module in model.named_modules() if hasattr(module, "quantization_scheme")]
        targets = [target for group in config.config_groups.values() for target in group.targets]
        if not quantized and not all(target.startswith("re:") for target in targets):
            return "no layer is quantized"
    except Exception as error:  # whatever it raises is its answer
        return f"{type(error).__name__}: {error}"
    return ""


def _model(said: dict[str, Any]) -> torch.nn.Module:
    """Return a model with a linear layer, an embedding, and linear layers of the names that a file speaks of."""
    model = torch.nn.Module()
    model.add_module("linear", torch.nn.Linear(_SIZE, _SIZE))
    model.add_module("embedding", torch.nn.Embedding(_SIZE, _SIZE))
    targets = [target for group in said["config_groups"].values() for target in group["targets"]]
    for target in (*targets, *(said.get("ignore") or ())):
        if target.startswith("re:") or target in ("Linear", "Embedding"):
            continue
        at = model
        *path, last = target.split(".")
        for part in path:
            if not hasattr(at, part):
                at.add_module(part, torch.nn.Module())
            at = getattr(at, part)
        if not hasattr(at, last):
            at.add_module(last, torch.nn.Linear(_SIZE, _SIZE))
    return model


for name in sys.argv[1:]:
    error = complaint(name)
    print(json.dumps({"file": name, "accepted": not error, "error": error}))
