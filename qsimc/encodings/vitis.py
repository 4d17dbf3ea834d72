"""Results in vai_q_pytorch's own layout: quant_info.json, and the biases' corrections as bias_corr.pth.

Source: vai_q_pytorch 3.5, `export_quant_config`, and files that it wrote.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsimc.calibrate.encoding import Encoding
from qsimc.calibrate.observer import Observer
from qsimc.calibrate.vitis_batches import VitisBatches
from qsimc.planning.plan import Entry, Mode, Plan
from qsimc.version import VERSION

_SECTIONS = ("param", "output", "input")

_PICKLE = 2
"""Protocol of `torch.save`."""


def quant_info(
    plan: Plan,
    encodings: Mapping[str, Encoding],
    observers: Mapping[str, Observer],
    *,
    model: str,
    corrected: bool,
    filed: Mapping[str, str],
    fix_positions: bool,
) -> dict[str, Any]:
    """Return quant_info.json as plain data.

    The original also writes an MD5 sum of its own graph, which nobody else can compute; it refuses files whose sum
    differs from its graph's.

    Args:
        model: the class of the model, which every name begins with.
        corrected: whether biases were corrected.
        filed: tensor -> the one whose numbers it took over after calibration.
        fix_positions: whether a quantizer is filed as width and fix position, or as width, scale, zero point and
            greatest real.
    """
    sections: dict[str, dict[str, list[Any]]] = {section: {} for section in _SECTIONS}
    types: dict[str, dict[str, list[str]]] = {section: {} for section in _SECTIONS}
    for entry in plan.entries:
        name = f"{model}::{entry.name}"
        types[entry.section].setdefault(name, []).append(entry.datatype)
        if entry.datatype == "int" and entry.tensor in encodings:
            numbers = _fixed(entry, encodings) if fix_positions else _scaled(plan, entry, encodings, observers, filed)
            sections[entry.section].setdefault(name, []).append(numbers)
    document: dict[str, Any] = {
        **sections,
        "fast_finetuned": False,
        "bias_corrected": corrected,
        "version": f"qsimc {VERSION}",
        "graph_md5": "",
    }
    if any(datatype != "int" for names in types.values() for found in names.values() for datatype in found):
        document["dtype"] = types
    return document


def _fixed(entry: Entry, encodings: Mapping[str, Encoding]) -> list[Any]:
    encoding = encodings[entry.tensor]
    return [entry.bits or encoding.bits, int(encoding.fix_position[0])]


def _scaled(
    plan: Plan,
    entry: Entry,
    encodings: Mapping[str, Encoding],
    observers: Mapping[str, Observer],
    filed: Mapping[str, str],
) -> list[Any]:
    tensor = filed.get(entry.tensor, entry.tensor)
    encoding, observer = encodings[tensor], observers[tensor]
    assert isinstance(observer, VitisBatches), "the dialect's own numerics"
    if plan.mode is Mode.FIXED and not encoding.symmetric:
        numbers: Iterable[NDArray[Any]] = (encoding.scale, encoding.zero_point, encoding.max)
    else:
        numbers = observer.published()
    per_channel = encoding.axis is not None and len(encoding.scale) > 1
    return [entry.bits or encoding.bits, *(n.tolist() if per_channel else n.tolist()[0] for n in numbers)]


def bias_corrections(offsets: Mapping[str, NDArray[Any]]) -> bytes:
    """Return bias_corr.pth: layer -> what is to be taken off each element of its bias.

    It is what `torch.save` writes for lists of numbers, made without PyTorch, and holds nothing but data.
    """
    lists = {name: np.asarray(values, np.float64).tolist() for name, values in offsets.items()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in (
            ("data.pkl", pickle.dumps(lists, protocol=_PICKLE)),
            ("byteorder", b"little"),
            ("version", b"3\n"),
        ):
            # A fixed time: equal corrections are equal files.
            archive.writestr(zipfile.ZipInfo(f"bias_corr/{name}", (1980, 1, 1, 0, 0, 0)), content)
    return buffer.getvalue()
