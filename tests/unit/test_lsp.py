"""The language server, as an editor talks to it: over the streams of a process of its own."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from lsprotocol import types
from lsprotocol.types import CodeActionKind, DiagnosticSeverity, Position, PositionEncodingKind, Range
from pygls.lsp.client import LanguageClient
from pygls.uris import to_fs_path

from qsimc import explain, resources
from qsimc.formats import builtin
from qsimc.formats.qsim import DIALECTS
from qsimc.lsp import choices, statements
from qsimc.lsp.completion import completions
from qsimc.lsp.cursor import locate
from qsimc.lsp.definition import definition
from qsimc.lsp.findings import diagnostics
from qsimc.lsp.hover import hover
from qsimc.lsp.positions import View, offset, position

SERVER = ("-c", "import sys; from qsimc.cli import main; sys.argv[1:] = ['lsp']; main()")

AIMET = """{
  "defaults": {"ops": {"is_output_quantized": "True"}, "params": {}},
  "params": {},
  "op_type": {},
  "supergroups": [],
  "model_input": {},
  "model_output": {}
}
"""
MISSPELT = AIMET.replace('"op_type": {}', '"op_type": {"Conv": {"is_symetric": "True"}}')
VITIS = """{
  "target_device": "DPU",
  "quantizable_data_type": ["input"],
  "overall_quantize_config": {"method": "diffs"},
  "layer_quantize_config": []
}
"""


class Editor(LanguageClient):
    """A client that keeps what the server publishes until somebody asks for it."""

    def __init__(self, uri: str) -> None:
        super().__init__("editor", "1")
        self.uri = uri
        self.published: asyncio.Queue[types.PublishDiagnosticsParams | str] = asyncio.Queue()

        def keep(params: types.PublishDiagnosticsParams) -> None:
            self.published.put_nowait(params)

        def fail(params: types.ShowMessageParams) -> None:
            self.published.put_nowait(params.message)

        self.feature(types.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)(keep)
        self.feature(types.WINDOW_SHOW_MESSAGE)(fail)

    async def server_exit(self, server: asyncio.subprocess.Process) -> None:
        """Wake up who waits for what will never come."""
        self.published.put_nowait("the server ended")

    @property
    def document(self) -> types.TextDocumentIdentifier:
        return types.TextDocumentIdentifier(self.uri)

    async def open(self, text: str) -> list[types.Diagnostic]:
        item = types.TextDocumentItem(self.uri, "json", 1, text)
        self.text_document_did_open(types.DidOpenTextDocumentParams(item))
        return await self.findings()

    async def change(self, text: str) -> list[types.Diagnostic]:
        whole = types.TextDocumentContentChangeWholeDocument(text)
        version = types.VersionedTextDocumentIdentifier(2, self.uri)
        self.text_document_did_change(types.DidChangeTextDocumentParams(version, [whole]))
        return await self.findings()

    async def findings(self) -> list[types.Diagnostic]:
        published = await self.published.get()
        assert isinstance(published, types.PublishDiagnosticsParams), published
        assert published.uri == self.uri
        return list(published.diagnostics)

    async def hover(self, place: Position) -> str:
        found = await self.text_document_hover_async(types.HoverParams(self.document, place))
        if found is None:
            return ""
        assert isinstance(found.contents, types.MarkupContent)
        return found.contents.value

    async def complete(self, place: Position) -> dict[str, str]:
        """Return what is offered at a place: what it would write, by its label."""
        found = await self.text_document_completion_async(types.CompletionParams(self.document, place))
        assert isinstance(found, list)
        return {item.label: item.text_edit.new_text for item in found if isinstance(item.text_edit, types.TextEdit)}

    async def definition(self, place: Position) -> list[types.Location]:
        found = await self.text_document_definition_async(types.DefinitionParams(self.document, place))
        assert isinstance(found, list)
        return [location for location in found if isinstance(location, types.Location)]

    async def actions(self, within: Range, only: list[CodeActionKind | str] | None = None) -> list[types.CodeAction]:
        params = types.CodeActionParams(self.document, within, types.CodeActionContext([], only))
        found = await self.text_document_code_action_async(params)
        return [action for action in found or () if isinstance(action, types.CodeAction)]


Act = Callable[[Editor], Awaitable[None]]
Session = Callable[..., None]


@pytest.fixture
def session(tmp_path: Path) -> Session:
    """Run what a test does in an editor, between the server's start and its end."""

    def run(act: Act, file: str = "config.json", encodings: list[PositionEncodingKind | str] | None = None) -> None:
        asyncio.run(_session(act, (tmp_path / file).as_uri(), encodings))

    return run


