"""The configurations in README.md are real: they read without a finding and say what the vendors' files say."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

from qsimc import formats
from qsimc.diagnostics import Diagnostic
from qsimc.formats import keyed_writer
from qsimc.formats.fmt import fmt
from qsimc.ir.loss import Loss
from qsimc.pipeline.check import check
from qsimc.source import Source
from qsimc.spec import keymap
from qsimc.spec.fields import vocabulary

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
THE_LANGUAGE = README.partition("\n## The language\n")[2].partition("\n## ")[0]
PROGRAMS = re.findall(r"^```qsim\n(.*?)^```$", THE_LANGUAGE, re.M | re.S)

VENDORS_FILES = {
    "aimet": "configs/aimet/wheel-2.42/htp_quantsim_config_v73.json",
    "vitis": "configs/vitis/vai_q_pytorch/pytorch_quantize_config.json",
}
"""The files that the programs say again; they are compared where they lie beside the checkout."""

DIGESTS = {
    "aimet": "b5fc54e40033bd91a9414d18fb476871caa731e88b5238fae19414649551de5e",
    "vitis": "55918e0179fbcadec68f994ba3c2510905bd40b54af04ecf6177096b6ed3d4f8",
}
"""SHA-256 of each file's JSON with sorted keys."""


def as_json(text: str) -> tuple[str, object]:
    found: list[Diagnostic] = []
    config = formats.written(Source("README.md", text), found.append, "qsim")
    assert config is not None
    assert not found
    losses: list[Loss] = []
    text = keyed_writer.write(keymap.load(config.dialect), config, losses.append)
    assert not losses
    return config.dialect, json.loads(text)


def test_there_is_a_program_for_each_vendor() -> None:
    assert [as_json(text)[0] for text in PROGRAMS] == ["aimet", "vitis"]


@pytest.mark.parametrize("text", PROGRAMS)
def test_a_program_says_what_the_vendor_s_file_says(text: str) -> None:
    dialect, document = as_json(text)
    canonical = json.dumps(document, sort_keys=True)
    file = ROOT.parent / "shared" / VENDORS_FILES[dialect]
    if file.is_file():
        assert document == json.loads(file.read_text(encoding="utf-8"))
    assert hashlib.sha256(canonical.encode()).hexdigest() == DIGESTS[dialect]


LANGUAGE = (ROOT / "grammar" / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("text", re.findall(r"^```qsim\n(.*?)^```$", LANGUAGE, re.M | re.S))
def test_the_language_s_example_has_no_finding_and_is_laid_out(text: str, tmp_path: Path) -> None:
    path = tmp_path / "everything.qsim"
    path.write_text(text, encoding="utf-8")
    assert check(path) == []
    assert fmt(Source(str(path), text), print) == text


def test_the_language_s_page_names_every_setting() -> None:
    assert [word for word in vocabulary().words if f"{word}" not in LANGUAGE] == []
