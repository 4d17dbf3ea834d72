"""What each process does that test_torch_ranks.py starts; run as `torchrun torch_ranks.py OUT QUANTIZED`.

Process r writes `OUT/r.json`: the exit status and the stderr of every command line, and what training left.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from qsimc_torch.run import opened
from torch.nn.parallel import DistributedDataParallel

import qsimc
from qsimc import cli

ROOT = Path(__file__).resolve().parents[2]
CONFIG, MODEL, DATA = (str(ROOT / "demo" / name) for name in ("config.json", "digits.onnx", "digits_calibration.npz"))
RANK = int(os.environ.get("RANK", "0"))
STEP = 0.01
BIASES = ("--limit", "50", "--rewrite", "correct-biases")


def images() -> NDArray[np.float32]:
    with np.load(DATA) as arrays:
        found: NDArray[np.float32] = arrays["image"][:32]
    return found


def broken_on_one() -> Iterator[dict[str, NDArray[np.float32]]]:
    """Give batches; on rank 1 the second one is not to be had."""
    yield {"image": images()}
    if RANK == 1:
        raise OSError("the disk of rank 1 is gone")
    yield {"image": images()}


def deadly_on_one() -> list[dict[str, NDArray[np.float32]]]:
    """Return batches; rank 1 ends without a word."""
    if RANK == 1:
        os._exit(9)
    return [{"image": images()}]


class UnlikeAnyArray:
    """Fails on its way to an array by what qsimc does not take for a mistake of the user's."""

    def __array__(self, *_: Any, **__: Any) -> NDArray[np.float32]:
        raise AssertionError("an invariant of qsimc")


def unlike_any_array() -> list[Any]:
    """Return batches; that of rank 1 is a bug."""
    return [{"image": UnlikeAnyArray() if RANK == 1 else images()}]


def shuffled() -> list[dict[str, NDArray[np.float32]]]:
    """Return batches in an order of each process's own."""
    return [{"image": np.roll(images(), RANK, axis=0)}]


def commands(out: Path) -> dict[str, list[str]]:
    """Return command lines by what is to be seen of them."""
    quantize = ["quantize", CONFIG, "--model", MODEL, "--backend", "torch", "--out", str(out / "result")]
    here = f"{Path(__file__).stem}"
    return {
        "broken on one": [*quantize, "--data", f"{here}:broken_on_one"],
        "shuffled": [*quantize, "--data", f"{here}:shuffled"],
        "no data": [*quantize, "--data", str(out / "missing.npz")],
        "in the way": [*quantize[:-1], str(out / "file"), "--data", DATA, "--limit", "32"],
        "vitis": [quantize[0], "vitis:default", *quantize[2:], "--data", DATA, "--limit", "32"],
        "shard": ["calibrate", *quantize[1:], "--data", DATA, "--shard", "1/2"],
        "biases": [*quantize[:-1], str(out / "biases"), "--data", DATA, *BIASES],
        "bug": [*quantize, "--data", f"{here}:unlike_any_array"],
        "calibrate": ["calibrate", *quantize[1:], "--data", DATA, "--limit", "70", "--calib", "entropy"],
    }


def run(arguments: list[str]) -> dict[str, Any]:
    said = StringIO()
    with redirect_stderr(said):
        status = cli.run(arguments)
    return {"status": status, "said": said.getvalue()}


def trained(quantized: Path, images: torch.Tensor, labels: torch.Tensor, *, shared: bool) -> dict[str, Any]:
    """Return the parameters after one step of training weights and ranges."""
    model = opened(quantized).train()
    model.learn_ranges()
    wrapped = DistributedDataParallel(model) if shared else model
    optimizer = torch.optim.SGD(wrapped.parameters(), lr=STEP)
    loss: Any = torch.nn.functional.cross_entropy(wrapped(images), labels)
    loss.backward()
    optimizer.step()
    return {name: value.tolist() for name, value in model.named_parameters()}


def main(out: Path, quantized: Path) -> None:
    found: dict[str, Any] = {}
    with qsimc.torch.ranks() as ranks:
        found["ranks"] = [ranks.rank, ranks.size]
        for name, arguments in commands(out).items():
            found[name] = run(arguments)
        x, labels = torch.from_numpy(images()), torch.arange(32) % 10
        own = slice(ranks.rank, None, ranks.size)
        found["trained together"] = trained(quantized, x[own], labels[own], shared=True)
        found["trained alone"] = trained(quantized, x, labels, shared=False)
        made = qsimc.quantize(
            CONFIG, model=MODEL, data=[{"image": images()[:n]} for n in (4, 2, 7)], out=out / "python",
            backend="torch", ranks=ranks,
        )  # fmt: skip
        found["python"] = {name: encoding.scale.tolist() for name, encoding in made.encodings.items()}
    (out / f"{RANK}.json").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
