"""Say of recipes whether LiteRT's AI-Edge-Quantizer takes them: `python litert.py FILE...` in an environment with it.

Prints one line of JSON per file.  A recipe is loaded and also asked for each operation that it has an entry for: one
that the quantizer would pass over in silence does not count as taken.
"""

from __future__ import annotations

import contextlib
import json
import sys
from typing import Any

with contextlib.redirect_stdout(sys.stderr):
    from ai_edge_quantizer import algorithm_manager, qtyping, recipe_manager


def complaint(path: str) -> str:
    """Return what the quantizer says against a file, empty if it takes it."""
    try:
        with open(path, encoding="utf-8") as file:
            recipe = json.load(file)
        manager = recipe_manager.RecipeManager()
        manager.load_quantization_recipe(recipe)
        return next((word for entry in manager.get_quantization_recipe() if (word := _passed_over(entry))), "")
    except Exception as error:  # whatever it raises is its answer
        return f"{type(error).__name__}: {error}"


def _passed_over(entry: dict[str, Any]) -> str:
    """Return what to say of an entry for all operations that holds for none."""
    if entry["operation"] != "*" or entry["algorithm_key"] == "no_quantize":
        return ""
    config = qtyping.OpQuantizationConfig.from_dict(entry["op_config"])
    for operation in algorithm_manager.get_supported_ops(entry["algorithm_key"]):
        with contextlib.suppress(ValueError):
            algorithm_manager.check_op_quantization_config(entry["algorithm_key"], operation, config)
            return ""
    return f"no operation takes the entry for {entry['regex']}"


def main(paths: list[str]) -> None:
    for path in paths:
        error = complaint(path)
        print(json.dumps({"file": path, "accepted": not error, "error": error}))


if __name__ == "__main__":
    main(sys.argv[1:])