async def _session(act: Act, uri: str, encodings: list[PositionEncodingKind | str] | None) -> None:
    editor = Editor(uri)
    await editor.start_io(sys.executable, *SERVER)
    general = types.GeneralClientCapabilities(position_encodings=encodings)
    started = await editor.initialize_async(types.InitializeParams(types.ClientCapabilities(general=general)))
    assert started.capabilities.position_encoding == (encodings or [PositionEncodingKind.Utf16])[0]
    editor.initialized(types.InitializedParams())
    try:
        await act(editor)
    finally:
        await editor.shutdown_async(None)
        editor.exit(None)
        await editor.stop()  # type: ignore[no-untyped-call]


def span_of(text: str, part: str) -> Range:
    view = View("", "", text)
    at = text.index(part)
    return Range(position(view, at), position(view, at + len(part)))


def edited(text: str, edits: list[types.TextEdit]) -> str:
    """Return a text after edits, as an editor makes them."""
    view = View("", "", text)
    for edit in sorted(edits, key=lambda e: (e.range.start.line, e.range.start.character), reverse=True):
        text = text[: offset(view, edit.range.start)] + edit.new_text + text[offset(view, edit.range.end) :]
    return text


# ── findings ─────────────────────────────────────────────────────────────────────────────────


def test_what_is_wrong_is_published_and_taken_back(session: Session) -> None:
    async def act(editor: Editor) -> None:
        (found,) = await editor.open(MISSPELT)
        assert (found.code, found.source, found.severity) == ("Q0201", "qsimc", DiagnosticSeverity.Error)
        assert found.range == span_of(MISSPELT, '"is_symetric"')
        assert "help: did you mean `is_symmetric`?" in found.message
        assert await editor.change(AIMET) == []

    session(act)


def test_closing_a_text_takes_its_findings_back(session: Session) -> None:
    async def act(editor: Editor) -> None:
        assert await editor.open(MISSPELT)
        editor.text_document_did_close(types.DidCloseTextDocumentParams(editor.document))
        assert await editor.findings() == []

    session(act)


@pytest.mark.parametrize(
    ("encodings", "column"),
    [
        (None, 25),  # UTF-16 where the editor does not say
        ([PositionEncodingKind.Utf16], 25),
        ([PositionEncodingKind.Utf8], 28),
        ([PositionEncodingKind.Utf32], 24),
    ],
)
def test_columns_count_what_was_agreed(
    session: Session, encodings: list[PositionEncodingKind | str] | None, column: int
) -> None:
    text = AIMET.replace('"params": {},\n', '"params": {"é😀": {}}, "x": 1,\n')

    async def act(editor: Editor) -> None:
        found = {str(d.code): d for d in await editor.open(text)}
        assert found["Q0201"].range == Range(Position(2, column), Position(2, column + 3))

    session(act, encodings=encodings)


def test_broken_json_is_a_finding(session: Session) -> None:
    async def act(editor: Editor) -> None:
        await editor.open(AIMET)
        for text in ('{"defaults": {', '{"defaults": {"ops" "x"}}', '{"', "{'a': 1}", '{"\ud83d}', "{" * 99):
            (found,) = await editor.change(text)
            assert found.code in ("Q0102", "Q0104")  # nested too deep
        assert await editor.change(AIMET) == []

    session(act)


