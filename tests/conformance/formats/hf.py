"""Say whether transformers takes configurations: `python -P hf.py FILE...` beside the package.

Prints one line of JSON per file, which holds a `quantization_config` or is one.
"""

from __future__ import annotations

import contextlib
import json
import sys

with contextlib.redirect_stdout(sys.stderr):
    from transformers.quantizers.auto import AutoQuantizationConfig


def complaint(path: str) -> str:
    """Return what transformers says against a file, empty if it takes it."""
    try:
        with open(path, encoding="utf-8") as file:
            said = json.load(file)
        AutoQuantizationConfig.from_dict(said.get("quantization_config", said))
    except Exception as error:  # whatever it raises is its answer
        return f"{type(error).__name__}: {error}"
    return ""


for name in sys.argv[1:]:
    error = complaint(name)
    print(json.dumps({"file": name, "accepted": not error, "error": error}))
