"""Networks to measure with, for `package.module:factory`; their weights are random."""

from __future__ import annotations

import torch
from torch import Tensor, nn

STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))
"""Channels and stride of each stage of ResNet18, two blocks a stage."""


class Block(nn.Module):
    """Two convolutions and a shortcut.  Source: He et al., Deep Residual Learning, 2015."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.relu2 = nn.ReLU()
        shortcut = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))
        self.shortcut: nn.Module = shortcut if stride > 1 or channels != out else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.relu1(self.bn1(self.conv1(x)))
        added: Tensor = self.relu2(self.bn2(self.conv2(y)) + self.shortcut(x))
        return added


class ResNet18(nn.Module):
    """ResNet18 for images of 224 x 224."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.pool = nn.MaxPool2d(3, 2, 1)
        blocks: list[nn.Module] = []
        channels = 64
        for out, stride in STAGES:
            blocks += [Block(channels, out, stride), Block(out, out, 1)]
            channels = out
        self.blocks = nn.Sequential(*blocks)
        self.average = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, 1000)

    def forward(self, x: Tensor) -> Tensor:
        y = self.pool(self.relu(self.bn1(self.conv1(x))))
        found: Tensor = self.fc(self.average(self.blocks(y)).flatten(1))
        return found


def resnet18() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """Return a ResNet18 in evaluation mode and an image."""
    torch.manual_seed(0)
    return ResNet18().eval(), (torch.randn(1, 3, 224, 224),)