def test_other_places_of_a_finding_are_related(session: Session) -> None:
    text = AIMET.replace('"params": {},\n', '"params": {}, "params": {},\n')

    async def act(editor: Editor) -> None:
        (found,) = await editor.open(text)
        (other,) = found.related_information or ()
        assert (other.location.uri, other.message) == (editor.uri, "this one is lost")
        assert other.location.range == Range(Position(2, 2), Position(2, 10))

    session(act)


def test_qsim_files_are_checked_too(session: Session) -> None:
    async def act(editor: Editor) -> None:
        (found,) = await editor.open("Conv: bits=8 symetric\n")
        assert (found.code, found.range) == ("Q0201", Range(Position(0, 13), Position(0, 21)))
        (fix,) = await editor.actions(found.range)
        assert "symmetric" in fix.title

    session(act, "config.qsim")


def test_findings_in_another_file_are_shown_at_the_top(session: Session, tmp_path: Path) -> None:
    (tmp_path / "base.qsim").write_text("Conv: symetric\n")

    async def act(editor: Editor) -> None:
        (found,) = await editor.open('extends "base.qsim"\n')
        assert (found.code, found.range) == ("Q0201", Range(Position(0, 0), Position(0, 0)))
        (other,) = found.related_information or ()
        assert other.location == types.Location(
            (tmp_path / "base.qsim").as_uri(), Range(Position(0, 6), Position(0, 14))
        )
        assert await editor.actions(found.range) == []

    session(act, "config.qsim")


# ── hover ────────────────────────────────────────────────────────────────────────────────────


def test_a_finding_is_explained_under_the_mouse(session: Session) -> None:
    async def act(editor: Editor) -> None:
        (found,) = await editor.open(MISSPELT)
        assert await editor.hover(found.range.start) == explain.explain("Q0201").text

    session(act)


def test_a_key_is_described_under_the_mouse(session: Session) -> None:
    async def act(editor: Editor) -> None:
        await editor.open(AIMET)
        assert "whether the tensor is quantized" in await editor.hover(span_of(AIMET, "is_output_quantized").start)

    session(act)


@pytest.mark.parametrize(
    ("text", "part", "said"),
    [
        (AIMET, "is_output_quantized", ("whether the tensor is quantized", "tensors: `output`", 'values: `"True"`')),
        (AIMET, "model_input", ("a section of the AIMET", "keys: `is_input_quantized`")),
        (VITIS, "method", ("how the range is estimated", 'values: `"maxmin"`')),
        (VITIS, "target_device", ("the hardware", '`"FLEXML"`')),
        (VITIS, "layer_quantize_config", ("an array of the Vitis AI configuration",)),
        ('{"op_type": {"Conv": {}}', "Conv", ("the rules of one operator type",)),
    ],
)
def test_a_description_says_what_a_key_means(text: str, part: str, said: tuple[str, ...]) -> None:
    found = hover(View("", "", text), span_of(text, part).start)
    assert found is not None
    assert found.range == span_of(text, f'"{part}"')
    assert all(words in str(found.contents) for words in said)


@pytest.mark.parametrize(("text", "part"), [(AIMET, "True"), ("[1]", "1"), ('{"target_device": "DPU", "x" 1', "DPU")])
def test_what_is_no_key_is_not_described(text: str, part: str) -> None:
    assert hover(View("", "", text), span_of(text, part).start) is None


# ── completion ───────────────────────────────────────────────────────────────────────────────


def test_keys_and_values_are_offered_while_one_types(session: Session) -> None:
    async def act(editor: Editor) -> None:
        await editor.open('{"défaut": 1, "defaults": {"ops": {"')
        assert (await editor.complete(Position(0, 37)))["is_symmetric"] == '"is_symmetric": '
        await editor.change('{"overall_quantize_config": {"method": }')
        assert set(await editor.complete(Position(0, 39))) == {"maxmin", "entropy", "mse", "percentile", "diffs"}

    session(act)


