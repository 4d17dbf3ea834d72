"""Say whether torchao takes configurations: `python -P torchao.py FILE...` beside the package.

Prints one line of JSON per file.  Each is made a configuration, and put in text and back.  Those of integers of eight
bits and the weights alone of any width are also applied to a small model, which is run; others need an accelerator.
"""

from __future__ import annotations

import contextlib
import json
import sys

with contextlib.redirect_stdout(sys.stderr):
    import torch
    from torchao.core.config import AOBaseConfig, config_from_dict, config_to_dict
    from torchao.quantization import (
        FqnToConfig,
        Int8DynamicActivationInt8WeightConfig,
        Int8WeightOnlyConfig,
        IntxWeightOnlyConfig,
        quantize_,
    )

_SIZE = 256
_ANYWHERE = (Int8DynamicActivationInt8WeightConfig, Int8WeightOnlyConfig, IntxWeightOnlyConfig)


def complaint(path: str) -> str:
    """Return what torchao says against a file, empty if it takes it."""
    try:
        with open(path, encoding="utf-8") as file:
            config = config_from_dict(json.load(file))
        again = config_from_dict(config_to_dict(config))
        if again != config:
            return "it comes back otherwise"
        _apply(config)
    except Exception as error:  # whatever it raises is its answer
        return f"{type(error).__name__}: {error}"
    return ""


def _apply(config: AOBaseConfig) -> None:
    """Quantize a model of linear layers as a configuration says, and run it."""
    each = list(config.fqn_to_config.values()) if isinstance(config, FqnToConfig) else [config]
    if not all(one is None or isinstance(one, _ANYWHERE) for one in each):
        return
    model = torch.nn.Sequential(torch.nn.Linear(_SIZE, _SIZE), torch.nn.Linear(_SIZE, _SIZE)).to(torch.bfloat16)
    quantize_(model, config, filter_fn=None)
    model(torch.ones(2, _SIZE, dtype=torch.bfloat16))


for name in sys.argv[1:]:
    error = complaint(name)
    print(json.dumps({"file": name, "accepted": not error, "error": error}))
