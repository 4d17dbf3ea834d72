"""Generate the PyTorch module of every model, run both, print a table."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.conformance.modules.compare import compare
from tests.conformance.modules.models import CASES, Subject, case, recorded, subject
from tests.conformance.modules.row import Row

_CHECKOUT = Path(__file__).parents[3]


def main() -> int:
    """Return 0 when every module agrees with its model, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="tests/conformance/modules/run.py", description=__doc__)
    parser.add_argument("models", nargs="*", metavar="MODEL", help="a case, or part of a path (default: all)")
    parser.add_argument("--root", type=Path, default=_CHECKOUT / ".conformance", help="folder for all files")
    arguments = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 180)
    rows = []
    for found in _subjects(arguments.models, arguments.root):
        console.print(f"running {found.model.stem}", style="dim")
        rows.append(compare(found.model, found.batches, found.activations))
    console.print(_table(rows))
    for row in rows:
        for failure in row.failures:
            console.print(f"{row.model}: {failure}", style="red", markup=False)
    return int(any(row.failures for row in rows) or not rows)


def _subjects(wanted: Sequence[str], root: Path) -> Iterator[Subject]:
    for name in CASES:
        if name in wanted or not wanted:
            yield case(name, root)
    for path in recorded():
        if not wanted or any(word in str(path) for word in wanted if word not in CASES):
            yield subject(path)


def _table(rows: Sequence[Row]) -> Table:
    table = Table(title="generated modules, aimet:default, weights int8, min-max")
    table.add_column("model")
    floats, values = ("node", "float", "own", "ort's"), ("values", "off", "most", "over", "worst", "own", "ort's")
    for heading in ("nodes", "lines", *floats, *values, "outputs", "off", "worst", "verdict"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.caption = (
        "Lines: in `forward`.  Node: largest relative error of a node that is fed what onnxruntime made.  Float: of\n"
        "outputs, when each program runs alone; own, ort's: of both, off what float64 makes of them.  Values: what\n"
        "quantizers put out, each fed what the ONNX simulation made; off: by a step; most: share in one tensor; over:\n"
        "tensors with more than 0.1 %; worst: in steps; own, ort's: off what float64 makes of the same.\n"
        "Outputs: the quantized ones, when both simulations run alone."
    )
    for row in rows:
        table.add_row(*_cells(row))
    return table


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.model,
        str(row.nodes),
        str(row.lines),
        f"{row.operator_error:.1e}",
        f"{row.float_error:.1e}",
        f"{row.module_error:.1e}",
        f"{row.runtime_error:.1e}",
        str(row.values),
        _share(row.apart, row.values),
        f"{row.worst_share:.2%}" if row.worst_share else "0",
        str(len(row.over)),
        str(row.worst),
        _share(row.module_apart, row.values),
        _share(row.runtime_apart, row.values),
        str(row.outputs),
        _share(row.outputs_apart, row.outputs),
        str(row.outputs_worst),
        "[red]failed[/red]" if row.failures else "[green]passed[/green]",
    )


def _share(part: int, whole: int) -> str:
    return "-" if whole == 0 else "0" if part == 0 else f"{part / whole:.4%}"


if __name__ == "__main__":
    sys.exit(main())