def chosen(marked: str, path: str = "") -> dict[str, str]:
    """Return what a text becomes by each completion offered at its `¦`, by label."""
    text = marked.replace("¦", "")
    view = View("", path, text)
    found = completions(view, position(view, marked.index("¦")))
    return {item.label: edited(text, [edit]) for item in found if isinstance(edit := item.text_edit, types.TextEdit)}


@pytest.mark.parametrize(
    ("before", "label", "after"),
    [
        ('{"model_input": {¦}}', "is_input_quantized", '{"model_input": {"is_input_quantized": }}'),
        ('{"model_input": {"¦"}}', "is_input_quantized", '{"model_input": {"is_input_quantized": }}'),
        ('{"model_input": {"is_¦": "True"}}', "is_input_quantized", '{"model_input": {"is_input_quantized": "True"}}'),
        ('{"model_input": {"is_¦, "x": 1}}', "is_input_quantized", '{"model_input": {"is_input_quantized": , "x": 1}}'),
        ('{"model_input": {"is_input_quantized": "¦"}}', "True", '{"model_input": {"is_input_quantized": "True"}}'),
        ('{"op_type": {"¦', "Conv", '{"op_type": {"Conv": '),
        ('{"op_type": {"Conv": {"is_¦', "is_symmetric", '{"op_type": {"Conv": {"is_symmetric": '),
        ('{"op_type": {}, "params": {"¦"}}', "weight", '{"op_type": {}, "params": {"weight": }}'),
        ('{"supergroups": [{"op_list": ["Conv", "¦"]}]}', "Relu", '{"supergroups": [{"op_list": ["Conv", "Relu"]}]}'),
        ('{"defaults": {"hw_version": ¦}}', "V73", '{"defaults": {"hw_version": "V73"}}'),
        ('{"defaults": {"supported_kernels": [{¦}]}}', "param", '{"defaults": {"supported_kernels": [{"param": }]}}'),
        ('{"target_device": "¦"}', "DPU", '{"target_device": "DPU"}'),
        (
            '{"overall_quantize_config": {"method": "d¦", "bit_width": 8}}',
            "diffs",
            '{"overall_quantize_config": {"method": "diffs", "bit_width": 8}}',
        ),
        ('{"overall_quantize_config": {"symmetry": t¦}}', "true", '{"overall_quantize_config": {"symmetry": true}}'),
        (
            '{"layer_quantize_config": [{"layer_type": "¦"}]}',
            "Conv2d",
            '{"layer_quantize_config": [{"layer_type": "Conv2d"}]}',
        ),
        ('{"quantizable_data_type": ["input", ¦]}', "weights", '{"quantizable_data_type": ["input", "weights"]}'),
    ],
)
def test_what_is_chosen_takes_the_place_of_what_is_typed(before: str, label: str, after: str) -> None:
    assert chosen(before)[label] == after


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ('{"defaults": {"ops": {¦}}}', {"is_input_quantized", "is_output_quantized", "is_symmetric"}),
        ('{"defaults": {"ops": {"is_symmetric": "True", ¦}}}', {"is_input_quantized", "is_output_quantized"}),
        ('{"defaults": {"ops": {"is_symmetric": ¦}}}', {"True", "False"}),
        ('{"defaults": {"ops": {"is_output_quantized": ¦}}}', {"True"}),  # AIMET refuses the other
        ('{"quantizable_data_type": [¦]}', {"input", "weights", "bias", "activation"}),
        ('{"defaults": {"nonsense": {¦}}}', set()),
        ('{"nonsense": ¦}', set()),
        ("Conv: ¦", set()),
        ("¦", set()),
    ],
)
def test_only_what_is_legal_is_offered(text: str, labels: set[str]) -> None:
    assert chosen(text).keys() == labels


