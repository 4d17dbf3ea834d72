"""Run the cases, print a table, write .conformance/results.json."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.conformance.row import Row

_HERE = Path(__file__).parent
_CHECKOUT = _HERE.parents[1]
CASES = tuple(sorted(path.stem for path in (_HERE / "cases").glob("*.py")))


def main() -> int:
    """Return 0 when every case passed, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="make conformance", description="Quantize real, trained models.")
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"which to run: {', '.join(CASES)} (default: all)")
    parser.add_argument("--root", type=Path, default=_CHECKOUT / ".conformance", help="folder for all files")
    arguments = parser.parse_args()
    if unknown := sorted(set(arguments.cases) - set(CASES)):
        parser.error(f"no such case: {', '.join(unknown)}")
    console = Console(width=None if sys.stdout.isatty() else 120)
    rows = []
    for name in arguments.cases or CASES:
        console.print(f"running {name}", style="dim")
        rows.append(_run(name, arguments.root))
    console.print(_table(rows))
    for row in rows:
        for failure in row.failures:
            console.print(f"{row.case}: {failure}", style="red", markup=False)
    text = json.dumps([asdict(row) for row in rows], indent=2)
    (arguments.root / "results.json").write_text(text + "\n", encoding="utf-8")
    return int(any(row.failures for row in rows))


def _run(name: str, root: Path) -> Row:
    """Run one case in its own process; a case that dies is a row with one failure."""
    root.mkdir(parents=True, exist_ok=True)
    result = root / f"{name}.row.json"
    command = [sys.executable, "-W", "ignore", "-m", "tests.conformance.single", name, str(root), str(result)]
    done = subprocess.run(command, cwd=_CHECKOUT, capture_output=True, text=True)
    if done.returncode:
        failure = f"exit status {done.returncode}\n{done.stderr.strip()}"
        return Row(case=name, title=name, metric="", failures=[failure])
    row = Row.read(result)
    result.unlink()
    return row


def _table(rows: Sequence[Row]) -> Table:
    table = Table(title="aimet:default, weights int8, min-max", show_lines=True)
    for heading in ("case", "metric", "act"):
        table.add_column(heading)
    for heading in ("float", "QDQ", "MB", "SQNR, dB", "= sim", "seconds", "verdict"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.caption = (
        "MB: float, QDQ. SQNR: of the worst output. = sim: bit for bit what the simulation computes.\n"
        "Seconds: a plain float pass over the calibration data, qsimc quantize."
    )
    for row in rows:
        table.add_row(*_cells(row))
    return table


def _cells(row: Row) -> tuple[str, ...]:
    ratios = [float(output["sqnr_float_qdq"]) for output in row.outputs if output["sqnr_float_qdq"] is not None]
    return (
        f"{row.case}\n{row.title}",
        row.metric,
        row.activations,
        _number(row.float_metric, "{:.4f}"),
        _number(row.qdq_metric, "{:.4f}"),
        f"{_number(row.float_bytes, '{:.1f}', 1e-6)}\n{_number(row.qdq_bytes, '{:.1f}', 1e-6)}",
        _number(min(ratios, default=None), "{:.1f}"),
        {None: "-", True: "yes", False: "no"}[row.qdq_equals_simulation],
        f"{_number(row.float_pass_seconds, '{:.1f}')}\n{_number(row.quantize_seconds, '{:.1f}')}",
        "[red]failed[/red]" if row.failures else "[green]passed[/green]",
    )


def _number(value: float | None, shape: str, unit: float = 1.0) -> str:
    return "-" if value is None else shape.format(value * unit)


if __name__ == "__main__":
    sys.exit(main())
