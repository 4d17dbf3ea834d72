"""Fourier transforms; complex numbers are a last dimension of two in ONNX."""

from __future__ import annotations

from qsimc_torch.call import Call, Unsupported, call
from qsimc_torch.operators import operator
from qsimc_torch.operators.making import scalar


@operator("DFT")
def dft(node: Call) -> str:
    """The axis counts the last dimension of two; it is an input since operator set 20."""
    shape = node.shape()
    if shape is None or shape[-1] is None:
        raise Unsupported("whether its input is complex is unknown")
    axis = _axis(node, len(shape))
    length = scalar(node, 1) if node.has(1) else None
    inverse, onesided = node.integer("inverse", 0), node.integer("onesided", 0)
    source = f"torch.view_as_complex({node[0]}.contiguous())" if shape[-1] == 2 else f"{node[0]}.squeeze(-1)"
    if inverse and onesided:
        return f"{call('torch.fft.irfft', source, n=length, dim=axis)}.unsqueeze(-1)"
    if onesided and shape[-1] == 2:
        raise Unsupported("one side of the transform of complex numbers is not all of it")
    function = "torch.fft.ifft" if inverse else "torch.fft.rfft" if onesided else "torch.fft.fft"
    return call("torch.view_as_real", call(function, source, n=length, dim=axis))


def _axis(node: Call, rank: int) -> int:
    if node.opset < 20:
        axis = node.integer("axis", 1)
    elif not node.has(2):
        axis = -2
    elif (value := node.constant(2)) is not None:
        axis = int(value.reshape(()))
    else:
        raise Unsupported("its `axis` is computed by the model")
    return axis if axis >= 0 else axis + rank if axis + rank < rank - 1 and axis != -2 else -1


@operator("STFT")
def stft(node: Call) -> str:
    """Frames come before frequencies."""
    shape = node.shape()
    if shape is None or shape[-1] not in (1, 2):
        raise Unsupported("whether its input is complex is unknown")
    real = len(shape) == 2 or shape[-1] == 1
    source = f"{node[0]}.squeeze(-1)" if len(shape) == 3 and real else node[0]
    if not real:
        source = f"torch.view_as_complex({node[0]}.contiguous())"
    window = node[2] if node.has(2) else f"torch.ones({scalar(node, 3)}, device={node[0]}.device)"
    length = scalar(node, 3) if node.has(3) else f"len({node[2]})"
    found = call(
        "torch.stft",
        source,
        length,
        hop_length=scalar(node, 1),
        window=window,
        center=False,
        onesided=bool(node.integer("onesided", 1)),
        return_complex=True,
    )
    return f"torch.view_as_real({found}).transpose(1, 2)"
