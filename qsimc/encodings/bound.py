"""What a model says about an encodings file: which tensors there are, which are params, where channels lie."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from qsimc.diagnostics import Diagnostic, Severity, did_you_mean
from qsimc.encodings.document import Document
from qsimc.encodings.entry import EncodingsFile, Entry, Granularity, Layout, Section
from qsimc.graph import Tensor
from qsimc.planning.plan import Kind, Plan

_UNNAMED = "(Unnamed "


@dataclass(frozen=True, slots=True)
class Binding:
    """A model as encodings see it.

    Attributes:
        tensors: every tensor of the main graph, and those of bodies without a shape.
        plan: every tensor that AIMET could quantize, params with their channel axis.
    """

    tensors: Mapping[str, Tensor]
    plan: Plan

    def section(self, name: str) -> Section | None:
        """Return where AIMET files a tensor; None for one the model does not have."""
        planned = self.plan.tensors.get(name)
        if planned is not None:
            return Section.PARAM if planned.kind is Kind.PARAM else Section.ACTIVATION
        return Section.ACTIVATION if name in self.tensors else None

    def axis(self, name: str) -> int | None:
        """Return the channel axis of a param, None for what has none."""
        planned = self.plan.tensors.get(name)
        return None if planned is None else planned.axis

    def shape(self, name: str) -> tuple[int | None, ...] | None:
        """Return the shape of a tensor, None where nobody knows."""
        known = self.tensors.get(name)
        return None if known is None else known.shape


def lint_bound(document: Document, file: EncodingsFile, binding: Binding) -> Iterator[Diagnostic]:
    """Yield what is wrong with a file on a model.  Files that are kept by module are not compared."""
    if file.layout is Layout.TORCH:
        return
    names = list(binding.tensors)
    for entry in file.entries:
        if file.layout is Layout.TENSORRT and entry.name.startswith(_UNNAMED):
            continue  # TensorRT's own name for what the model leaves unnamed, or for what it made of two nodes.
        if entry.name not in binding.tensors:
            near = did_you_mean(entry.name, names) if len(names) <= 10_000 else None
            yield document.finding(
                "Q0812",
                "unknown-tensor",
                Severity.ERROR,
                f"the model has no tensor `{entry.name}`",
                entry.where,
                notes=() if file.layout is Layout.TENSORRT else ("AIMET stops at such a name, strict or not",),
                helps=(f"did you mean `{near}`?",) if near else (),
            )
            continue
        yield from _section(document, entry, binding)
        yield from _channels(document, entry, binding)


def _section(document: Document, entry: Entry, binding: Binding) -> Iterator[Diagnostic]:
    meant = binding.section(entry.name)
    if entry.section is None or meant is None or entry.section is meant:
        return
    param = meant is Section.PARAM
    yield document.finding(
        "Q0813",
        "wrong-section",
        Severity.WARNING if param else Severity.ERROR,
        f"`{entry.name}` is {'a param' if param else 'an activation'}, and stands under `{entry.section}_encodings`",
        entry.where,
        notes=("QNN applies a param that stands there" if param else "QNN ignores an activation that stands there",),
        helps=(f"move it to `{meant}_encodings`",),
    )


def _channels(document: Document, entry: Entry, binding: Binding) -> Iterator[Diagnostic]:
    shape = binding.shape(entry.name)
    if shape is None or entry.granularity is Granularity.TENSOR:
        return
    axis = entry.axis if entry.axis is not None else binding.axis(entry.name)
    if entry.axis is not None and not -len(shape) <= entry.axis < len(shape):
        yield document.finding(
            "Q0816",
            "bad-axis",
            Severity.ERROR,
            f"`{entry.name}` has {len(shape)} dimensions, and no axis {entry.axis}",
            entry.where,
        )
        return
    many = entry.blocks.channels if entry.blocks is not None else len(entry.scale)
    if axis is None or many is None:
        if (
            entry.blocks is None
            and entry.section is not Section.PARAM
            and binding.section(entry.name) is Section.ACTIVATION
        ):
            yield _count(document, entry, f"`{entry.name}` is no param, and has {many} scales")
        return
    length = shape[axis]
    if length is not None and length != many:
        yield _count(document, entry, f"`{entry.name}` has {many} scales, and {length} channels on axis {axis}")


def _count(document: Document, entry: Entry, message: str) -> Diagnostic:
    return document.finding("Q0814", "channel-count", Severity.ERROR, message, entry.where)