def test_an_empty_file_may_become_any_vendor_s() -> None:
    assert {"defaults", "op_type", "target_device"} <= chosen("{¦}").keys()


# ── completion in .qsim ──────────────────────────────────────────────────────────────────────


def offered(marked: str) -> dict[str, str]:
    return chosen(marked, "config.qsim")


@pytest.mark.parametrize(
    ("before", "label", "after"),
    [
        ("¦", "require", "require"),
        ("op¦\nConv: on", "option", "option\nConv: on"),
        ("Co¦: bits=8", "Conv", "Conv: bits=8"),
        ("dialect ¦", "vitis", "dialect vitis"),
        ("dialect vitis\nCo¦", "Conv2d", "dialect vitis\nConv2d"),
        ("target vitis-¦", "vitis-dpu", "target vitis-dpu"),
        ("extends ta¦", "target", "extends target"),
        ("extends target ¦", "vitis-default", "extends target vitis-default"),
        ("dialect vitis\noption include_¦", "include_cle", "dialect vitis\noption include_cle="),
        ("extends target vitis-dpu\noption include_cle=¦", "true", "extends target vitis-dpu\noption include_cle=true"),
        (
            "dialect aimet\noption supergroup_passes=(MatmulAdd | ¦)",
            "MaskedSoftmax",
            "dialect aimet\noption supergroup_passes=(MatmulAdd | MaskedSoftmax)",
        ),
        ("Conv[¦]: on", "weight", "Conv[weight]: on"),
        ("Conv[\n  input,\n  ¦", "output", "Conv[\n  input,\n  output"),
        ("Conv -> ¦", "Relu", "Conv -> Relu"),
        ("(Conv | ¦): on", "Gemm", "(Conv | Gemm): on"),
        ("Conv: ¦", "symmetric", "Conv: symmetric"),
        ("Conv: bi¦", "bits", "Conv: bits="),
        ("Conv: bi¦=8", "bits", "Conv: bits=8"),
        ("Conv: on calib=m¦ bits=8", "mse", "Conv: on calib=mse bits=8"),
        ("let a = bits=8\nConv: @¦", "@a", "let a = bits=8\nConv: @a"),
        ("let a = sym¦", "symmetric", "let a = symmetric"),
        ("Conv {\n  ¦\n}", "[weight]", "Conv {\n  [weight]: \n}"),
        ("Conv {\n  we¦: on\n}", "[weight]", "Conv {\n  [weight]: on\n}"),
        ("Conv {\n  [weight]: on\n  [¦", "bias", "Conv {\n  [weight]: on\n  [bias"),
        ("Conv {\n  [weight]: on\n}\nfu¦", "fuse", "Conv {\n  [weight]: on\n}\nfuse"),
        ("fuse Conv -> ¦", "Relu", "fuse Conv -> Relu"),
        ("require mo¦", "model", "require model"),
        ("require *: type == ¦", "int", "require *: type == int"),
        ("require *: type == int => calib in (mse | ¦)", "diffs", "require *: type == int => calib in (mse | diffs)"),
        ("require *: type == int => output.¦", "output.bits", "require *: type == int => output.bits"),
        ("require *: symmetric ¦", "and", "require *: symmetric and"),
        # brackets that nobody closed
        ("Conv[weight: on\nGemm: sym¦", "symmetric", "Conv[weight: on\nGemm: symmetric"),
        ("(Conv\nGemm: sym¦", "symmetric", "(Conv\nGemm: symmetric"),
        ("Conv {\n  [weight]: on\nGemm: on\nRe¦", "Relu", "Conv {\n  [weight]: on\nGemm: on\nRelu"),
    ],
)
def test_a_word_takes_the_place_of_what_is_typed(before: str, label: str, after: str) -> None:
    assert offered(before)[label] == after


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("dialect ¦", {*DIALECTS}),
        ("Conv: unsigned_symmetric=¦", {"true", "false"}),
        ("Conv: reduce=¦", {"modal", "max", "mean", "median"}),
        ("Conv[weight]: @¦", set()),
        ("let a = on\nConv: @¦\nlet b = off", {"@a"}),
        ("dialect aimet\noption hw_version=V73 ¦", {"supergroup_passes"}),
        ("option ¦", set()),  # ONNX has none
        ("let ¦", set()),  # any name will do
        ("let a ¦", set()),
        ("Conv ¦", set()),
        ("Conv: range=0..¦", set()),
        ("Conv: per_group=¦", set()),  # there are too many
        ("# tar¦", set()),
        ('extends "b¦', set()),
        ('"conv¦', set()),
    ],
)
def test_only_what_may_be_said_is_offered(text: str, labels: set[str]) -> None:
    assert offered(text).keys() == labels


