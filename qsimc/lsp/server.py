"""The server: each request of an editor is one function of the text it has open."""

from __future__ import annotations

from lsprotocol import types
from pygls.lsp.server import LanguageServer

from qsimc.lsp import findings
from qsimc.lsp.completion import completions
from qsimc.lsp.definition import definition
from qsimc.lsp.hover import hover
from qsimc.lsp.positions import View
from qsimc.version import VERSION


def language_server() -> LanguageServer:
    """Return a server that is ready to be started."""
    server = LanguageServer("qsimc", VERSION, text_document_sync_kind=types.TextDocumentSyncKind.Full)
    server.feature(types.TEXT_DOCUMENT_DID_OPEN)(_opened)
    server.feature(types.TEXT_DOCUMENT_DID_CHANGE)(_changed)
    server.feature(types.TEXT_DOCUMENT_DID_CLOSE)(_closed)
    server.feature(types.TEXT_DOCUMENT_HOVER)(_hover)
    server.feature(types.TEXT_DOCUMENT_DEFINITION)(_definition)
    server.feature(types.TEXT_DOCUMENT_COMPLETION, types.CompletionOptions(trigger_characters=[*'"@[=']))(_completions)
    server.feature(
        types.TEXT_DOCUMENT_CODE_ACTION, types.CodeActionOptions(code_action_kinds=[types.CodeActionKind.QuickFix])
    )(_actions)
    return server


def _opened(server: LanguageServer, params: types.DidOpenTextDocumentParams) -> None:
    _publish(server, params.text_document.uri)


def _changed(server: LanguageServer, params: types.DidChangeTextDocumentParams) -> None:
    _publish(server, params.text_document.uri)


def _closed(server: LanguageServer, params: types.DidCloseTextDocumentParams) -> None:
    """Take the findings back: nobody would correct them once the text has changed elsewhere."""
    server.text_document_publish_diagnostics(types.PublishDiagnosticsParams(params.text_document.uri, []))


def _hover(server: LanguageServer, params: types.HoverParams) -> types.Hover | None:
    return hover(_view(server, params.text_document.uri), params.position)


def _definition(server: LanguageServer, params: types.DefinitionParams) -> list[types.Location]:
    return definition(_view(server, params.text_document.uri), params.position)


def _completions(server: LanguageServer, params: types.CompletionParams) -> list[types.CompletionItem]:
    return completions(_view(server, params.text_document.uri), params.position)


def _actions(server: LanguageServer, params: types.CodeActionParams) -> list[types.CodeAction]:
    only = params.context.only
    if only is not None and types.CodeActionKind.QuickFix not in only:
        return []
    return findings.actions(_view(server, params.text_document.uri), params.range)


def _publish(server: LanguageServer, uri: str) -> None:
    version = server.workspace.get_text_document(uri).version
    found = findings.diagnostics(_view(server, uri))
    server.text_document_publish_diagnostics(types.PublishDiagnosticsParams(uri, found, version))


def _view(server: LanguageServer, uri: str) -> View:
    document = server.workspace.get_text_document(uri)
    encoding = server.workspace.position_encoding or types.PositionEncodingKind.Utf16
    return View(uri, document.path, document.source, encoding)
