"""The section of README.md about PyTorch: the file that it quotes is what is written, and its lines of Python run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import qsimc

README = Path(__file__).parents[2] / "README.md"
SIZE = (2, 64, 56, 56)


class BasicBlock(nn.Module):
    """The block of ResNet-18's first layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(64, 64, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(64, 64, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(64)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        return self.relu(x + self.bn2(self.conv2(y)))  # type: ignore[no-any-return]


def block() -> tuple[nn.Module, tuple[Tensor, ...]]:
    torch.manual_seed(0)
    return BasicBlock().eval(), (torch.zeros(SIZE),)


def quoted(language: str) -> list[str]:
    """Return what the section quotes in a language."""
    section = README.read_text(encoding="utf-8").partition("\n## In PyTorch\n")[2].partition("\n## ")[0]
    return re.findall(rf"^```{language}\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The rules that the section states, in the file that it names."""
    (rules,) = quoted("qsim")
    path = tmp_path / "chip.qsim"
    path.write_text(rules, encoding="utf-8")
    return path


def test_the_file_that_is_quoted_is_what_is_written(config: Path, tmp_path: Path, update: bool) -> None:
    from qsimc.pipeline.build import build
    from qsimc.pipeline.plan import choices

    out = tmp_path / "built"
    chosen = choices("int8", "int8", "minmax", "fixed")
    build(str(config), model=f"{__name__}:block", out=out, chosen=chosen, backend="torch")
    text = (out / "BasicBlock_quantsim.py").read_text(encoding="utf-8")
    if update:
        before, after = (f"```python\n{part}```\n" for part in (quoted("python")[0], text))
        README.write_text(README.read_text(encoding="utf-8").replace(before, after, 1), encoding="utf-8")
    assert quoted("python")[0] == text


def test_what_is_said_of_memory_runs(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(config.parent)
    lines = quoted("python")[1].replace('"resnet:block"', f'"{__name__}:block"')
    names = {"qsimc": qsimc, "block": block()[0], "batches": [torch.randn(SIZE)]}
    exec(lines, names)
    simulation = names["simulation"]
    assert isinstance(simulation, nn.Module)
    assert {name for name, _ in block()[0].named_parameters()} <= {name for name, _ in simulation.named_parameters()}
