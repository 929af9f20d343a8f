"""The server: documents as the editor sends them, and findings as they come up.

A document's text is kept here, not by pygls, whose lines end where Unicode says and not where the protocol does. A check
runs when nothing has been typed for a moment, or when a request needs it. What goes wrong is logged and shown, and the server
goes on.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any

from lsprotocol import types
from pygls import uris
from pygls.exceptions import JsonRpcException, JsonRpcInternalError
from pygls.lsp.server import LanguageServer
from pygls.protocol import LanguageServerProtocol, lsp_method

from ...dsl.diagnostics import Diagnostic, Failure
from ...dsl.ide.project import Analysis, Project
from ...version import VERSION
from .convert import Converter
from .positions import Lines, changed, lines

DEBOUNCE = 0.15
"""Seconds without a keystroke before a check."""

log = logging.getLogger(__name__)


class Protocol(LanguageServerProtocol):
    """Leaves documents to the server."""

    @lsp_method(types.TEXT_DOCUMENT_DID_OPEN)
    def lsp_text_document__did_open(self, params: types.DidOpenTextDocumentParams) -> Generator[Any, Any, None]:
        yield self.fm.features[types.TEXT_DOCUMENT_DID_OPEN], (params,), None

    @lsp_method(types.TEXT_DOCUMENT_DID_CHANGE)
    def lsp_text_document__did_change(self, params: types.DidChangeTextDocumentParams) -> Generator[Any, Any, None]:
        yield self.fm.features[types.TEXT_DOCUMENT_DID_CHANGE], (params,), None

    @lsp_method(types.TEXT_DOCUMENT_DID_CLOSE)
    def lsp_text_document__did_close(self, params: types.DidCloseTextDocumentParams) -> Generator[Any, Any, None]:
        yield self.fm.features[types.TEXT_DOCUMENT_DID_CLOSE], (params,), None


class Server(LanguageServer):
    """The specs that an editor has open, and what it was told about them."""

    def __init__(self) -> None:
        super().__init__("mcd", VERSION, protocol_cls=Protocol)
        self.project = Project()
        self.debounce = DEBOUNCE
        self._uris: dict[Path, str] = {}
        self._versions: dict[Path, int] = {}
        self._waiting: dict[Path, asyncio.TimerHandle] = {}
        self._published: dict[Path, list[types.Diagnostic]] = {}

    # --- documents ---

    def opened(self, document: types.TextDocumentItem) -> None:
        """A document is open, and is checked at once."""
        path = self.path(document.uri)
        if path is None:
            return
        self._uris[path] = document.uri
        self._versions[path] = document.version
        self.project.put(path, document.text)
        self.publish(path)

    def changed(self, params: types.DidChangeTextDocumentParams) -> None:
        """A document has changed, and is checked once that has ended."""
        path = self.path(params.text_document.uri)
        text = self.project.documents.text(path) if path is not None else None
        if path is None or text is None:
            return
        for change in params.content_changes:
            text = changed(text, change, self.encoding)
        self.project.put(path, text)
        self._versions[path] = params.text_document.version
        if path in self._waiting:
            self._waiting.pop(path).cancel()
        self._waiting[path] = asyncio.get_running_loop().call_later(self.debounce, self.publish, path)

    def closed(self, uri: str) -> None:
        """A document is closed; findings stay where an open spec has them."""
        path = self.path(uri)
        if path is None:
            return
        self.project.close(path)
        self._uris.pop(path, None)
        self._versions.pop(path, None)
        if path in self._waiting:
            self._waiting.pop(path).cancel()
        self.refresh()

    def refresh(self) -> None:
        """Check every open document anew, and clear what no open spec has."""
        for path in self.project.documents.open:
            self.publish(path)
        kept = {
            file for path in self.project.documents.open for one in self.project.of_file(path) for file in one.paths
        }
        for path in [path for path in self._published if path not in kept]:
            self._send(path, [])
            del self._published[path]

    def path(self, uri: str) -> Path | None:
        """The file that a URI names, symbolic links followed; None for a document that is no file."""
        found = uris.to_fs_path(uri) if uri.startswith("file:") else None
        return Path(found).resolve() if found else None

    def uri(self, path: Path) -> str:
        """The URI of a file: as the editor wrote it, where it has the file open."""
        return self._uris.get(path) or path.as_uri()

    @property
    def encoding(self) -> types.PositionEncodingKind | str:
        """What the editor counts columns in."""
        return self.server_capabilities.position_encoding or types.PositionEncodingKind.Utf16

    def lines(self, path: Path) -> Lines:
        """The lines of a file, as it stands."""
        try:
            text = self.project.documents.read(path, path.name).text
        except Failure:
            text = ""
        return lines(text, self.encoding)

    def analysis(self, path: Path) -> Analysis | None:
        """What the check of the first spec that a file belongs to finds out."""
        return next(iter(self.project.of_file(path)), None)

    # --- findings ---

    def publish(self, path: Path) -> None:
        """Check the specs that a file belongs to, and send what is found in each of their files."""
        if path in self._waiting:
            self._waiting.pop(path).cancel()
        try:
            analyses = self.project.of_file(path) or [self.project.analysis(path)]
            changed = {file for analysis in analyses for file in analysis.paths}
            for file, found in self.project.findings(self.project.known(changed)).items():
                self._show(file, found, path)
        except Exception as error:
            self.failed(error)

    def _show(self, file: Path, found: Iterable[Diagnostic], edited: Path) -> None:
        convert = Converter(self)
        shown = [convert.diagnostic(diagnostic) for diagnostic in found]
        if file == edited or self._published.get(file, []) != shown:
            self._send(file, shown)
        self._published[file] = shown

    def _send(self, file: Path, shown: list[types.Diagnostic]) -> None:
        params = types.PublishDiagnosticsParams(self.uri(file), shown, self._versions.get(file))
        self.text_document_publish_diagnostics(params)

    # --- what goes wrong ---

    def failed(self, error: Exception) -> None:
        """Log a bug of ours and show it; the next keystroke may well work."""
        log.error("internal error", exc_info=error)
        told = "".join(traceback.format_exception(error))
        line = " ".join(str(error).split())[:200]
        self.window_log_message(types.LogMessageParams(types.MessageType.Error, told))
        message = f"mcd: internal error (bug): {type(error).__name__}: {line}"
        self.window_show_message(types.ShowMessageParams(types.MessageType.Error, message))

    def report_server_error(self, error: Exception, source: Any) -> None:
        """What pygls caught. A request that was refused has its answer already."""
        if isinstance(error, JsonRpcInternalError) or not isinstance(error, JsonRpcException):
            self.failed(error)