@pytest.mark.parametrize(
    ("text", "absent"),
    [
        ("Conv: symmetric ¦", {"symmetric", "asymmetric"}),
        ("Conv: bits=8 ¦", {"bits"}),
        ("Conv[weight, ¦", {"weight"}),
        ("target ¦", {"vitis-default"}),  # a configuration, which may be extended only
        ("Conv: on\n¦", {"bits", "@a"}),
    ],
)
def test_what_is_said_already_or_has_no_place_is_not_offered(text: str, absent: set[str]) -> None:
    labels = offered(text).keys()
    assert labels
    assert not labels & absent


def test_the_dialect_is_that_of_the_file_that_is_extended(tmp_path: Path) -> None:
    (tmp_path / "base.qsim").write_text("dialect vitis\n")
    found = chosen('extends "base.qsim"\noption ¦', str(tmp_path / "config.qsim"))
    assert "include_cle" in found


def test_the_keywords_are_those_of_the_grammar() -> None:
    grammar = resources.read("grammar", "qsim.lark")
    (named,) = re.findall(r"^_statement:((?:.*\n)+?)\n", grammar, re.M)
    assert set(choices.KEYWORDS) == set(re.findall(r"\w+", named)) - {"rule", "block"} | {"model"}


def test_every_place_of_broken_qsim_offers_something_or_nothing() -> None:
    text = 'extends target vitis-dpu\nlet a=on\nConv[weight\n(Conv | "x: @a { [input]: kernels=(a/b\n}: range=..1 ~ `c`'
    for end in range(0, len(text) + 1, 9):
        view = View("", "config.qsim", text[:end])
        for at in range(end + 1):
            found = statements.locate(view.text, at)
            assert found is None or 0 <= found.word.start <= at <= found.word.end <= end
            completions(view, position(view, at))
            definition(view, position(view, at))


# ── definition ───────────────────────────────────────────────────────────────────────────────


