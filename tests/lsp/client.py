"""An editor: pygls' own client, which talks to `mcd lsp` over its standard streams, and what a test asks of it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from lsprotocol import types
from pygls.lsp.client import LanguageClient

ROOT = Path(__file__).parents[2]
SERVER = "import mcd.cli.main; mcd.cli.main.main()"
T = TypeVar("T")
WAIT = 20


class Editor:
    """A server process, and the documents that are open in it. Columns are counted in `encoding`, its first choice."""

    def __init__(self, encoding: str = "utf-16", **options: Any) -> None:
        self.loop = asyncio.new_event_loop()
        self.client = LanguageClient("test", "1")
        self.texts: dict[str, str] = {}
        self.version = 0
        self.versions: dict[str, int] = {}
        self.findings: dict[str, list[types.Diagnostic]] = {}
        self.heard: list[types.PublishDiagnosticsParams] = []
        self.shown: list[str] = []
        self.logged: list[str] = []
        self.arrived = asyncio.Condition()
        self._listen()
        self.capabilities = self.run(self._start(encoding, options))

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(asyncio.wait_for(coroutine, WAIT))

    def _listen(self) -> None:
        @self.client.feature(types.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)
        async def published(params: types.PublishDiagnosticsParams) -> None:
            async with self.arrived:
                self.findings[params.uri] = list(params.diagnostics)
                self.heard.append(params)
                self.arrived.notify_all()

        @self.client.feature(types.WINDOW_SHOW_MESSAGE)
        async def show(params: types.ShowMessageParams) -> None:
            async with self.arrived:
                self.shown.append(params.message)
                self.arrived.notify_all()

        @self.client.feature(types.WINDOW_LOG_MESSAGE)
        def log(params: types.LogMessageParams) -> None:
            self.logged.append(params.message)

    async def _start(self, encoding: str, options: dict[str, Any]) -> types.ServerCapabilities:
        await self.client.start_io(sys.executable, "-c", SERVER, "lsp", env=dict(os.environ))
        general = types.GeneralClientCapabilities(position_encodings=[types.PositionEncodingKind(encoding)])
        capabilities = types.ClientCapabilities(general=general)
        params = types.InitializeParams(capabilities=capabilities, initialization_options={"debounce": 20, **options})
        result = await self.client.initialize_async(params)
        self.client.initialized(types.InitializedParams())
        return result.capabilities

    def stop(self) -> int | None:
        """Shut the server down, and give its exit code."""

        async def leave() -> int | None:
            await self.client.shutdown_async(None)
            self.client.exit(None)
            process = self.client._server
            return await process.wait()

        code = self.run(leave())
        self.run(self.client.stop())
        self.loop.close()
        return code

    # --- documents

    def open(self, path: Path, text: str | None = None) -> str:
        """Open a file with a text, its own on the disk where none is given, and wait for its findings."""
        uri = path.as_uri()
        self.texts[uri] = path.read_text("utf-8") if text is None else text
        self.version += 1
        self.versions[uri] = self.version
        item = types.TextDocumentItem(uri, "mcd", self.version, self.texts[uri])
        self.client.text_document_did_open(types.DidOpenTextDocumentParams(item))
        self.settle(uri)
        return uri

    def edit(self, uri: str, old: str, new: str, wait: bool = True) -> None:
        """Replace the first `old` in a document, as an editor sends it: the range and the new text."""
        text = self.texts[uri]
        start = text.index(old)
        change = types.TextDocumentContentChangePartial(
            types.Range(self.position(uri, start), self.position(uri, start + len(old))), new
        )
        self.texts[uri] = text[:start] + new + text[start + len(old) :]
        self.version += 1
        self.versions[uri] = self.version
        document = types.VersionedTextDocumentIdentifier(self.versions[uri], uri)
        self.client.text_document_did_change(types.DidChangeTextDocumentParams(document, [change]))
        if wait:
            self.settle(uri)

    def settle(self, uri: str) -> None:
        """Wait for the findings of the text as it stands."""
        self.run(self._until(uri, self.versions[uri]))

    def close(self, uri: str) -> None:
        self.client.text_document_did_close(types.DidCloseTextDocumentParams(types.TextDocumentIdentifier(uri)))
        del self.texts[uri]

    async def _until(self, uri: str, version: int) -> None:
        await self.until(lambda: any(one.uri == uri and one.version == version for one in self.heard))

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait for the server to send what makes `holds` true."""
        async with self.arrived:
            await self.arrived.wait_for(holds)

    def codes(self, uri: str, *, warnings: bool = True) -> list[str]:
        """The codes of what is found in a document, with the underlined text."""
        found = [
            each for each in self.findings.get(uri, []) if warnings or each.severity is types.DiagnosticSeverity.Error
        ]
        return [f"{each.code} {self.text(uri, each.range)}".strip() for each in found]

    def errors(self, uri: str) -> list[str]:
        """The same without warnings."""
        return self.codes(uri, warnings=False)

    # --- positions, in UTF-16 units unless the server was asked for others

    def position(self, uri: str, offset: int) -> types.Position:
        before = self.texts[uri][:offset]
        line = before.rpartition("\n")[2]
        return types.Position(before.count("\n"), self.units(line))

    def units(self, text: str) -> int:
        match str(getattr(self, "capabilities", None) and self.capabilities.position_encoding):
            case "utf-8" | "PositionEncodingKind.Utf8":
                return len(text.encode())
            case "utf-32" | "PositionEncodingKind.Utf32":
                return len(text)
        return len(text.encode("utf-16-le")) // 2

    def offset(self, uri: str, position: types.Position) -> int:
        lines = self.texts[uri].split("\n")
        line, count = lines[position.line], 0
        while self.units(line[:count]) < position.character:
            count += 1
        return sum(len(each) + 1 for each in lines[: position.line]) + count

    def text(self, uri: str, range: types.Range) -> str:
        return self.texts[uri][self.offset(uri, range.start) : self.offset(uri, range.end)]

    def at(self, uri: str, marked: str) -> dict[str, Any]:
        """The document and the position of `|` in `marked`, whose text without it is in the document."""
        before, _, after = marked.partition("|")
        offset = self.texts[uri].index(before + after) + len(before)
        return {"text_document": types.TextDocumentIdentifier(uri), "position": self.position(uri, offset)}

    # --- requests

    def hover(self, uri: str, marked: str) -> str | None:
        found = self.run(self.client.text_document_hover_async(types.HoverParams(**self.at(uri, marked))))
        return None if found is None else found.contents.value

    def complete(self, uri: str, marked: str) -> dict[str, types.CompletionItem]:
        """Proposals by their labels."""
        before, _, after = marked.partition("|")
        return self.complete_at(uri, self.texts[uri].index(before + after) + len(before))

    def complete_at(self, uri: str, offset: int) -> dict[str, types.CompletionItem]:
        params = types.CompletionParams(types.TextDocumentIdentifier(uri), self.position(uri, offset))
        found = self.run(self.client.text_document_completion_async(params))
        return {item.label: item for item in found.items}

    def definition(self, uri: str, marked: str) -> tuple[str, str] | None:
        """The name of the file and the text of the line that a name leads to, from the column on."""
        params = types.DefinitionParams(**self.at(uri, marked))
        found = self.run(self.client.text_document_definition_async(params))
        if found is None:
            return None
        path = Path.from_uri(found.uri) if hasattr(Path, "from_uri") else Path(found.uri.removeprefix("file://"))
        text = self.texts.get(found.uri) or path.read_text("utf-8")
        return path.name, text.split("\n")[found.range.start.line][found.range.start.character :]

    def references(self, uri: str, marked: str, declaration: bool = True) -> list[str]:
        context = types.ReferenceContext(declaration)
        params = types.ReferenceParams(context, **self.at(uri, marked))
        found = self.run(self.client.text_document_references_async(params)) or []
        return [f"{Path(each.uri).name}:{each.range.start.line + 1}:{each.range.start.character + 1}" for each in found]

    def rename(self, uri: str, marked: str, name: str) -> dict[str, str]:
        """The texts of the files after a rename, by name of the file."""
        params = types.RenameParams(new_name=name, **self.at(uri, marked))
        found = self.run(self.client.text_document_rename_async(params))
        return {Path(one).name: self.applied(one, edits) for one, edits in found.changes.items()}

    def applied(self, uri: str, edits: list[types.TextEdit]) -> str:
        """The text of a document after edits."""
        if uri not in self.texts:
            self.texts[uri] = Path(uri.removeprefix("file://")).read_text("utf-8")
        text = self.texts[uri]
        for edit in sorted(edits, key=lambda edit: (edit.range.start.line, edit.range.start.character), reverse=True):
            start, end = self.offset(uri, edit.range.start), self.offset(uri, edit.range.end)
            text = text[:start] + edit.new_text + text[end:]
        return text

    def prepare_rename(self, uri: str, marked: str) -> tuple[str, str]:
        """The text of the range that would be renamed, and the placeholder."""
        params = types.PrepareRenameParams(**self.at(uri, marked))
        found = self.run(self.client.text_document_prepare_rename_async(params))
        return self.text(uri, found.range), found.placeholder

    def format(self, uri: str) -> str | None:
        """The text of a document once formatted; None where there is no answer."""
        options = types.FormattingOptions(2, True)
        params = types.DocumentFormattingParams(types.TextDocumentIdentifier(uri), options)
        edits = self.run(self.client.text_document_formatting_async(params))
        return None if edits is None else self.applied(uri, list(edits))

    def roles(self, uri: str) -> set[tuple[str, str]]:
        """The text of each semantic token with its type and modifiers."""
        params = types.SemanticTokensParams(types.TextDocumentIdentifier(uri))
        data = self.run(self.client.text_document_semantic_tokens_full_async(params)).data
        legend = self.capabilities.semantic_tokens_provider.legend
        found, line, column = set(), 0, 0
        for lines, columns, length, kind, bits in zip(*[iter(data)] * 5, strict=True):
            line, column = line + lines, columns if lines else column + columns
            place = types.Range(types.Position(line, column), types.Position(line, column + length))
            modifiers = [name for at, name in enumerate(legend.token_modifiers) if bits >> at & 1]
            found.add((self.text(uri, place), " ".join([legend.token_types[kind], *modifiers])))
        return found

    def actions(self, uri: str, marked: str) -> list[types.CodeAction]:
        """The fixes that are offered at a cursor."""
        where = self.at(uri, marked)["position"]
        params = types.CodeActionParams(
            types.TextDocumentIdentifier(uri), types.Range(where, where), types.CodeActionContext([])
        )
        return list(self.run(self.client.text_document_code_action_async(params)) or ())
