"""The files that put qsimc into a CI service: they parse, and every command line in them is one that qsimc knows."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from string import Template
from typing import Any

import click
import pytest
import yaml

from qsimc.cli import qsimc_command
from qsimc.render import RENDERERS

ROOT = Path(__file__).resolve().parents[2]
HOOKS, ACTION, GITLAB = ".pre-commit-hooks.yaml", "action.yml", "ci/gitlab.yml"
SAMPLES = {
    "FILES": "a.json configs/b.json",
    "OPTIONS": "--target vitis-dpu",
    "FAIL_ON": "error",
    "OUTPUT": "qsimc.sarif",
    "QSIMC_FILES": "a.json",
    "QSIMC_FAIL_ON": "warning",
}
"""What the variables of the command lines may hold."""


def parsed(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def command_lines() -> Iterator[str]:
    for hook in parsed(HOOKS):
        yield f"{hook['entry']} a.json b.qsim"
    for step in parsed(ACTION)["runs"]["steps"]:
        yield from step.get("run", "").splitlines()
    yield from parsed(GITLAB)["qsimc-check"]["script"]
    yield from re.findall(r"`(qsimc [^`]+)`", readme_section())


def readme_section() -> str:
    """Return what README says about CI."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return text.split("\n## In CI\n")[1].split("\n## ")[0].strip()


def shown_in_readme() -> dict[str, Any]:
    """Return README's example, one top-level key per service."""
    (block,) = re.findall(r"^```yaml\n(.*?)^```", readme_section(), re.M | re.S)
    document: dict[str, Any] = yaml.safe_load(block)
    return document


def options_of(line: str) -> dict[str, Any]:
    """Return what a command line says to its command; it is not run.

    Raises:
        click.ClickException: qsimc does not know it.
    """
    program, name, *arguments = shlex.split(Template(line).substitute(SAMPLES))
    assert program == "qsimc"
    command = qsimc_command.get_command(click.Context(qsimc_command), name)
    assert command is not None, f"qsimc has no command `{name}`"
    return dict(command.make_context(name, arguments).params)


OURS = [line for line in command_lines() if line.startswith("qsimc ")]


@pytest.mark.parametrize("line", OURS)
def test_every_command_line_is_known(line: str) -> None:
    assert options_of(line)


def test_every_file_has_a_command_line() -> None:
    assert len(OURS) >= 3


def test_an_option_that_does_not_exist_would_be_found() -> None:
    with pytest.raises(click.NoSuchOption):
        options_of("qsimc check --strict $FILES")


@pytest.mark.parametrize(("wanted", "name"), [("sarif", ACTION), ("gitlab", GITLAB)])
def test_a_service_gets_its_own_format(wanted: str, name: str) -> None:
    assert wanted in RENDERERS
    assert f"--format {wanted} " in (ROOT / name).read_text(encoding="utf-8")


def test_the_hook_is_given_configurations() -> None:
    (hook,) = parsed(HOOKS)
    assert hook["id"] == "qsimc-check"
    assert hook["pass_filenames"] is True
    matched = [name for name in ("c.json", "t.qsim", "c.jsonl", "m.onnx") if re.search(hook["files"], name)]
    assert matched == ["c.json", "t.qsim"]


def test_the_action_uses_the_inputs_it_declares_and_no_others() -> None:
    text = (ROOT / ACTION).read_text(encoding="utf-8")
    assert set(re.findall(r"inputs\.([\w-]+)", text)) == set(parsed(ACTION)["inputs"])


def test_no_input_of_the_action_becomes_program_text() -> None:
    steps = parsed(ACTION)["runs"]["steps"]
    assert not [step for step in steps if "${{" in step.get("run", "")]


def test_the_action_uploads_what_check_writes() -> None:
    action = parsed(ACTION)
    (checks,) = [step for step in action["runs"]["steps"] if step.get("run", "").startswith("qsimc ")]
    (uploads,) = [step for step in action["runs"]["steps"] if "upload-sarif" in step.get("uses", "")]
    assert checks["env"]["OUTPUT"] == uploads["with"]["sarif_file"]
    # Findings end the step before with 1, and are what there is to upload.
    assert "!cancelled()" in uploads["if"]


def test_gitlab_takes_the_report_that_check_writes_although_it_fails() -> None:
    job = parsed(GITLAB)["qsimc-check"]
    (line,) = job["script"]
    assert job["artifacts"]["reports"]["codequality"] == options_of(line)["output"]
    assert job["artifacts"]["when"] == "always"


def test_the_readme_shows_all_three_briefly() -> None:
    shown = shown_in_readme()
    assert shown["repos"][0]["hooks"][0]["id"] == parsed(HOOKS)[0]["id"]
    assert set(shown["steps"][0]["with"]) <= set(parsed(ACTION)["inputs"])
    assert shown["include"][0]["file"] == GITLAB
    assert len(readme_section().splitlines()) <= 15