def decided(marked: str, path: str = "config.qsim") -> list[str]:
    """Return the texts that an editor goes to from the `¦` of a text."""
    text = marked.replace("¦", "")
    view = View("file:///config", path, text)
    found = definition(view, position(view, marked.index("¦")))
    assert {location.uri for location in found} <= {view.uri}
    return [text[offset(view, found.range.start) : offset(view, found.range.end)] for found in found]


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("Conv: b¦its=8\nConv: bits=4", ["bits=4"]),  # the later
        ("Conv: bits=8\nConv: b¦its=4", ["bits=4"]),  # it wins already
        ("*: b¦its=8\nConv: bits=4\nGemm: bits=2", ["bits=8", "bits=4", "bits=2"]),  # the more specific
        ("Conv[weight]: bits=4\nConv: b¦its=8", ["bits=8", "bits=4"]),
        ("Conv[weight]: b¦its=4\nConv: bits=8", ["bits=4"]),
        ("Conv[act]: b¦its=8\nConv[input]: bits=4\nConv[output]: bits=2", ["bits=4", "bits=2"]),
        ("(Conv | Gemm): b¦its=8\n(Gemm | Relu): bits=4", ["bits=8", "bits=4"]),
        ("Conv: b¦its=8\nConv: type=float16", ["type=float16"]),  # which says its width
        ("model[input]: o¦n\nmodel[input]: off", ["off"]),
        ("C¦onv: on bits=8\nConv: bits=4", ["Conv: on bits=8", "bits=4"]),  # a rule that wins in part
        ("Co¦nv { *: bits=8\n [weight]: bits=4\n }", ["Conv { *: bits=8\n [weight]: bits=4\n }"]),
        ("Conv { *: b¦its=8\n [weight]: bits=4\n }", ["bits=8", "bits=4"]),
        ("Conv { [we¦ight]: bits=4\n }\nConv[weight]: bits=8", ["bits=8"]),
        ("let a = bits=4\nConv: b¦its=8\nConv: @a", ["Conv: @a"]),
        ("let a = b¦its=4\nConv: @a\nConv: bits=8", ["bits=8"]),
        ("let a = on bits=4\nConv: @¦a", ["let a = on bits=4"]),
        ("let a = on\nlet a = off\nConv: @a¦", ["let a = off"]),
        ("Conv: @¦a", []),
        ("dialect vitis\noption include_cle=tr¦ue\noption include_cle=false", ["false"]),
        ("dialect vitis\noption include_cle=tr¦ue", ["true"]),
        ("# Con¦v: on", []),
        ("dia¦lect onnx", []),
    ],
)
def test_the_definition_of_a_setting_is_what_wins_over_it(text: str, places: list[str]) -> None:
    assert decided(text) == places


OVERRULED = """{
  "defaults": {"ops": {"is_output_quantized": "True"}, "params": {"is_symmetric": "True"}},
  "params": {"bias": {"is_symmetric": "False"}},
  "op_type": {"Conv": {"is_output_quantized": "False"}},
  "supergroups": [],
  "model_input": {"is_input_quantized": "True"},
  "model_output": {}
}
"""


@pytest.mark.parametrize(
    ("text", "part", "places"),
    [
        (OVERRULED, "is_output_quantized", ['"True"', '"False"']),
        (OVERRULED, "is_symmetric", ['"True"', '"False"']),
        (OVERRULED, "is_input_quantized", ['"True"']),
        (OVERRULED, "Conv", ['"Conv"']),
        (OVERRULED, "supergroups", []),
        (
            '{"overall_quantize_config": {"bit_width": 8},\n "tensor_quantize_config": {"weights": {"bit_width": 4}}}',
            "bit_width",
            ["8", "4"],
        ),
        ('{"op_type": ', "op_type", []),
    ],
)
def test_the_definition_of_a_key_is_what_wins_over_its_value(text: str, part: str, places: list[str]) -> None:
    at = text.index(part)
    assert decided(f"{text[:at]}¦{text[at:]}", "config.json") == places


def test_an_editor_goes_to_files_and_winners(session: Session, tmp_path: Path) -> None:
    (tmp_path / "base.qsim").write_text("# é😀\nConv: bits=4\n")
    text = 'extends "base.qsim"\ntarget vitis-dpu\n*: bits=8\n'
    start = Range(Position(0, 0), Position(0, 0))

    async def act(editor: Editor) -> None:
        await editor.open(text)
        base = (tmp_path / "base.qsim").as_uri()
        assert await editor.definition(span_of(text, "base").start) == [types.Location(base, start)]
        (target,) = await editor.definition(span_of(text, "dpu").start)
        file = to_fs_path(target.uri)
        assert file is not None
        assert Path(file).read_text() == builtin.source("vitis-dpu").text
        assert await editor.definition(span_of(text, "bits").start) == [
            types.Location(editor.uri, span_of(text, "bits=8")),
            types.Location(base, Range(Position(1, 6), Position(1, 12))),
        ]
        assert await editor.definition(span_of(text, "extends").start) == []

    session(act, "config.qsim")


