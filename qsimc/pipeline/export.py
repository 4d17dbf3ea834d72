"""A result in another form: QDQ ONNX again, or a vendor's encodings file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from shutil import copyfile

from qsimc.diagnostics import Diagnostic, InputError
from qsimc.encodings.aimet import VERSIONS, aimet_document
from qsimc.outputs import safe_name, staged
from qsimc.pipeline.quantize import BIAS_CORRECTIONS, QUANT_INFO
from qsimc.pipeline.results import Saved, no_result, saved

QDQ = "qdq"
VITIS = "vitis"
FORMS = (QDQ, *(f"aimet-{version}" for version in VERSIONS), VITIS)
"""What `qsimc export --to` takes."""


def export(
    folder: Path, to: str, *, model: str | None = None, out: Path | None = None
) -> tuple[Sequence[Path], Sequence[Diagnostic]]:
    """Write one form of a result, into its own folder unless another is named; return the files and findings.

    Raises:
        InputError: the folder holds no result, or the model is gone or has changed.
        LookupError: no such form; the message names those there are.
    """
    if to not in FORMS:
        raise LookupError(f"cannot export to `{to}`; forms: {', '.join(FORMS)}")
    target = out or folder
    with saved(folder, model) as result:
        findings = list(result.findings)
        with staged(target) as stage:
            if to == QDQ:
                result.backend.export(result.model, result.plan, result.encodings, stage, findings.append)
            elif to == VITIS:
                _copy_vitis(folder, stage)
            else:
                _write_aimet(stage, result, to.removeprefix("aimet-"))
            names = sorted(path.relative_to(stage) for path in stage.rglob("*") if path.is_file())
    return [target / name for name in names], findings


def _copy_vitis(folder: Path, stage: Path) -> None:
    """Copy the files of vai_q_pytorch, which need what only calibration knew and were written by it.

    Raises:
        InputError: the result is of a configuration of another dialect.
    """
    if not (folder / QUANT_INFO).is_file():
        raise InputError([no_result(folder, f"it has no `{QUANT_INFO}`, its configuration not being Vitis AI's")])
    for name in (QUANT_INFO, BIAS_CORRECTIONS):
        if (folder / name).is_file():
            copyfile(folder / name, stage / name)


def _write_aimet(stage: Path, result: Saved, version: str) -> None:
    stem = safe_name(result.original.stem)
    document = aimet_document(result.plan, result.encodings, version, constant=result.model.constant)
    (stage / f"{stem}.{version}.encodings").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
