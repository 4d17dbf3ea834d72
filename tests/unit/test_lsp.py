"""The language server, as an editor talks to it: over the streams of a process of its own."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from lsprotocol import types
from lsprotocol.types import CodeActionKind, DiagnosticSeverity, Position, PositionEncodingKind, Range
from pygls.lsp.client import LanguageClient
from pygls.uris import to_fs_path

from qsimc import explain
from qsimc.formats import builtin
from qsimc.lsp.findings import diagnostics
from qsimc.lsp.positions import View
from tests.unit.editor import AIMET, edited, span_of

SERVER = ("-c", "import sys; from qsimc.cli import main; sys.argv[1:] = ['lsp']; main()")

MISSPELT = AIMET.replace('"op_type": {}', '"op_type": {"Conv": {"is_symetric": "True"}}')


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


# ── completion ───────────────────────────────────────────────────────────────────────────────


def test_keys_and_values_are_offered_while_one_types(session: Session) -> None:
    async def act(editor: Editor) -> None:
        await editor.open('{"défaut": 1, "defaults": {"ops": {"')
        assert (await editor.complete(Position(0, 37)))["is_symmetric"] == '"is_symmetric": '
        await editor.change('{"overall_quantize_config": {"method": }')
        assert set(await editor.complete(Position(0, 39))) == {"maxmin", "entropy", "mse", "percentile", "diffs"}

    session(act)


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
