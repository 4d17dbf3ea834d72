"""The benchmarks' own logic: ratios, tables, places in a document; never a time."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from bench import tables
from bench.tables import summary

BENCH = Path(__file__).resolve().parents[2] / "bench"


def run(plain: float, seconds: float, build: float = 0.5) -> dict[str, Any]:
    return {"plain": {"seconds": plain}, "seconds": seconds, "build": build, "samples": 8}


def test_a_ratio_is_of_the_two_runs_beside_each_other() -> None:
    # The machine became twice as slow after the first round; nothing of that is in the ratio.
    found = summary([run(1.0, 3.0), run(2.0, 6.0), run(2.0, 8.0)])
    assert (found["ratio"], found["fastest"], found["slowest"]) == (3.0, 3.0, 4.0)
    assert (found["plain"], found["build"], found["samples"]) == (2.0, 0.5, 8)


def test_one_failed_run_is_a_failure() -> None:
    assert summary([run(1.0, 3.0), {"plain": {"seconds": 1.0}, "error": "no memory"}]) == {"error": "no memory"}
    assert summary([{**run(1.0, 3.0), "plain": {"error": "gone"}}]) == {"error": "gone"}


@pytest.mark.parametrize(
    ("value", "cell"),
    [(None, "-"), (3, "3"), (0.012345, "0.0123"), (12.345, "12.3"), (1234.5, "1234"), ("a|b", "a\\|b")],
)
def test_a_cell(value: object, cell: str) -> None:
    assert tables.shown(value) == cell


def test_a_table_has_a_column_for_every_key() -> None:
    assert tables.table([{"a": 1}, {"a": 2, "b": 0.5}]) == "| a | b |\n| --- | --- |\n| 1 | - |\n| 2 | 0.5 |"


def test_several_tables_have_names() -> None:
    assert tables.several({"a": [{"x": 1}], "b": []}) == "a:\n\n| x |\n| --- |\n| 1 |\n\nb:\n\n|  |\n|  |"


def test_a_pivot_has_a_column_for_every_value() -> None:
    rows: list[dict[str, Any]] = [
        {"tool": "x", "model": "m", "ratio": 2.0, "fastest": 1.5, "slowest": 3.0},
        {"tool": "x", "model": "n", "error": "no"},
        {"tool": "y", "model": "n", "ratio": 4.0, "fastest": 4.0, "slowest": 4.0},
    ]
    assert tables.pivot(rows, ("tool",), "model", tables.ratio) == (
        "| tool | m | n |\n| --- | --- | --- |\n| x | 2.00 (1.50 to 3.00) | fails |\n| y | - | 4.00 (4.00 to 4.00) |"
    )


def test_content_goes_between_its_markers() -> None:
    document = "a\n<!-- bench:x -->\nold\n<!-- /bench:x -->\nb\n<!-- bench:y -->\n<!-- /bench:y -->\n"
    once = tables.put(document, "x", "new")
    assert once == document.replace("old", "new")
    assert tables.put(once, "x", "new") == once
    assert tables.put(document, "y", "z").endswith("<!-- bench:y -->\nz\n<!-- /bench:y -->\n")
    with pytest.raises(ValueError, match="bench:z"):
        tables.put(document, "z", "")


def test_every_section_has_its_script_and_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCH))  # its scripts import each other by their own names
    page = (BENCH / "README.md").read_text(encoding="utf-8")
    for name, section in import_module("run").SECTIONS.items():
        assert (BENCH / section.script).is_file(), name
        tables.put(page, name, "")
