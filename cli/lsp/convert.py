"""What was found out -> what an editor is sent: diagnostics, symbols, proposals, edits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lsprotocol import types

from ...dsl.diagnostics import Applicability, Code, Diagnostic, Fix, Severity
from ...dsl.explain import FOLDER
from ...dsl.ide.items import Item, ItemKind
from ...dsl.ide.outline import Symbol
from ...dsl.ide.rename import Change
from ...dsl.ide.semantic import MODIFIERS, TYPES, Role
from ...dsl.source import DataPlace, Place
from .positions import Lines

if TYPE_CHECKING:
    from .server import Server

SEVERITIES = {
    Severity.ERROR: types.DiagnosticSeverity.Error,
    Severity.WARNING: types.DiagnosticSeverity.Warning,
}
SYMBOLS: Mapping[str, types.SymbolKind] = {
    "imported file": types.SymbolKind.Namespace,
    "constant": types.SymbolKind.Constant,
    "model": types.SymbolKind.Struct,
    "teacher": types.SymbolKind.Struct,
    "source": types.SymbolKind.File,
    "span": types.SymbolKind.Variable,
    "concept": types.SymbolKind.Class,
    "rule": types.SymbolKind.Function,
    "frame": types.SymbolKind.Interface,
    "used frame": types.SymbolKind.Namespace,
    "curriculum": types.SymbolKind.Event,
    "stage": types.SymbolKind.Event,
    "claim": types.SymbolKind.Boolean,
}
ITEMS: Mapping[ItemKind, types.CompletionItemKind] = {
    "keyword": types.CompletionItemKind.Keyword,
    "attribute": types.CompletionItemKind.Property,
    "word": types.CompletionItemKind.EnumMember,
    "function": types.CompletionItemKind.Function,
    "span": types.CompletionItemKind.Variable,
    "concept": types.CompletionItemKind.Class,
    "rule": types.CompletionItemKind.Method,
    "constant": types.CompletionItemKind.Constant,
    "field": types.CompletionItemKind.Field,
    "file": types.CompletionItemKind.File,
    "folder": types.CompletionItemKind.Folder,
    "value": types.CompletionItemKind.Value,
    "name": types.CompletionItemKind.Module,
}


class Converter:
    """Turns what specs hold into the editor's positions and URIs."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def location(self, place: Place) -> types.Location | None:
        """Where a place is; None for one in what was typed elsewhere."""
        path = place.source.file
        return None if path is None else types.Location(self._server.uri(path), self._range(path, place))

    def diagnostic(self, found: Diagnostic) -> types.Diagnostic:
        """A finding. One about a data file, or about no place, stands at the start of its spec."""
        related = [
            types.DiagnosticRelatedInformation(where, note.message)
            for note in found.related
            if (where := self.location(note.place)) is not None
        ]
        where = self.location(found.place) if isinstance(found.place, Place) else None
        message = found.message
        if isinstance(found.place, DataPlace):
            message = f"{found.place.path}: {message}"
        if found.help is not None:
            message = f"{message}\nhelp: {found.help}"
        return types.Diagnostic(
            range=where.range if where is not None else types.Range(types.Position(0, 0), types.Position(0, 0)),
            message=message,
            severity=SEVERITIES[found.severity],
            code=found.code.id,
            code_description=_page(found.code),
            source="mcd",
            related_information=related or None,
        )

    def action(self, found: Diagnostic, fix: Fix) -> types.CodeAction | None:
        """A fix of a finding; None where it changes what is no file."""
        edits: dict[str, list[types.TextEdit]] = {}
        for edit in fix.edits:
            where = self.location(edit.place)
            if where is None:
                return None
            edits.setdefault(where.uri, []).append(types.TextEdit(where.range, edit.text))
        return types.CodeAction(
            title=fix.title,
            kind=types.CodeActionKind.QuickFix,
            diagnostics=[self.diagnostic(found)],
            is_preferred=fix.applicability is Applicability.CERTAIN,
            edit=types.WorkspaceEdit(changes=edits),
        )

    def changes(self, changes: Mapping[Path, Sequence[Change]]) -> types.WorkspaceEdit:
        """Changes of several files."""
        edits = {}
        for path, some in changes.items():
            lines = self._server.lines(path)
            edits[self._server.uri(path)] = [types.TextEdit(lines.range(one.start, one.end), one.text) for one in some]
        return types.WorkspaceEdit(changes=edits)

    def _range(self, path: Path, place: Place) -> types.Range:
        return self._server.lines(path).range(place.start, place.end)


def _page(code: Code) -> types.CodeDescription | None:
    """Where an editor finds what a code means: the page that `mcd explain` shows."""
    page = FOLDER / f"{code.id}.md"
    return types.CodeDescription(page.as_uri()) if page.is_file() else None


def symbol(found: Symbol, lines: Lines) -> types.DocumentSymbol:
    """A declaration of the outline."""
    return types.DocumentSymbol(
        name=found.name,
        kind=SYMBOLS[found.noun],
        detail=found.noun,
        range=lines.range(found.place.start, found.place.end),
        selection_range=lines.range(found.name_place.start, found.name_place.end),
        children=[symbol(child, lines) for child in found.children] or None,
    )


def proposal(item: Item, replaced: types.Range) -> types.CompletionItem:
    """A completion, which stands for the range `replaced`."""
    return types.CompletionItem(
        label=item.label,
        kind=ITEMS[item.kind],
        detail=item.detail or None,
        documentation=types.MarkupContent(types.MarkupKind.Markdown, item.doc) if item.doc else None,
        sort_text=f"{item.rank}{item.label}",
        filter_text=item.label,
        text_edit=types.TextEdit(replaced, item.text or item.label),
    )


def tokens(roles: Iterable[Role], lines: Lines) -> list[int]:
    """Roles as the protocol packs them: five numbers each, line and column relative to the one before."""
    data: list[int] = []
    line = column = 0
    for role in roles:
        start, end = lines.position(role.start), lines.position(role.end)
        modifiers = sum(1 << MODIFIERS.index(name) for name in role.modifiers)
        moved = start.line - line
        data += [moved, start.character - (0 if moved else column), end.character - start.character]
        data += [TYPES.index(role.type), modifiers]
        line, column = start.line, start.character
    return data
