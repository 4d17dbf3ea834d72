"""How long searches for ranges take, and how good the ranges are that they find.

    python bench/ranges.py [--tensors 1000] [--runs 5] [--activations 24] [--root .conformance] [--json FILE]

Time: encodings of many tensors from their statistics alone.  Quality: real activations of two trained models, whose
files and data are those of `make conformance` and are made where they are missing (which needs the network).  For each
activation the reference is the best of 36 x 36 ranges, from 0.3 to 1.0 times the smallest and the largest value, by
the squared error of all values themselves; what others lose against it is given in dB of signal-to-noise ratio.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

import qsimc
from qsimc.calibrate.encoding import Encoding, Numerics
from qsimc.calibrate.jointly import encode_all
from qsimc.calibrate.observer import Observer
from qsimc.calibrate.observers import observer_for
from qsimc.calibrate.ranges import encode_range
from qsimc.ir.quant import Calib, QuantSpec
from qsimc.planning.plan import Kind

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CHECKOUT))

CASES = ("classifier", "sentence")
SAMPLES, BATCH = 16, 4
FRACTIONS = np.linspace(0.3, 1.0, 36)
BITS = (8, 4)
EXACT = 1e-12
"""A squared error, as a share of the power, below which a grid holds the data exactly and has no ratio to lose."""

DRAWS: tuple[Callable[[np.random.Generator, int], NDArray[np.float64]], ...] = (
    lambda rng, n: rng.normal(size=n),
    lambda rng, n: np.maximum(rng.normal(size=n), 0),
    lambda rng, n: rng.standard_t(3, size=n),
    lambda rng, n: rng.laplace(size=n) * 10 ** rng.uniform(-3, 3),
)


def spec(calib: Calib, bits: int = 8, symmetric: bool = False) -> QuantSpec:
    return QuantSpec(calib=calib, bits=bits, symmetric=symmetric, percentile=99.99)


def observed(shapes: Sequence[int], numerics: Numerics, calib: Calib) -> list[Observer]:
    """Return statistics of tensors with so many channels each, of several kinds of data."""
    rng = np.random.default_rng(0)
    found: list[Observer] = []
    for index, channels in enumerate(shapes):
        values = np.stack([DRAWS[(index + c) % len(DRAWS)](rng, 4_000) for c in range(channels)])
        found.append(observer_for(spec(calib), numerics, channels).observe(values.astype(np.float32)))
    return found


def times(tensors: int, runs: int) -> Iterator[dict[str, Any]]:
    """Yield the time of each search: together as a calibration has them, and one tensor after the other."""
    kinds: list[tuple[str, Sequence[int], Numerics, Calib]] = [
        ("tensors", [1] * tensors, "onnx", calib) for calib in (Calib.SQNR, Calib.MSE, Calib.PERCENTILE, Calib.ENTROPY)
    ]
    kinds.append(("channels", [50] * (tensors // 50), "onnx", Calib.SQNR))
    kinds.append(("tensors", [1] * (tensors // 10), "aimet", Calib.SQNR))
    for (what, shapes, numerics, calib), symmetric in product(kinds, (False, True)):
        observers = observed(shapes, numerics, calib)
        asked = [
            (observer, spec(calib, symmetric=symmetric), 0 if what == "channels" else None) for observer in observers
        ]
        taken: dict[str, list[float]] = {"together": [], "alone": []}
        for _ in range(runs):
            for name, run in (("together", lambda a=asked: encode_all(a)), ("alone", lambda a=asked: alone(a))):
                start = time.perf_counter()
                run()
                taken[name].append(time.perf_counter() - start)
        medians = {name: statistics.median(seconds) for name, seconds in taken.items()}
        yield {"numerics": numerics, "calib": calib, "of": what, "many": sum(shapes), "symmetric": symmetric, **medians}


def alone(asked: Sequence[tuple[Observer, QuantSpec, int | None]]) -> None:
    for observer, wanted, axis in asked:
        observer.encoding(wanted, axis)


class Sorted:
    """All values of an activation, in order, so that the squared error of a grid is a few sums."""

    def __init__(self, values: NDArray[np.float32]) -> None:
        self.values = np.sort(values)
        self.sums = np.append(0.0, np.cumsum(self.values, dtype=np.float64))
        self.power = float(np.square(self.values, dtype=np.float64).sum())
        self.low, self.high = min(float(self.values[0]), 0.0), max(float(self.values[-1]), 0.0)

    def squared_errors(self, encoding: Encoding) -> NDArray[np.float64]:
        """Return the squared error of each of an encoding's grids, in exact arithmetic, shape (C,)."""
        integers = np.arange(encoding.qmin, encoding.qmax + 1)
        levels = (integers - encoding.zero_point[:, None]) * encoding.scale[:, None]
        between = np.searchsorted(self.values, ((levels[:, 1:] + levels[:, :-1]) / 2).astype(np.float32))
        cuts = np.pad(between, ((0, 0), (1, 1)), constant_values=(0, len(self.values)))
        cuts[:, 0] = 0
        terms = np.diff(cuts) * np.square(levels) - 2 * levels * np.diff(self.sums[cuts])
        return np.asarray(self.power + terms.sum(axis=1))

    def best(self, bits: int) -> float:
        """Return the least squared error of all ranges that are tried."""
        lows, highs = (ends.ravel() for ends in np.meshgrid(self.low * FRACTIONS, self.high * FRACTIONS))
        return float(self.squared_errors(encode_range(lows, highs, spec(Calib.MINMAX, bits), "onnx", 0)).min())


