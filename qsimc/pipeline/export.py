"""A result in another form: QDQ ONNX again, or a vendor's encodings file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from qsimc.diagnostics import Diagnostic
from qsimc.encodings.aimet import VERSIONS, aimet_document
from qsimc.outputs import safe_name, staged
from qsimc.pipeline.results import Saved, saved

QDQ = "qdq"
FORMS = (QDQ, *(f"aimet-{version}" for version in VERSIONS))
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
            else:
                _write_aimet(stage, result, to.removeprefix("aimet-"))
            names = sorted(path.relative_to(stage) for path in stage.rglob("*") if path.is_file())
    return [target / name for name in names], findings


def _write_aimet(stage: Path, result: Saved, version: str) -> None:
    stem = safe_name(result.original.stem)
    document = aimet_document(result.plan, result.encodings, version, constant=result.model.constant)
    (stage / f"{stem}.{version}.encodings").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
