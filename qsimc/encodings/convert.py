"""From one version of encodings files to another, with everything that is lost or had to be found elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from qsimc.diagnostics import Diagnostic, Report, Severity
from qsimc.encodings import tensorrt
from qsimc.encodings.bound import Binding
from qsimc.encodings.entry import EncodingsFile, Entry, Granularity, Layout, Section

INFERRED = frozenset({"Q0721", "Q0722", "Q0723", "Q0724"})
"""Codes that say where something came from; every other Q07xx code of this module says that something is lost."""

_BIAS_BITS = 32
_OWN = frozenset({"calib", "numerics"})
"""What a qsimc file says about how an encoding came about: nobody else asks."""


@dataclass(slots=True)
class Losses:
    """Counts what happens to entries, so that a file of thousands makes a dozen findings.

    `first` is an example of each kind.
    """

    path: str
    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)

    def add(self, code: str, name: str) -> None:
        """Count one entry."""
        self.counts[code] += 1
        self.first.setdefault(code, name)

    def findings(self, target: Layout) -> Iterator[Diagnostic]:
        """Yield one finding per kind."""
        for code, times in sorted(self.counts.items()):
            kind = _KINDS[code]
            yield Diagnostic(
                code=code,
                name=kind.name,
                severity=kind.severity,
                message=kind.message.format(target=_title(target), many=_many(times, self.first[code])),
                notes=kind.notes,
                helps=kind.helps,
                path=self.path,
            )


def convert(
    file: EncodingsFile, target: Layout, report: Report, *, path: str = "", binding: Binding | None = None
) -> EncodingsFile:
    """Return a file in another layout, after reporting what the layout cannot hold (Q0720 to Q0739).

    Args:
        path: what findings name.
        binding: the model, where layouts need what the file does not say: axes and sections.

    Raises:
        ValueError: a file filed by tensor cannot become one filed by module.
    """
    if file.layout is target:
        return file
    if target is Layout.TORCH:
        raise ValueError("a file filed by tensor cannot become one filed by module")
    if {file.layout, target} == {Layout.V0_6_1, Layout.QNN}:
        return replace(file, layout=target)  # One form: what nobody knows stays where it is.
    losses = Losses(path)
    entries = [kept for e in file.entries if (kept := _converted(e, file.layout, target, losses, binding)) is not None]
    cache = target is Layout.TENSORRT
    arguments = file.quantizer_args if target.sections and not cache else None
    if file.quantizer_args is not None and arguments is None:
        losses.add("Q0731", "quantizer_args")
    if cache:
        for key in file.extra:
            losses.add("Q0731", key)
    for finding in losses.findings(target):
        report(finding)
    extra = {} if cache else file.extra
    version = _VERSIONS.get(target, str(target))
    return replace(file, layout=target, version=version, entries=tuple(entries), quantizer_args=arguments, extra=extra)


def _converted(entry: Entry, source: Layout, target: Layout, losses: Losses, binding: Binding | None) -> Entry | None:
    """Return an entry as the target can hold it; None when it cannot."""
    if (code := _not_held(entry, source, target)) is not None:
        losses.add(code, entry.key)
        return None
    if target.sections and entry.section is None:
        entry = _in_section(entry, losses, binding)
    if target is Layout.TENSORRT:
        return _cached(entry, source, losses)
    entry = _one_extra(entry, losses)
    if target.axes and entry.granularity is not Granularity.TENSOR:
        with_axes = _with_axes(entry, losses, binding)
        if with_axes is None:
            return None
        entry = with_axes
    elif not target.axes and entry.granularity is not Granularity.TENSOR and entry.axis is not None:
        losses.add("Q0720", entry.name)
    if source is Layout.QSIMC:
        entry = replace(entry, extra={key: v for key, v in entry.extra.items() if key not in _OWN})
    # A range repeats what scale and offset say; the files of today's tools differ in how they round it.
    entry = replace(entry, low=(), high=())
    if entry.dtype != "int":
        return entry
    return _with_symmetry(entry, source, target, losses)


def _not_held(entry: Entry, source: Layout, target: Layout) -> str | None:
    """Return the loss that an entry as a whole is, None when the target can hold it."""
    if entry.port:
        return "Q0730"
    if entry.dtype in ("float", "bfloat"):
        return None if target.sections else "Q0726"
    if entry.dtype != "int":
        return None if target in (Layout.V2_0_0, Layout.V2_1_0) else "Q0727"
    if target.sections and not source.sections and entry.bits == _BIAS_BITS:
        return "Q0728"
    if entry.blocks is not None and target in (Layout.V0_6_1, Layout.QNN, Layout.QSIMC):
        return "Q0729"
    return None


def _cached(entry: Entry, source: Layout, losses: Losses) -> Entry | None:
    """Return an entry as a calibration cache holds it: the scale of an activation in symmetric int8."""
    if (code := _not_cached(entry)) is not None:
        losses.add(code, entry.key)
        return None
    if entry.narrow:
        losses.add("Q0725", entry.name)
    if not tensorrt.is_float32(entry.scale[0]):
        losses.add("Q0739", entry.name)
    for key in entry.extra:
        if not (source is Layout.QSIMC and key in _OWN):
            losses.add("Q0731", f"{key}` of `{entry.name}")
    scale = tensorrt.scale_of(tensorrt.digits_of(entry.scale[0]))
    return replace(
        entry, scale=(scale,), offset=(float(tensorrt.MIDDLE),), signed=True, symmetric=True, narrow=False,
        granularity=Granularity.TENSOR, axis=None, low=(), high=(), extra={}, channel_extra=(),
    )  # fmt: skip


def _not_cached(entry: Entry) -> str | None:
    """Return the loss that an entry is to a calibration cache, None when one can hold it."""
    if entry.section is Section.PARAM:
        return "Q0734"
    if entry.dtype != "int" or entry.bits != tensorrt.BITS:
        return "Q0736"
    if len(entry.scale) != 1 or entry.blocks is not None:
        return "Q0737"
    if entry.offset[0] != entry.middle + (1 if entry.narrow else 0):
        return "Q0735"
    unnameable = any(end in entry.name for end in "\r\n") or not entry.name
    return "Q0738" if unnameable or not tensorrt.holds(entry.scale[0]) else None


def _one_extra(entry: Entry, losses: Losses) -> Entry:
    """Return an entry with unknown fields of the whole tensor; those that differ by channel are lost."""
    if not entry.channel_extra:
        return entry
    first = entry.channel_extra[0]
    differing = {key for other in entry.channel_extra for key in {*first, *other} if first.get(key) != other.get(key)}
    for key in sorted(differing):
        losses.add("Q0731", f"{key}` of `{entry.name}")
    return replace(entry, extra={k: v for k, v in entry.extra.items() if k not in differing}, channel_extra=())


def _in_section(entry: Entry, losses: Losses, binding: Binding | None) -> Entry:
    section = None if binding is None else binding.section(entry.name)
    if section is None:
        # A param that stands among the activations is applied, the reverse is ignored (QNN).
        param = entry.granularity is not Granularity.TENSOR
        losses.add("Q0724", entry.name)
        section = Section.PARAM if param else Section.ACTIVATION
    return replace(entry, section=section)


def _with_axes(entry: Entry, losses: Losses, binding: Binding | None) -> Entry | None:
    if entry.axis is not None and (entry.blocks is None or entry.blocks.axis is not None):
        return entry
    if entry.blocks is None and len(entry.scale) == 1:
        # One channel: any axis of length 1 would do, and per tensor means the same.
        return replace(entry, granularity=Granularity.TENSOR)
    axis = None if binding is None else binding.axis(entry.name)
    shape = None if binding is None else binding.shape(entry.name)
    if axis is None or shape is None:
        losses.add("Q0732", entry.name)
        return None
    if entry.blocks is None:
        losses.add("Q0721", entry.name)
        return replace(entry, axis=axis)
    channels = shape[axis]
    others = [i for i in range(len(shape)) if i != axis]
    if channels is None or not others or len(entry.blocks.steps or entry.scale) % channels:
        losses.add("Q0732", entry.name)
        return None
    losses.add("Q0721", entry.name)
    # Blocks cut the input channels: the first axis that is not the output channels'.
    return replace(entry, axis=axis, blocks=replace(entry.blocks, axis=others[0], rank=len(shape), channels=channels))


def _with_symmetry(entry: Entry, source: Layout, target: Layout, losses: Losses) -> Entry:
    if target in (Layout.V2_0_0, Layout.V2_1_0):
        if entry.narrow:
            losses.add("Q0725", entry.name)
        elif entry.symmetric is not None and bool(entry.symmetric) != _looks_symmetric(entry):
            losses.add("Q0733", entry.name)
    elif entry.narrow and not entry.symmetric:
        losses.add("Q0725", entry.name)
    if entry.symmetric is None and target not in (Layout.V2_0_0, Layout.V2_1_0):
        losses.add("Q0722", entry.name)
        strict = _signed_param(entry) and all(offset == entry.middle + 1 for offset in entry.offset)
        unsigned = _signed_param(entry) and all(offset in (entry.middle, 0) for offset in entry.offset)
        entry = replace(entry, symmetric=_looks_symmetric(entry) or strict or unsigned, narrow=strict)
    if entry.signed is None and target.axes:
        losses.add("Q0723", entry.name)
        symmetric = _looks_symmetric(entry) if entry.symmetric is None else entry.symmetric
        entry = replace(entry, signed=entry.section is Section.PARAM and symmetric)
    return entry


def _signed_param(entry: Entry) -> bool:
    """Say whether an entry is stored as AIMET stores the symmetric params only: strict and unsigned ones too."""
    return bool(entry.signed) and entry.section is Section.PARAM


def _looks_symmetric(entry: Entry) -> bool:
    """Say whether zero lies at the middle of the grid, where a reader of 2.x takes a grid for symmetric."""
    return all(offset == entry.middle for offset in entry.offset)


def _many(times: int, first: str) -> str:
    """Return how many entries, the first one by name; a lone one by name alone."""
    return f"`{first}`" if times == 1 else f"{times} entries (the first is `{first}`)"


_TITLES = {
    Layout.QSIMC: "a `qsimc` file",
    Layout.QNN: "a file of QNN overrides",
    Layout.TENSORRT: "a calibration cache of TensorRT",
}
_VERSIONS = {Layout.QNN: str(Layout.V0_6_1), Layout.TENSORRT: tensorrt.HEADER}
"""What a file says of itself where that is not its layout."""


def _title(layout: Layout) -> str:
    return _TITLES.get(layout, f"version {layout}")


@dataclass(frozen=True, slots=True)
class _Kind:
    code: str
    name: str
    severity: Severity
    message: str
    notes: tuple[str, ...] = ()
    helps: tuple[str, ...] = ()


_MODEL = ("name the model with `--model`",)
_INFO, _WARNING, _ERROR = Severity.INFO, Severity.WARNING, Severity.ERROR

_ROWS = (
    _Kind("Q0720", "axis-lost", _INFO,
          "{target} does not say the channel axis of {many}",
          ("readers take it from the operator",)),
    _Kind("Q0721", "axis-inferred", _INFO,
          "the channel axis of {many} is the model's, the file does not say it"),
    _Kind("Q0722", "symmetry-inferred", _INFO,
          "the file does not say the symmetry of {many}; zero in the middle is taken to say it"),
    _Kind("Q0723", "sign-inferred", _INFO,
          "the file does not say the sign of {many}; symmetric params are taken to be signed, the rest not",
          ("AIMET exports them that way",)),
    _Kind("Q0724", "section-guessed", _WARNING,
          "the file does not say the section of {many}; what has several scales becomes a param",
          helps=_MODEL),
    _Kind("Q0725", "narrow-range-lost", _WARNING,
          "{target} cannot leave out the lowest integer of {many}",
          ("the grid gets one step longer on one side; scale and zero stay",)),
    _Kind("Q0726", "float-dropped", _WARNING,
          "{target} has no 16-bit floats, and is without {many}",
          ("a tensor without an entry is not quantized",)),
    _Kind("Q0727", "float8-dropped", _WARNING,
          "{target} has no 8-bit floats, and is without {many}",
          ("AIMET refuses to write them there",)),
    _Kind("Q0728", "bias-dropped", _WARNING,
          "{target} leaves int32 biases to the runtime, and is without {many}",
          ("a runtime takes input scale x weight scale for them, as AIMET does",)),
    _Kind("Q0729", "blocks-dropped", _WARNING,
          "{target} has no scales per block, and is without {many}"),
    _Kind("Q0730", "ports-dropped", _WARNING,
          "left out, because filed by module and port and not by tensor: {many}",
          ("only AIMET itself reads `_torch.encodings`",),
          ("convert the file that was exported beside it",)),
    _Kind("Q0731", "summary-lost", _INFO,
          "{target} has no place for {many}"),
    _Kind("Q0732", "axis-unknown", _ERROR,
          "{target} needs the channel axis of {many}, which is not known",
          helps=_MODEL),
    _Kind("Q0733", "symmetry-lost", _INFO,
          "{target} does not say the symmetry of {many}, and zero does not show it",
          ("AIMET's strict loader compares the flag",)),
    _Kind("Q0734", "params-dropped", _WARNING,
          "{target} holds activations only, and is without {many}",
          ("TensorRT takes the scales of weights from their values, symmetric and per channel",)),
    _Kind("Q0735", "asymmetric-dropped", _WARNING,
          "{target} has no zero points, and is without {many}",
          ("what reads or makes a tensor without a scale runs in floating point",),
          ("quantize activations symmetrically",)),
    _Kind("Q0736", "width-dropped", _WARNING,
          "{target} is of int8 only, and is without {many}",
          ("what reads or makes a tensor without a scale runs in floating point",)),
    _Kind("Q0737", "channels-dropped", _WARNING,
          "{target} has one scale per tensor, and is without {many}"),
    _Kind("Q0738", "line-dropped", _WARNING,
          "{target} cannot say the name or the scale of {many} on a line, and is without it"),
    _Kind("Q0739", "scale-rounded", _INFO,
          "{target} has scales of 32 bits; the nearest one is taken for {many}"),
)  # fmt: skip
"""What can happen to an entry, one row per code."""

_KINDS = {kind.code: kind for kind in _ROWS}
