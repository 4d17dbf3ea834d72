"""A run of `qsimc quantize` finds what vai_q_pytorch 3.5 found: the same quantizers, the same numbers, the same biases.

Recorded by running the original on the same networks, weights and batches, which both of PyTorch's exporters write
here.  What it computed wrongly is left out of the comparison (`_is_spoilt`), since qsimc does not imitate that.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from qsimc.diagnostics import InputError
from qsimc.pipeline.quantize import quantize
from tests.backends.vitis_nets import NETS, export

DATA = Path(__file__).parent.parent / "data"
ORACLE = Path(__file__).parents[3] / "shared/oracle/vitis/resolve"

Case = dict[str, Any]
Exported = Callable[[str, str], Path]

EXPORTERS = ("legacy", "dynamo")

_SCALES_AGREE = 1e-5
_BIASES_AGREE = 1e-6


@cache
def arrays() -> Mapping[str, NDArray[np.float32]]:
    path = ORACLE / "arrays.npz" if ORACLE.is_dir() else DATA / "vitis_resolve.npz"
    with np.load(path) as archive:
        return {name: archive[name] for name in archive.files if name.startswith(("model/", "input/"))}


def committed() -> list[Case]:
    found: list[Case] = json.loads((DATA / "vitis_resolve.json").read_text(encoding="utf-8"))
    return found


def public() -> Iterator[Case]:
    if not ORACLE.is_dir():
        return
    ours = {case["id"] for case in committed()}
    for entry in json.loads((ORACLE / "index.json").read_text(encoding="utf-8")):
        if entry["id"] in ours or entry["calib_status"] != "ok":
            continue
        case = json.loads((ORACLE / f"{entry['id']}.json").read_text(encoding="utf-8"))
        if not _is_spoilt(case):
            yield case


def _is_spoilt(case: Case) -> bool:
    """Say whether the original's integers overflowed, wrapped, or were those of other channels."""
    kinds = {param: node["op_type"] for node in case["nodes"] for param in node["params"].values()}
    for quantizer in case["quantizers"]:
        said = quantizer.get("params") or {}
        per_channel = said.get("granularity") == "per_channel"
        if quantizer.get("bit_width") == 32 or (per_channel and said["symmetric_mode"] != "symmetric"):
            return True
        if per_channel and "transpose" in kinds[quantizer["name"]]:
            return True
    return False


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Return a function that exports a network by name, once by each exporter."""
    folder = tmp_path_factory.mktemp("vitis_nets")

    @cache
    def path_of(name: str, exporter: str) -> Path:
        net = NETS[name]()
        prefix = f"model/{name}/"
        state = {key.removeprefix(prefix): torch.from_numpy(a) for key, a in arrays().items() if key.startswith(prefix)}
        net.load_state_dict(state, strict=False)
        (folder / exporter).mkdir(exist_ok=True)
        path = folder / exporter / f"{name}.onnx"
        return export(net, arrays()[f"input/{name}/0"], path, dynamo=exporter == "dynamo")

    return path_of


def result_of(case: Case, exporter: str, exported: Exported, folder: Path) -> Path:
    """Quantize as the case says, in vendor mode; return the folder of results."""
    config: str | Path = "vitis:default"
    if case["config"] is not None:
        config = folder / "config.json"
        config.write_text(json.dumps(case["config"]), encoding="utf-8")
    batches = [{"x": arrays()[f"input/{case['model']}/{number}"]} for number in range(3)]
    out = folder / "out"
    quantize(config, model=exported(case["model"], exporter), data=batches, out=out, mode="vendor")
    return out


def differences(case: Case, out: Path) -> list[str]:
    """Return what a folder of results says otherwise than the recording."""
    found = json.loads((out / "quant_info.json").read_text(encoding="utf-8"))
    wanted = case["quant_info"]
    wrong = [f"{section}: {[*found[section]]}" for section in _SECTIONS if [*found[section]] != [*wanted[section]]]
    wrong += [
        f"{name}: {ours}, not {theirs}"
        for section in _SECTIONS
        for name, recorded in wanted[section].items()
        for ours, theirs in zip(found[section].get(name, []), recorded, strict=False)
        if not _agree(ours, theirs)
    ]
    if found.get("dtype") != wanted.get("dtype"):
        wrong.append(f"dtype: {found.get('dtype')}")
    return wrong + list(_wrong_biases(case, out))


_SECTIONS = ("param", "output", "input")


def _agree(ours: list[Any], theirs: list[Any]) -> bool:
    """Fix positions and zero points are equal; scales nearly so, since two runtimes add in another order."""
    if len(ours) == 2 or len(ours) != len(theirs):
        return ours == theirs
    close = [np.allclose(ours[place], theirs[place], rtol=_SCALES_AGREE, atol=0) for place in (1, 3)]
    return ours[0] == theirs[0] and all(close) and np.array_equal(ours[2], theirs[2])


def _wrong_biases(case: Case, out: Path) -> Iterator[str]:
    recorded = case.get("bias_corr") or {}
    file = out / "bias_corr.pth"
    if bool(recorded) != file.is_file():
        yield "bias_corr.pth"
        return
    found = torch.load(file, weights_only=True) if recorded else {}
    for layer, values in recorded.items():
        if layer not in found or not np.allclose(found[layer], values, rtol=0, atol=_BIASES_AGREE):
            yield f"bias of {layer}"


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("case", committed(), ids=lambda case: case["id"])
def test_the_results_are_the_original_s(case: Case, exporter: str, exported: Exported, tmp_path: Path) -> None:
    assert differences(case, result_of(case, exporter, exported, tmp_path)) == []


@pytest.mark.slow
@pytest.mark.skipif(not ORACLE.is_dir(), reason="the full recording is not part of the repository")
@pytest.mark.parametrize("exporter", EXPORTERS)
def test_the_results_are_the_original_s_on_every_public_record(
    exporter: str, exported: Exported, tmp_path: Path
) -> None:
    wrong: dict[str, list[str]] = {}
    for case in public():
        folder = tmp_path / case["id"]
        folder.mkdir()
        if found := differences(case, result_of(case, exporter, exported, folder)):
            wrong[case["id"]] = found
    assert wrong == {}


@pytest.mark.slow
@pytest.mark.skipif(not ORACLE.is_dir(), reason="the full recording is not part of the repository")
def test_where_the_original_stops_vendor_mode_says_so(exported: Exported, tmp_path: Path) -> None:
    stopped = [e["id"] for e in json.loads((ORACLE / "index.json").read_text("utf-8")) if e["calib_status"] != "ok"]
    assert stopped
    for name in stopped:
        case = json.loads((ORACLE / f"{name}.json").read_text(encoding="utf-8"))
        folder = tmp_path / name
        folder.mkdir()
        with pytest.raises(InputError) as caught:
            result_of(case, "legacy", exported, folder)
        vendors = [finding.vendor.id for finding in caught.value.findings if finding.vendor is not None]
        assert case["calib_error"]["type"] in vendors
