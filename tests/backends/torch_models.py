"""Models that AIMET's own plans exist for, built anew: the same modules, joined in the same way."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


def _custom(cls: type[nn.Module]) -> type[nn.Module]:
    """Let a module pass for one of AIMET's own, which go by their package."""
    cls.__module__ = "aimet_torch.nn.modules.custom"
    return cls


@_custom
class Add(nn.Module):
    def forward(self, x: Any, y: Any) -> Any:
        return x + y


@_custom
class Subtract(nn.Module):
    def forward(self, x: Any, y: Any) -> Any:
        return x - y


@_custom
class Multiply(nn.Module):
    def forward(self, x: Any, y: Any) -> Any:
        return x * y


@_custom
class Divide(nn.Module):
    def forward(self, x: Any, y: Any) -> Any:
        return torch.div(x, y)


@_custom
class MatMul(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.matmul(x, y)


@_custom
class Concat(nn.Module):
    def forward(self, *x: Tensor) -> Tensor:
        return torch.cat(x, dim=1)


@_custom
class Mean(nn.Module):
    def forward(self, x: Tensor, dim: Any) -> Tensor:
        return torch.mean(x, dim)


class Mlp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(6, 8)
        self.relu1 = nn.ReLU()
        self.fc2 = nn.Linear(8, 8, bias=False)
        self.gelu = nn.GELU()
        self.fc3 = nn.Linear(8, 4)
        self.elu = nn.ELU()

    def forward(self, x: Tensor) -> Tensor:
        return self.elu(self.fc3(self.gelu(self.fc2(self.relu1(self.fc1(x))))))  # type: ignore[no-any-return]


class CnnSmall(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, padding=1)
        self.relu1 = nn.ReLU()
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(4, 6, 3)
        self.relu6 = nn.ReLU6()
        self.avg = nn.AvgPool2d(2)
        self.conv3 = nn.Conv2d(6, 6, 1)
        self.htanh = nn.Hardtanh()
        self.gap = nn.AdaptiveAvgPool2d(1)
        self.flat = nn.Flatten()
        self.drop = nn.Dropout()
        self.fc1 = nn.Linear(6, 8)
        self.relu3 = nn.ReLU()
        self.fc2 = nn.Linear(8, 3)
        self.sm = nn.Softmax(dim=-1)

    def forward(self, x: Tensor) -> Tensor:
        for part in self.children():
            x = part(x)
        return x


class ConvBnRelu(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(4)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(4, 5, 3, bias=False)
        self.bn2 = nn.BatchNorm2d(5)
        self.conv3 = nn.Conv2d(5, 4, 1)
        self.relu3 = nn.ReLU()
        self.bn4 = nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        for part in self.children():
            x = part(x)
        return x


class ConvT(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.t1 = nn.ConvTranspose2d(4, 6, 2, stride=2)
        self.r1 = nn.ReLU()
        self.t2 = nn.ConvTranspose2d(6, 6, 3, groups=2, bias=False)
        self.bn = nn.BatchNorm2d(6)
        self.r2 = nn.ReLU()
        self.t3 = nn.ConvTranspose2d(6, 6, 2, groups=6)
        self.r3 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        for part in self.children():
            x = part(x)
        return x


class Depthwise(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.dw = nn.Conv2d(6, 6, 3, padding=1, groups=6)
        self.relu = nn.ReLU()
        self.pw = nn.Conv2d(6, 8, 1)
        self.relu6 = nn.ReLU6()
        self.gconv = nn.Conv2d(8, 8, 3, groups=2)
        self.relu2 = nn.ReLU()
        self.dw2 = nn.Conv2d(8, 16, 3, groups=8)
        self.relu3 = nn.ReLU6()

    def forward(self, x: Tensor) -> Tensor:
        for part in self.children():
            x = part(x)
        return x


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(4, 4, 3, padding=1)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1)
        self.add = Add()
        self.relu2 = nn.ReLU()
        self.conv3 = nn.Conv2d(4, 4, 1)
        self.add2 = Add()
        self.relu3 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        x = self.relu2(self.add(x, self.conv2(self.relu1(x))))
        return self.relu3(self.add2(self.conv3(x), x))  # type: ignore[no-any-return]


class ConcatBranches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.c1 = nn.Conv2d(4, 4, 1)
        self.sig = nn.Sigmoid()
        self.c2 = nn.Conv2d(4, 4, 1)
        self.sm = nn.Softmax(dim=1)
        self.c3 = nn.Conv2d(4, 4, 3, padding=1)
        self.cat1 = Concat()
        self.c4 = nn.Conv2d(12, 4, 1)
        self.cat2 = Concat()
        self.tanh = nn.Tanh()
        self.cat3 = Concat()

    def forward(self, x: Tensor) -> Tensor:
        a = self.sig(self.c1(x))
        b = self.sm(self.c2(x))
        c = self.c4(self.cat1(a, b, self.c3(x)))
        d = self.cat2(a, b)
        return self.cat3(self.tanh(c), d)  # type: ignore[no-any-return]


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.ln = nn.LayerNorm(8)
        self.q = nn.Linear(8, 8)
        self.k = nn.Linear(8, 8)
        self.v = nn.Linear(8, 8)
        self.mm1 = MatMul()
        self.div = Divide()
        self.sm = nn.Softmax(dim=-1)
        self.mm2 = MatMul()
        self.o = nn.Linear(8, 8)
        self.add = Add()

    def forward(self, x: Tensor) -> Tensor:
        h = self.ln(x)
        q, k, v = (part(h).reshape(1, 5, 2, 4).transpose(1, 2) for part in (self.q, self.k, self.v))
        a = self.sm(self.div(self.mm1(q, k.transpose(-1, -2)), math.sqrt(4)))
        y = self.o(self.mm2(a, v).transpose(1, 2).reshape(1, 5, 8))
        return self.add(x, y)  # type: ignore[no-any-return]


class ConstOps(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mul = Multiply()
        self.add = Add()
        self.div = Divide()
        self.sub = Subtract()
        self.fc = nn.Linear(4, 4)
        self.mul2 = Multiply()
        self.mean = Mean()
        self.scale = nn.Parameter(torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        x = self.sub(self.div(self.add(self.mul(x, 2.0), 1.0), 3.0), 0.5)
        return self.mean(self.mul2(self.fc(x), self.scale), 1)  # type: ignore[no-any-return]


class Lstm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.l = nn.LSTM(3, 5)
        self.fc = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.l(x)[0])  # type: ignore[no-any-return]


class MultiIO(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.c1 = nn.Conv2d(3, 4, 1)
        self.c2 = nn.Conv2d(3, 4, 1)
        self.add = Add()
        self.r = nn.ReLU()
        self.mul = Multiply()
        self.c3 = nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        r = self.r(self.add(self.c1(x), self.c2(y)))
        return self.c3(self.mul(r, x[:, 0:1])), r


class Emb(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.e = nn.Embedding(10, 6)
        self.fc = nn.Linear(6, 4)
        self.r = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.r(self.fc(self.e(x)))  # type: ignore[no-any-return]


class Norms(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.c1 = nn.Conv2d(4, 4, 1)
        self.gn = nn.GroupNorm(2, 4)
        self.r = nn.ReLU()
        self.c2 = nn.Conv2d(4, 4, 1)
        self.inn = nn.InstanceNorm2d(4, affine=True)
        self.ln = nn.LayerNorm(6)

    def forward(self, x: Tensor) -> Tensor:
        for part in self.children():
            x = part(x)
        return x


class DataMovement(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.c1 = nn.Conv2d(4, 4, 1)
        self.c2 = nn.Conv2d(4, 4, 1)
        self.fc = nn.Linear(9, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.c1(x).reshape(1, 4, 36).transpose(1, 2)[:, ::2, :]
        x = x.unsqueeze(0).squeeze(1) if x.ndim == 4 else x.unsqueeze(0).squeeze(0)
        x = x.permute(0, 2, 1).reshape(1, 4, 3, 6)
        a, b = torch.split(x, 3, 3)
        x = self.c2(functional.pad(torch.cat([a, b], 2), (0, 3, 0, 0)))
        x = functional.interpolate(x, scale_factor=2)[:, :, :2, :9]
        return self.fc(x.flatten(2)[:, :, :9])  # type: ignore[no-any-return]


MODELS: Mapping[str, Callable[[], tuple[nn.Module, tuple[Tensor, ...]]]] = {
    "attention": lambda: (Attention(), (torch.rand(1, 5, 8),)),
    "cnn_small": lambda: (CnnSmall(), (torch.rand(1, 3, 16, 16),)),
    "concat_branches": lambda: (ConcatBranches(), (torch.rand(1, 4, 8, 8),)),
    "const_ops": lambda: (ConstOps(), (torch.rand(1, 4, 4),)),
    "conv_bn_relu": lambda: (ConvBnRelu(), (torch.rand(1, 3, 8, 8),)),
    "convtranspose": lambda: (ConvT(), (torch.rand(1, 4, 5, 5),)),
    "data_movement": lambda: (DataMovement(), (torch.rand(1, 4, 6, 6),)),
    "depthwise": lambda: (Depthwise(), (torch.rand(1, 6, 8, 8),)),
    "embedding": lambda: (Emb(), (torch.zeros(2, 5, dtype=torch.int64),)),
    "lstm": lambda: (Lstm(), (torch.rand(4, 2, 3),)),
    "mlp": lambda: (Mlp(), (torch.rand(2, 6),)),
    "multi_io": lambda: (MultiIO(), (torch.rand(1, 3, 6, 6), torch.rand(1, 3, 6, 6))),
    "norms": lambda: (Norms(), (torch.rand(1, 4, 6, 6),)),
    "residual_two_consumers": lambda: (Residual(), (torch.rand(1, 4, 8, 8),)),
}
"""Models by the names under which AIMET's plans are kept."""
