"""The networks that vai_q_pytorch was recorded on, as PyTorch modules; their weights are in the recordings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


class TinyCNN(nn.Module):
    """An ordinary, a depthwise and a 1x1 convolution around a sum, then pools and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1, self.relu = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU()
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
        self.bn2, self.relu6 = nn.BatchNorm2d(8), nn.ReLU6()
        self.conv3 = nn.Conv2d(8, 8, 1)
        self.pool, self.avg, self.fc = nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Any:
        x = self.relu(self.bn1(self.conv1(x)))
        y = self.conv3(self.relu6(self.bn2(self.conv2(x))))
        return self.fc(torch.flatten(self.avg(self.pool(self.relu(x + y))), 1))


class BasicBlock(nn.Module):
    """Two convolutions and a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1, self.relu = nn.BatchNorm2d(outputs), nn.ReLU()
        self.conv2, self.bn2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)
        self.downsample: nn.Sequential | None = None
        if stride != 1:
            convolution = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(convolution, nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Any:
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """Two blocks between a stem and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1, self.relu = nn.Conv2d(3, 8, 7, 2, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1, self.layer2 = nn.Sequential(BasicBlock(8, 8, 1)), nn.Sequential(BasicBlock(8, 16, 2))
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d((1, 1)), nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Any:
        x = self.layer2(self.layer1(self.maxpool(self.relu(self.bn1(self.conv1(x))))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


class UpNet(nn.Module):
    """A batch norm alone, a transposed convolution, a concatenation, a pad and an upsampling."""

    def __init__(self) -> None:
        super().__init__()
        self.bn0, self.c1, self.lr = nn.BatchNorm2d(3), nn.Conv2d(3, 6, 3, 2, 1), nn.LeakyReLU(0.1)
        self.up, self.c2, self.c3 = nn.ConvTranspose2d(6, 4, 2, 2), nn.Conv2d(3, 4, 1), nn.Conv2d(8, 4, 3)
        self.padm, self.us = nn.ZeroPad2d(1), nn.Upsample(scale_factor=2, mode="nearest")

    def forward(self, x: Tensor) -> Any:
        x = self.bn0(x)
        y = torch.cat([self.up(self.lr(self.c1(x))), self.c2(x)], 1)
        return self.us(self.c3(self.padm(y)))


class Encoder(nn.Module):
    """One layer of a transformer with one head."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(16, 16) for _ in range(4))
        self.ln1, self.ln2 = nn.LayerNorm(16), nn.LayerNorm(16)
        self.f1, self.f2, self.act, self.sm = nn.Linear(16, 32), nn.Linear(32, 16), nn.GELU(), nn.Softmax(dim=-1)

    def forward(self, x: Tensor) -> Any:
        q, k, v = self.q(x), self.k(x), self.v(x)
        attention = self.sm(torch.matmul(q, k.transpose(-1, -2)) * 0.25)
        x = self.ln1(x + self.o(torch.matmul(attention, v)))
        return self.ln2(x + self.f2(self.act(self.f1(x))))


class SepFirst(nn.Module):
    """The first convolution is depthwise."""

    def __init__(self) -> None:
        super().__init__()
        self.dw, self.pw = nn.Conv2d(4, 4, 3, 1, 1, groups=4), nn.Conv2d(4, 8, 1)
        self.relu, self.fc = nn.ReLU(), nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Any:
        return self.fc(self.relu(self.pw(self.dw(x))))


class Misc(nn.Module):
    """Operators that stay float between others that do not, and a chunk."""

    def __init__(self) -> None:
        super().__init__()
        self.c, self.p, self.sg, self.th = nn.Conv2d(4, 4, 3, 1, 1), nn.PReLU(), nn.Sigmoid(), nn.Tanh()
        self.avg, self.d, self.c2 = nn.AvgPool2d(3, 1, 1), nn.Dropout(0.1), nn.Conv2d(4, 4, 1)
        self.elu, self.silu = nn.ELU(), nn.SiLU()

    def forward(self, x: Tensor) -> Any:
        x = self.p(self.c(x))
        y = self.avg(x)
        high, low = torch.chunk(self.d((self.sg(y) - self.th(x)) * y), 2, 1)
        cut = torch.cat([low, high], 1)[:, :, 1:7, 1:7]
        return self.elu(self.silu(self.c2(cut))).mean([2, 3])


class ShiftNet(nn.Module):
    """Weights of sizes that the DPU's shifters cannot follow."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.d = nn.Conv2d(3, 4, 3, 1, 1), *(nn.Conv2d(4, 4, 1) for _ in range(3))
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Any:
        return self.d(self.relu(self.c(self.relu(self.b(self.relu(self.a(x)))))))


class MobileBlock(nn.Module):
    """Squeeze and excitation with hard activations."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.act = nn.Conv2d(3, 8, 3, 2, 1), nn.Hardswish()
        self.dw, self.gap = nn.Conv2d(8, 8, 3, 1, 1, groups=8), nn.AdaptiveAvgPool2d(1)
        self.se1, self.se2, self.pw = nn.Conv2d(8, 4, 1), nn.Conv2d(4, 8, 1), nn.Conv2d(8, 8, 1)
        self.hs, self.relu = nn.Hardsigmoid(), nn.ReLU()

    def forward(self, x: Tensor) -> Any:
        x = self.act(self.stem(x))
        y = self.dw(x)
        return self.pw(y * self.hs(self.se2(self.relu(self.se1(self.gap(y)))))) + x


NETS: Mapping[str, type[nn.Module]] = {
    net.__name__: net for net in (TinyCNN, ResNet, UpNet, Encoder, SepFirst, Misc, ShiftNet, MobileBlock)
}


def export(net: nn.Module, example: NDArray[np.float32], path: Path, *, dynamo: bool) -> Path:
    """Write a network as ONNX by one of PyTorch's two exporters; return the path."""
    options: dict[str, Any] = {"verbose": False, "external_data": False} if dynamo else {}
    torch.onnx.export(
        net.eval(), (torch.from_numpy(example),), path, dynamo=dynamo, input_names=["x"], output_names=["y"], **options
    )
    return path