def prepared(root: Path) -> dict[str, tuple[Path, Path]]:
    """Return model and data of each case, made in the environment of `make conformance` unless they are there."""
    found = {case: (root / "work" / case, root / "work" / case / "calibration.npz") for case in CASES}
    if not all(data.is_file() and any(work.glob("*.onnx")) for work, data in found.values()):
        from tests.conformance.run import environment

        python = environment(CHECKOUT / ".conformance" / "venv")
        code = "import sys; from pathlib import Path; from tests.conformance.modules.models import case\n"
        code += "for name in sys.argv[2:]: case(name, Path(sys.argv[1]))"
        command = [str(python), "-W", "ignore", "-c", code, str(root.resolve()), *CASES]
        subprocess.run(command, cwd=CHECKOUT, check=True)
    return {case: (next(work.glob("*.onnx")), data) for case, (work, data) in found.items()}


def activations(path: Path, data: Path, many: int) -> Iterator[tuple[str, list[NDArray[np.float32]]]]:
    """Yield some of the activations that are quantized by default: name and values, batch by batch."""
    plan = qsimc.plan("aimet:default", str(path))
    names = [t.tensor for t in plan.enabled() if t.kind is Kind.ACTIVATION]
    model = onnx.load(path)
    present = {output.name for output in model.graph.output}
    for name in names:
        if name not in present:
            model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    inputs = dict(np.load(data))
    batches = [{n: values[i : i + BATCH] for n, values in inputs.items()} for i in range(0, SAMPLES, BATCH)]
    for name in names[:: max(1, len(names) // many)]:
        yield name, [session.run([name], batch)[0].astype(np.float32).reshape(1, -1) for batch in batches]


def losses(name: str, batches: Sequence[NDArray[np.float32]]) -> Iterator[dict[str, Any]]:
    """Yield what each search loses on one activation, in dB, for each width."""
    values = Sorted(np.concatenate(batches, axis=1)[0])
    kinds: tuple[tuple[str, Numerics, Calib], ...] = (
        ("qsimc sqnr", "onnx", Calib.SQNR),
        ("AIMET tf_enhanced", "aimet", Calib.SQNR),
        ("min-max", "onnx", Calib.MINMAX),
    )
    observers: dict[str, Observer] = {}
    for tool, numerics, calib in kinds:
        observer = observer_for(spec(calib), numerics)
        for batch in batches:
            observer = observer.observe(batch)
        observers[tool] = observer
    for bits in BITS:
        best = values.best(bits)
        if best <= EXACT * values.power:
            continue
        row: dict[str, Any] = {"activation": name, "values": len(values.values), "bits": bits}
        for tool, _, calib in kinds:
            (error,) = values.squared_errors(observers[tool].encoding(spec(calib, bits)))
            row[tool] = float(10 * np.log10(error / best))
        yield row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tensors", type=int, default=1_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--activations", type=int, default=24, help="about how many of each model")
    parser.add_argument("--root", type=Path, default=CHECKOUT / ".conformance", help="where models and data are")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()

    searches = []
    for row in times(arguments.tensors, arguments.runs):
        searches.append(row)
        kind = "symmetric" if row["symmetric"] else "asymmetric"
        what = f"{row['numerics']} {row['calib']}, {row['many']} {row['of']}, {kind}"
        print(f"{what:46} {row['together']:7.3f} s together, {row['alone']:7.3f} s one by one", flush=True)

    rows = []
    for case, (path, data) in prepared(arguments.root).items():
        for name, batches in activations(path, data, arguments.activations):
            rows += [{"model": case, **row} for row in losses(name, batches)]
    for bits, tool in product(BITS, ("qsimc sqnr", "AIMET tf_enhanced", "min-max")):
        lost = [row[tool] for row in rows if row["bits"] == bits]
        print(
            f"{bits} bits, {len(lost)} activations: {tool:18} {statistics.median(lost):6.3f} dB in the median,"
            f" {np.percentile(lost, 90):6.3f} at the 90th percentile, {max(lost):6.3f} at worst"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps({"times": searches, "losses": rows}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
