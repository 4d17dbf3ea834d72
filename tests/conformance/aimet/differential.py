"""Random configs on random models: qsimc's plan in vendor mode against the plan that aimet_onnx itself makes.

    python -m tests.conformance.aimet.differential [--pairs N] [--seed S] [--aimet PYTHON]

The exit status is 1 when the two differ anywhere.  Each kind of difference is reported once, by the smallest pair
that shows it.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.conformance.aimet.client import CRASHED, Aimet, Answer, Pair
from tests.conformance.aimet.compare import differences, outcome
from tests.conformance.aimet.configs import configs, precisions
from tests.conformance.aimet.models import models

_CHECKOUT = Path(__file__).resolve().parents[3]
_FOUND = _CHECKOUT / ".conformance" / "aimet"
_KNOWN_PLANS = _CHECKOUT / "tests" / "data" / "aimet_plans"
_KNOWN_PRECISIONS = {
    "w8a8": ("int8", "int8"),
    "w8a16": ("int8", "int16"),
    "w4a16": ("int4", "int16"),
    "fp16": ("float16", "float16"),
}


class DiffersError(AssertionError):
    """qsimc and AIMET give two answers to `pair`."""

    def __init__(self, pair: Pair, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.pair = pair
        self.lines = lines


@dataclass
class Run:
    """One run: how many pairs AIMET answered how, and the kinds of difference found so far."""

    aimet: Aimet
    answers: Counter[str] = field(default_factory=Counter)
    kinds: set[str] = field(default_factory=set)

    def search(self, pairs: int, start: int) -> None:
        """Try pairs until one differs in a way not seen before, and make that one small.

        Raises:
            DiffersError: with the small pair.
        """
        left = pairs

        @seed(start)
        @settings(
            max_examples=pairs,
            database=None,
            deadline=None,
            print_blob=True,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        )
        @given(_pairs())
        def agrees(pair: Pair) -> None:
            nonlocal left
            answer = self.aimet.ask(pair)
            if left > 0:  # what comes after a difference makes it smaller
                self.answers[_summary(answer)] += 1
                left -= 1
            lines = [line for line in differences(outcome(pair), answer) if kind(line) not in self.kinds]
            if lines:
                left = 0
                raise DiffersError(pair, lines)

        agrees()


@st.composite
def _pairs(draw: st.DrawFn) -> Pair:
    drawn = draw(models())
    config = draw(configs(drawn))
    param, act = draw(precisions())
    return Pair(json.dumps(config, indent=1), drawn.model.SerializeToString(), param, act)


def kind(line: str) -> str:
    """Return a difference without the names and numbers of its pair."""
    return re.sub(r"`[^`]*`|'[^']*'|\[.*\]|\b[a-z]+\d+\b|\d+", "_", line.split("\n")[0])[:120]


def _summary(answer: Answer) -> str:
    return answer.error or "plan"


def known_plans_again(aimet: Aimet) -> list[str]:
    """Return where AIMET, asked through the worker, does not give the plans it gave before: the reader is wrong."""
    wrong: list[str] = []
    for path in sorted(_KNOWN_PLANS.glob("*.json")):
        known = json.loads(path.read_text(encoding="utf-8"))
        model = path.with_suffix(".onnx").read_bytes()
        for name, expected in known["cases"].items():
            config, _, precision = name.partition("|")
            text = (_KNOWN_PLANS / "configs" / f"{config}.json").read_text(encoding="utf-8")
            answer = aimet.ask(Pair(text, model, *_KNOWN_PRECISIONS[precision]))
            if "error" in expected:
                same = expected == {"error": answer.error, "message": answer.message}
            else:
                same = _without_groups(answer.plan) == _without_groups(expected)
            if not same:
                wrong.append(f"{path.stem}, {name}")
    return wrong


def _without_groups(plan: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    """Return rows without the last column, whose numbers are arbitrary."""
    return {tensor: list(row[:-1]) for tensor, row in plan.items()}


def _report(number: int, found: DiffersError) -> None:
    """Print a difference and keep its pair in files."""
    model = onnx.load_model_from_string(found.pair.model)
    shown = onnx.printer.to_text(model)
    folder = _FOUND / f"{number:02}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(found.pair.config + "\n", encoding="utf-8")
    (folder / "model.onnx").write_bytes(found.pair.model)
    (folder / "model.txt").write_text(shown + "\n", encoding="utf-8")
    (folder / "difference.txt").write_text(
        f"param {found.pair.param}, act {found.pair.act}\n{found}\n", encoding="utf-8"
    )
    print(f"\n── difference {number}, kept in {folder.relative_to(_CHECKOUT)} ──")
    print(f"param {found.pair.param}, act {found.pair.act}\n{found}\n{found.pair.config}\n{shown}")
    for note in getattr(found, "__notes__", ()):
        print(note)


def main() -> int:
    """Run as the command line says; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--aimet", default=sys.executable, metavar="PYTHON", help="the Python that has aimet-onnx")
    options = parser.parse_args()
    with Aimet(options.aimet) as aimet:
        if wrong := known_plans_again(aimet):
            print("the reader of AIMET's plans is wrong, or this is another AIMET:", *wrong, sep="\n  ")
            return 1
        run = Run(aimet)
        while (left := options.pairs - run.answers.total()) > 0:
            try:
                run.search(left, options.seed + len(run.kinds))
            except DiffersError as found:
                run.kinds.update(map(kind, found.lines))
                _report(len(run.kinds), found)
    answers = ", ".join(f"{count} {what}" for what, count in run.answers.most_common())
    print(f"{run.answers.total()} pairs, seed {options.seed}: {answers}; {len(run.kinds)} kinds of difference")
    return 1 if run.kinds or run.answers[CRASHED] else 0


if __name__ == "__main__":
    sys.exit(main())