@pytest.mark.parametrize("text", ['extends "mis¦sing.qsim"', "target ac¦me", "extends target ac¦me", 'extends "bas¦e'])
def test_what_is_not_there_has_no_place(text: str) -> None:
    assert decided(text) == []


# ── fixes ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("wrong", "right", "preferred"),
    [
        ('"is_symetric": "True"', '"is_symmetric": "True"', False),
        ('"is_symmetric": true', '"is_symmetric": "True"', True),
    ],
)
def test_a_fix_is_a_code_action(session: Session, wrong: str, right: str, preferred: bool) -> None:
    text = AIMET.replace('"op_type": {}', '"op_type": {"é😀": {' + wrong + "}}")
    fixed = text.replace(wrong, right)

    async def act(editor: Editor) -> None:
        found = next(d for d in await editor.open(text) if d.severity == DiagnosticSeverity.Error)
        (action,) = await editor.actions(found.range)
        assert (action.kind, action.is_preferred) == (CodeActionKind.QuickFix, preferred)
        assert list(action.diagnostics or ()) == [found]
        assert action.edit is not None
        assert edited(text, list((action.edit.changes or {})[editor.uri])) == fixed
        assert await editor.actions(Range(Position(0, 0), Position(0, 0))) == []
        assert await editor.actions(found.range, only=[CodeActionKind.Refactor]) == []

    session(act)


# ── the pieces ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("text", ["", "a", "a\n", "é😀\r\n\r\nb", "a\rb\n😀"])
@pytest.mark.parametrize("encoding", PositionEncodingKind)
def test_offsets_survive_the_way_to_the_editor(text: str, encoding: PositionEncodingKind) -> None:
    view = View("", "", text, encoding)
    inside = [at for at in range(len(text) + 1) if text[at - 1 : at + 1] != "\r\n"]
    assert [offset(view, position(view, at)) for at in inside] == inside


def test_a_place_behind_the_text_is_its_end() -> None:
    view = View("", "", "ab\ncd")
    assert [offset(view, place) for place in (Position(0, 9), Position(1, 9), Position(9, 0))] == [2, 5, 5]


def test_every_place_of_a_broken_text_can_be_located() -> None:
    for text in (AIMET, VITIS, '{"a": [{"b": "x, "c": [}]]}} /* {', "{// x\n", '{"a\\"b": 1'):
        for end in range(len(text) + 1):
            for at in range(end + 1):
                found = locate(text[:end], at)
                assert found is None or 0 <= found.start <= at <= found.end <= end


# ── the command ──────────────────────────────────────────────────────────────────────────────


def test_without_pygls_the_command_says_what_to_install() -> None:
    command = "import sys; sys.modules['pygls'] = None; from qsimc.cli import run; sys.exit(run(['lsp']))"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "install `qsimc[lsp]`" in done.stderr


def test_checking_alone_loads_no_server() -> None:
    command = "import sys; from qsimc.cli import run; run(['check', 'aimet:default']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    assert not {"pygls", "lsprotocol", "numpy", "onnx", "torch"} & {*done.stdout.split()}


def test_project_settings_hold_in_the_editor_and_may_change(tmp_path: Path) -> None:
    text = '{"defaults": {"ops": {}, "params": {}}, "params": {}, "op_type": {"Konv": {}}, "supergroups": [],'
    text += ' "model_input": {}, "model_output": {}}'
    path = tmp_path / "a.json"
    view = View(path.as_uri(), str(path), text, types.PositionEncodingKind.Utf16)
    assert [d.code for d in diagnostics(view)] == ["Q0206"]
    project = tmp_path / "qsimc.toml"
    project.write_text('ignore = ["Q0206"]', encoding="utf-8")
    assert diagnostics(view) == []
    project.write_text('ignroe = ["Q0206"]', encoding="utf-8")
    assert [d.code for d in diagnostics(view)] == ["Q0110"]
