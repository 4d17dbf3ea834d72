"""Entry point: translate configurations to formats of other tools, and ask each tool whether it takes them.

    python tests/conformance/formats/run.py [FORMAT...]

Only the standard library is used here, so that any Python 3.11 or later can start it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

_CHECKOUT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(_CHECKOUT))

from tests.conformance.environment import environment  # noqa: E402

_HERE = Path(__file__).resolve().parent
_WORK = _CHECKOUT / ".conformance"
_TORCH = "torch==2.13.0"
_TRANSLATED = (0, 1)
"""Exit statuses of `qsimc translate`: 1 if something is wrong with the configuration as well."""


def main() -> int:
    """Print what each tool says; return 1 if it refuses a file, or if there is none to ask about."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    formats = sorted(path.stem.replace("_", "-") for path in _HERE.glob("*.txt"))
    parser.add_argument("formats", nargs="*", metavar="FORMAT", help=f"some of {', '.join(formats)}; all by default")
    options = parser.parse_args()
    if unknown := sorted(set(options.formats) - set(formats)):
        parser.error(f"no such format: {', '.join(unknown)}; formats: {', '.join(formats)}")
    refused = [row for name in options.formats or formats for row in _ask(name) if not _told(*row)]
    return int(bool(refused))


def _ask(name: str) -> Iterator[tuple[str, str, str]]:
    """Yield a format, a configuration and why it is not accepted, empty if it is."""
    written: dict[str, str] = {}
    suffix = _qsimc("-c", _SUFFIX, name).stdout.strip()
    for config in sorted((_HERE / "configs").glob("*.qsim")):
        target = _WORK / "formats" / name / f"{config.stem}{suffix}"
        if error := _translated(config, name, target):
            yield name, config.stem, error
        else:
            written[str(target)] = config.stem
    script = _HERE / f"{name.replace('-', '_')}.py"
    python = environment(_WORK / f"venv-{name}", steps(script.with_suffix(".txt")), ())
    # -P: a script has the name of its format, and often so has the package that it imports.
    command = [str(python), "-P", str(script), *written]
    answer = subprocess.run(command, cwd=_WORK, capture_output=True, text=True)
    verdicts = {row["file"]: row for row in map(_verdict, answer.stdout.splitlines()) if row}
    for file, stem in written.items():
        verdict = verdicts.get(file)
        if verdict is None:
            yield name, stem, f"no verdict, exit status {answer.returncode}: {answer.stderr[-300:]}"
        else:
            yield name, stem, "" if verdict["accepted"] else str(verdict["error"]) or "refused"


def _verdict(line: str) -> dict[str, object]:
    """Return a line of an answer; tools print lines of their own between."""
    try:
        row = json.loads(line)
    except json.JSONDecodeError:
        return {}
    return row if isinstance(row, dict) and {"file", "accepted", "error"} <= set(row) else {}


def _translated(config: Path, name: str, target: Path) -> str:
    """Translate a configuration; return why it cannot be, empty if it can."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    done = _qsimc("-m", "qsimc", "translate", str(config), "--to", name, "--output", str(target))
    if done.returncode in _TRANSLATED and target.is_file():
        return ""
    return f"not translated, exit status {done.returncode}: {done.stderr[-300:]}"


_SUFFIX = "import sys; from qsimc.formats import foreign; print(foreign.writer(sys.argv[1]).SUFFIX)"


def _qsimc(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python where qsimc is installed: the checkout's environment, if there is one."""
    own = _CHECKOUT / ".venv" / "bin" / "python"
    command = [str(own) if own.is_file() else sys.executable, *arguments]
    return subprocess.run(command, cwd=_CHECKOUT, capture_output=True, text=True)


def steps(requirements: Path) -> list[list[str]]:
    """Return what pip installs for a format: torch by itself if asked for, what has dependencies, what goes without."""
    first: list[list[str]] = []
    usual: list[str] = []
    bare: list[str] = []
    into = usual
    for line in map(str.strip, requirements.read_text(encoding="utf-8").splitlines()):
        if line == "# torch":
            first = [[_TORCH]]
        elif line == "# no-deps":
            into = bare
        elif line and not line.startswith("#"):
            into.append(line)
    # Named again, so that nothing that comes later brings another torch.
    usual += [_TORCH] if first and usual else []
    return [*first, *([usual] if usual else []), *([["--no-deps", *bare]] if bare else [])]


def _told(name: str, config: str, error: str) -> bool:
    print(f"{'refused ' if error else 'accepted'}  {name:<18} {config}", flush=True)
    if error:
        print("          " + " ".join(error.split()))
    return not error


if __name__ == "__main__":
    sys.exit(main())
