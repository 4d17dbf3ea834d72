"""The quick way through an encodings file finds what the ordinary way finds, or leaves the file to it."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qsimc.diagnostics import Diagnostic, in_order
from qsimc.encodings import document as documents
from qsimc.encodings import quick, shapes
from qsimc.encodings.document import read_document
from qsimc.encodings.lint import lint
from qsimc.encodings.read import read_file
from qsimc.pipeline import encodings as pipeline
from qsimc.source import Source
from tests.unit.plans import SHARED
from tests.unit.test_encodings_export import MODELS, recorded

NATIVE = {
    "bits": 8,
    "signed": True,
    "symmetric": True,
    "scale": [0.1, 0.25],
    "zero_point": [0, 0],
    "qmin": -128,
    "qmax": 127,
    "min": [-12.8, -32.0],
    "max": [12.7, 31.75],
    "axis": 0,
    "numerics": "onnx",
    "calib": "minmax",
}
OLD = {
    "bitwidth": 8,
    "dtype": "int",
    "is_symmetric": "False",
    "max": 25.2,
    "min": -0.3,
    "offset": -3,
    "scale": 0.1,
}
NEW = {
    "name": "x",
    "bw": 8,
    "dtype": "INT",
    "enc_type": "PER_CHANNEL",
    "is_sym": True,
    "offset": [-128, -128],
    "scale": [0.1, 0.25],
}
ONNX = {"name": "x", "output_dtype": "int8", "y_scale": 0.1, "y_zero_point": -3}
BLOCKS = {"name": "w", "output_dtype": "int4", "axis": 1, "block_size": 2, "y_scale": [[0.1, 0.2], [0.3, 0.4]]}
FILES: list[dict[str, Any]] = [
    {
        "version": "0.6.1",
        "activation_encodings": {"x": [OLD], "h": [{"bitwidth": 16, "dtype": "float"}]},
        "param_encodings": {"w": [OLD, OLD | {"is_symmetric": "False"}]},
        "quantizer_args": {"dtype": "int"},
    },
    {"version": "1.0.0", "activation_encodings": [NEW], "param_encodings": [NEW | {"name": "y"}], "producer": "a"},
    {"version": "2.0.0", "encodings": [ONNX, BLOCKS]},
    {"format_version": "1.0", "encodings": {"x": NATIVE}},
]
ODD: list[Any] = [
    None,
    True,
    0,
    1,
    -3,
    8.0,
    8.5,
    -0.0,
    1e-40,
    2**40,
    2**63,
    10**30,
    "int",
    "INT",
    "True",
    "",
    'x"y',
    ":",
    [],
    {},
]
json_values = st.recursive(
    st.sampled_from(ODD) | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-300, 300) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)  # fmt: skip


def ordinary(content: bytes) -> list[Diagnostic]:
    """Return what is found in a text that is read without the quick way."""
    findings: list[Diagnostic] = []
    document = read_document(Source("f", content.decode("utf-8-sig")), findings.append)
    file = None if document is None else read_file(document, findings.append)
    if document is not None and file is not None:
        findings += lint(document, file)
    return in_order(findings)


def agree(content: bytes) -> None:
    """Hold the two ways to each other, findings with places and findings without."""
    quickly = quick.findings(content, "f")
    assert quickly in (None, [])
    if quickly == []:
        assert ordinary(content) == []
    with pytest.MonkeyPatch.context() as patch:
        for module in (quick, documents):
            patch.setattr(module, "LOCATED_UP_TO", -1)
        quickly = quick.findings(content, "f")
        if quickly is not None:
            assert in_order(quickly) == ordinary(content)


def sound(value: Any) -> bool:
    return quick.findings(json.dumps(value).encode(), "f") == []


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.get("version")))
def test_sound_files_are_seen_to_be_sound(file: dict[str, Any]) -> None:
    agree(json.dumps(file).encode())
    assert sound(file)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("version", ["0.6.1", "1.0.0", "2.0.0"])
def test_a_vendors_file_is_seen_to_be_sound(model: str, version: str) -> None:
    agree(json.dumps(recorded(model)[version], indent=4).encode())
    assert sound(recorded(model)[version])


@pytest.mark.skipif(not SHARED.is_dir(), reason="files of others are not here")
def test_the_ways_agree_on_every_known_file() -> None:
    paths = [
        *(SHARED / "oracle" / "aimet" / "export" / "public").glob("*/*/*.encodings"),
        *(SHARED / "configs" / "others").glob("*/*.json"),
    ]
    assert paths
    for path in paths:
        agree(path.read_bytes())


@pytest.mark.parametrize(
    ("shape", "value"),
    [
        (shapes.entry_0, [OLD]),
        (shapes.entry_0, [OLD, OLD | {"scale": 0.5, "min": -1.5, "max": 126}]),
        (shapes.entry_0, [OLD | {"is_symmetric": False}]),
        (shapes.entry_1, NEW),
        (shapes.entry_1, NEW | {"enc_type": "PER_TENSOR", "is_sym": False, "offset": [-7], "scale": [0.5]}),
        (shapes.entry_2, ONNX),
        (shapes.entry_2, {"name": "x", "output_dtype": "int16", "y_scale": 0.1}),
        (shapes.entry_native, NATIVE),
    ],
)
def test_common_shapes_are_recognized_with_all_their_strings(shape: Any, value: Any) -> None:
    assert shape(value) == quick._strings(value)


@settings(max_examples=500, deadline=None)
@given(st.data())
def test_the_ways_agree_on_damaged_files(data: st.DataObject) -> None:
    value = copy.deepcopy(data.draw(st.sampled_from(FILES)))
    for _ in range(data.draw(st.integers(1, 2))):
        holder = data.draw(st.sampled_from([h for h in _holders(value) if h]))
        step = data.draw(st.sampled_from(list(holder) if isinstance(holder, dict) else list(range(len(holder)))))
        match data.draw(st.integers(0, 3)):
            case 0:
                del holder[step]
            case 1 if isinstance(holder, dict):
                holder[data.draw(st.sampled_from(["extra", "axis", "min", "name"]))] = data.draw(json_values)
            case 2 if isinstance(holder, list):
                holder.append(copy.deepcopy(holder[step]))
            case _:
                holder[step] = data.draw(json_values)
        if not any(_holders(value)):
            break
    agree(json.dumps(value, ensure_ascii=data.draw(st.booleans())).encode("utf-8", "surrogatepass"))


def _holders(value: Any) -> list[Any]:
    inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    return ([value] if isinstance(value, (dict, list)) else []) + [h for item in inner for h in _holders(item)]


REPEATED = [
    '{"version": "2.0.0", "version": "2.0.0", "encodings": []}',
    '{"version": "2.0.0", "version" : "2.0.0", "encodings": []}',
    '{"version": "2.0.0", "encodings": [{"name": "a", "name": ":", "output_dtype": "int8", "y_scale": 0.5}]}',
    '{"version": "2.0.0", "producer": "a\\"\\\\", "producer": "\\\\\\"", "encodings": []}',
    '{"version": "2.0.0", "producer": {"a": 1, "a": 2}, "encodings": []}',
    '{"version": "2.0.0", "\\u0076ersion": "2.0.0", "encodings": []}',
]


@pytest.mark.parametrize("text", REPEATED)
def test_a_key_that_appears_twice_is_not_overlooked(text: str) -> None:
    assert quick.findings(text.encode(), "f") is None
    assert {finding.code for finding in ordinary(text.encode())} == {"Q0103"}


ENTRY = json.dumps(ONNX)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff",
        b"[" * 100_000,
        b"NaN",
        b'{"version": "2.0.0", "encodings": []}}',
        b'{"version": "2.0.0", "encodings": [],}',
        b'{"version": "2.0.0", // why\n"encodings": []}',
        b'{"version": "2.0.0", "producer": "\\ud800", "encodings": []}',
        b'{"version": "2.0.0", "producer": 1e999, "encodings": []}',
        b'{"version": "2.0.0", "producer": 0.' + b"0" * 500 + b'1, "encodings": []}',
        b'{"version": "2.0.0", "producer": ' + b"[" * 70 + b"]" * 70 + b', "encodings": []}',
        f'{{"version": "2.0.0", "encodings": [{ENTRY}, {ENTRY}]}}'.encode(),
        b"TRT-8601-EntropyCalibration2\nx: 3c010a14\n",
    ],
)
def test_what_is_unusual_is_left_to_the_ordinary_way(text: bytes) -> None:
    assert quick.findings(text, "f") is None


@pytest.mark.parametrize("said", [b"\xef\xbb\xbf", b" \n\t\r"])
def test_what_may_stand_before_json_is_no_obstacle(said: bytes, tmp_path: Path) -> None:
    content = said + json.dumps(FILES[1]).encode()
    assert quick.findings(content, "f") == []
    path = tmp_path / "f.encodings"
    path.write_bytes(content)
    assert pipeline.lint(str(path)) == []
