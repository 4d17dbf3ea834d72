"""What a folder of results was made from: the lock that every command which writes one leaves in it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qsimc.lock import file_digest, lock_document, text_digest
from qsimc.outputs import LOCK
from qsimc.pipeline.plan import Choices, Session


def session_lock(
    made: Session, chosen: Choices, out: Path, *, data: Mapping[str, str] | None = None, samples: int = 0
) -> dict[str, Any]:
    """Return the lock of a session's results.

    A model file is also named from `out`, for when both move together; one captured from Python has no file.
    """
    source = made.config.source
    captured = made.reference != made.model.path
    return lock_document(
        config={"path": source.path, "sha256": text_digest(source.text)},
        model={
            "path": made.reference,
            "relative": "" if captured else Path(os.path.relpath(made.model.path, out)).as_posix(),
            "sha256": file_digest(made.model.path),
        },
        data=data or {},
        options={
            "act": chosen.act,
            "param": chosen.param,
            "calib": str(chosen.calib),
            "mode": str(chosen.mode),
            "rewrites": list(chosen.rewrites),
            "samples": samples,
        },
    )


def write_lock(stage: Path, lock: Mapping[str, Any]) -> None:
    """Write a lock into the folder it speaks of."""
    (stage / LOCK).write_text(json.dumps(lock, indent=1) + "\n", encoding="utf-8", newline="\n")
