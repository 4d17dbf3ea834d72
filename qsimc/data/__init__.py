"""Calibration data: an .npz, a folder of batches, or the user's own Python, as batches that fit a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from qsimc.data import findings
from qsimc.data.files import SUFFIXES, open_file, open_folder
from qsimc.data.layout import Layout, layout_of
from qsimc.data.python import Referenced, Wrapped, is_iterable_of_batches
from qsimc.data.source import Source
from qsimc.data.stream import Data, Once
from qsimc.diagnostics import Report
from qsimc.entry import load_reference, split_reference
from qsimc.graph import Tensor

__all__ = ["Data", "open_data", "wrap"]


def open_data(
    reference: str,
    inputs: Mapping[str, Tensor],
    report: Report,
    *,
    batch_size: int | None = None,
    limit: int | None = None,
) -> Data | None:
    """Open calibration data for a model with these inputs; None after reporting why they cannot serve.

    Args:
        reference: an .npz with one array per input (or an .npy for a model with one input), a folder of
            such files, each a batch, or `package.module:factory`; a path that exists is taken as one.
        inputs: the model's inputs, in its order.
        batch_size: samples per batch; by default what the model's first axis demands, then what the source
            gives (files of a folder, batches of an iterable), then 32.
        limit: use the first so many samples only.
    """
    layout = layout_of(inputs)
    if not _sizes_make_sense(reference, layout, report, batch_size, limit):
        return None
    source = _open(reference, layout, Once(report))
    if source is None:
        return None
    if source.samples == 0:
        report(findings.empty(reference, f"`{reference}` holds no samples"))
        return None
    data = Data(source, layout, report, batch_size, limit)
    if data.samples == 0:
        report(findings.empty(reference, f"`{reference}` holds fewer samples than the {layout.size} of one batch"))
        return None
    data.say_left_out()
    return data


def wrap(
    batches: Iterable[Any],
    inputs: Mapping[str, Tensor],
    report: Report,
    *,
    batch_size: int | None = None,
    limit: int | None = None,
    name: str = "data",
) -> Data | None:
    """Return batches made in Python as data for a model; None after reporting sizes that cannot be.

    Each batch is a mapping from input to array, a tuple in the order of the inputs, or the array of the
    only input; tensors of any framework will do.  What the iterable raises is the caller's and passes.

    Raises:
        TypeError: `batches` is a single batch, or nothing that can be iterated.
    """
    if not is_iterable_of_batches(batches):
        raise TypeError(f"batches must be an iterable of batches, not a {type(batches).__name__}")
    layout = layout_of(inputs)
    if not _sizes_make_sense(name, layout, report, batch_size, limit):
        return None
    return Data(Wrapped(name, batches, layout, Once(report)), layout, report, batch_size, limit)


def _open(reference: str, layout: Layout, report: Report) -> Source | None:
    path = Path(reference)
    if path.is_dir():
        return open_folder(path, layout, report)
    if path.exists() or path.suffix in SUFFIXES:
        return _open_path(path, layout, report)
    if split_reference(reference) is None:
        report(findings.unreadable(reference, "no such file or folder"))
        return None
    factory = load_reference(reference, report)
    return None if factory is None else Referenced(reference, factory, layout, report)


def _open_path(path: Path, layout: Layout, report: Report) -> Source | None:
    if path.suffix in SUFFIXES:
        return open_file(path, layout, report)
    helps = ("save an .npz with one array per model input, or name a factory: `package.module:factory`",)
    report(findings.unreadable(str(path), "it is neither .npz nor .npy nor a folder", helps))
    return None


def _sizes_make_sense(path: str, layout: Layout, report: Report, batch_size: int | None, limit: int | None) -> bool:
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, not {batch_size}")
    if limit is not None and limit < 1:
        report(findings.empty(path, f"a limit of {limit} leaves no samples"))
        return False
    if batch_size is not None and layout.size is not None and batch_size != layout.size:
        report(findings.batch_size_fixed(path, batch_size, layout.size))
        return False
    return True
