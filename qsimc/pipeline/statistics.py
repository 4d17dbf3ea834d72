"""Statistics on disk: what calibration observed, in a form that other shards can be merged into."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np

from qsimc.calibrate.aimet_record import AimetRecord
from qsimc.calibrate.bits import BitHistogram
from qsimc.calibrate.minmax import MinMax
from qsimc.calibrate.observer import Observer

FORMAT_VERSION = "1.0"
FOLDER = "stats"
"""What the folder of statistics is called among the results."""

_MERGEABLE: Mapping[str, type[Observer]] = {kind.__name__: kind for kind in (MinMax, BitHistogram, AimetRecord)}
"""The kinds that are read back; the others depend on the order of batches and go with one process."""

_INDEX, _ARRAYS = "index.json", "statistics.npz"


class DamagedError(ValueError):
    """A folder does not hold statistics that can be merged; the message says why, in lower case."""


def write_statistics(folder: Path, observers: Mapping[str, Observer]) -> None:
    """Write each quantizer's statistic: arrays in one .npz, names and kinds in index.json.

    Tensor names never become file or member names; the index maps them to numbers.
    """
    folder.mkdir()
    arrays: dict[str, Any] = {}
    index: dict[str, Any] = {}
    for number, (tensor, observer) in enumerate(observers.items()):
        flat = dict(_flat(observer, str(number)))
        arrays |= flat
        index[tensor] = {"kind": type(observer).__name__, "members": sorted(flat)}
    np.savez_compressed(folder / _ARRAYS, **arrays)
    document = {"format_version": FORMAT_VERSION, "statistics": index}
    (folder / _INDEX).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8", newline="\n")


def read_statistics(folder: Path) -> dict[str, Observer]:
    """Return the statistics of a folder that `write_statistics` wrote, by quantizer.

    Raises:
        DamagedError: it holds none, or some of a kind that does not merge.
    """
    try:
        index = json.loads((folder / _INDEX).read_text(encoding="utf-8"))["statistics"]
        with np.load(folder / _ARRAYS, allow_pickle=False) as arrays:
            return {
                tensor: _rebuilt(_MERGEABLE[entry["kind"]], str(number), {m: arrays[m] for m in entry["members"]})
                for number, (tensor, entry) in enumerate(index.items())
            }
    except OSError as error:
        raise DamagedError(
            f"`{Path(error.filename or folder).name}`: {(error.strerror or str(error)).lower()}"
        ) from error
    except (KeyError, TypeError, AttributeError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DamagedError(f"its statistics are damaged: {type(error).__name__} {error}") from error


def _flat(value: object, name: str) -> list[tuple[str, Any]]:
    """Return the arrays and numbers inside nested dataclasses and tuples, named by their path."""
    if is_dataclass(value) and not isinstance(value, type):
        parts = [(f.name, getattr(value, f.name)) for f in fields(value)]
    elif isinstance(value, tuple):
        parts = [(str(position), part) for position, part in enumerate(value)]
    else:
        return [] if value is None else [(name, np.asarray(value))]
    return [entry for part, inner in parts for entry in _flat(inner, f"{name}.{part}")]


def _rebuilt(kind: Any, name: str, arrays: Mapping[str, Any]) -> Any:
    """Return the value of a type whose parts `_flat` named."""
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        return kind(**{f.name: _rebuilt(hints[f.name], f"{name}.{f.name}", arrays) for f in fields(kind)})  # type: ignore[operator]
    if get_origin(kind) is tuple:
        (part, _) = get_args(kind)
        count = len({_position(member, name) for member in arrays if member.startswith(f"{name}.")})
        return tuple(_rebuilt(part, f"{name}.{position}", arrays) for position in range(count))
    found = arrays[name]
    return found if get_origin(kind) is np.ndarray else found.item()


def _position(member: str, name: str) -> str:
    """Return the part of a member's path after `name`."""
    return member[len(name) + 1 :].partition(".")[0]
