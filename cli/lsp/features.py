"""The requests of an editor, each answered by one function."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lsprotocol import types
from pygls.exceptions import JsonRpcException

from ...compiler.sources.sample import sample
from ...dsl import ast
from ...dsl.diagnostics import Diagnostic, Findings
from ...dsl.format import format_source
from ...dsl.ide.complete import complete
from ...dsl.ide.names import Occurrence
from ...dsl.ide.outline import folds, outline
from ...dsl.ide.project import Analysis
from ...dsl.ide.rename import Refused, rename, renamed_at
from ...dsl.ide.semantic import MODIFIERS, TYPES, roles
from ...dsl.load import locate
from ...dsl.source import Place, SourceText
from .convert import Converter, proposal, symbol, tokens
from .hover import hover
from .positions import Lines
from .server import Server

TRIGGERS = [".", "$", '"', "/", "{", ":"]
REQUEST_FAILED = -32803

Document = types.TextDocumentIdentifier


def server() -> Server:
    """A server that answers all that is below."""
    made = Server()
    for method, (handler, options) in FEATURES.items():
        made.feature(method, options)(handler)  # type: ignore[type-var]
    return made


def _at(ls: Server, document: Document, position: types.Position) -> tuple[Path, Lines, int] | None:
    """A file that is open, its lines, and a position in it as an offset."""
    path = ls.path(document.uri)
    if path is None or ls.project.documents.text(path) is None:
        return None
    lines = ls.lines(path)
    return path, lines, lines.offset(position)


# --- documents -------------------------------------------------------------------------------------------------------


def initialize(ls: Server, params: types.InitializeParams) -> None:
    """`{"debounce": MILLISECONDS}` among the options says how long to wait after a keystroke."""
    options = params.initialization_options
    wait = options.get("debounce") if isinstance(options, dict) else getattr(options, "debounce", None)
    if isinstance(wait, int | float) and 0 <= wait <= 60_000:
        ls.debounce = wait / 1000


def did_open(ls: Server, params: types.DidOpenTextDocumentParams) -> None:
    """A document is open."""
    ls.opened(params.text_document)


def did_change(ls: Server, params: types.DidChangeTextDocumentParams) -> None:
    """A document has changed."""
    ls.changed(params)


def did_close(ls: Server, params: types.DidCloseTextDocumentParams) -> None:
    """A document is closed."""
    ls.closed(params.text_document.uri)


def did_save(ls: Server, params: types.DidSaveTextDocumentParams) -> None:
    """A document is on the disk. So may be what else its specs read: they are checked anew."""
    ls.project.forget()
    ls.refresh()


def did_change_watched(ls: Server, params: types.DidChangeWatchedFilesParams) -> None:
    """Files changed on the disk."""
    ls.project.forget()
    ls.refresh()


# --- names -----------------------------------------------------------------------------------------------------------


def _names_at(ls: Server, document: Document, position: types.Position) -> Iterator[tuple[Analysis, Occurrence]]:
    """The name at a position, as each spec that the file belongs to knows it."""
    where = _at(ls, document, position)
    if where is not None:
        for analysis in ls.project.of_file(where[0], None):
            name = analysis.names.at(where[0], where[2])
            if name is not None:
                yield analysis, name


def definition(ls: Server, params: types.DefinitionParams) -> types.Location | None:
    """Where a name is declared; from the path of an import, the file."""
    for _, name in _names_at(ls, params.text_document, params.position):
        return Converter(ls).location(name.found.ident.place)
    where = _at(ls, params.text_document, params.position)
    spec = ls.analysis(where[0]) if where is not None else None
    file = spec.file(where[0]) if where is not None and spec is not None else None
    if where is None or spec is None or spec.state is None or file is None:
        return None
    for item in file.spec.items:
        if isinstance(item, ast.Import) and item.path.place.start <= where[2] <= item.path.place.end:
            root = spec.state.loaded.root
            target = locate(item.path.value, item.path.place, file.path.parent, root, Findings())
            return None if target is None else types.Location(ls.uri(target), ls.lines(target).range(0, 0))
    return None


def references(ls: Server, params: types.ReferenceParams) -> list[types.Location] | None:
    """Everywhere the declaration at the cursor is named, in all specs that have its file."""
    found = next((name for _, name in _names_at(ls, params.text_document, params.position)), None)
    if found is None:
        return None
    places = sorted(
        {
            (each.path, each.start, each.end)
            for analysis in ls.project.of_file(found.found.file.path, None)
            for each in analysis.names.of(found.key)
            if params.context.include_declaration or not each.declares
        }
    )
    return [types.Location(ls.uri(path), ls.lines(path).range(start, end)) for path, start, end in places]


def highlight(ls: Server, params: types.DocumentHighlightParams) -> list[types.DocumentHighlight] | None:
    """The same in the file alone."""
    for analysis, name in _names_at(ls, params.text_document, params.position):
        lines = ls.lines(name.path)
        found = [each for each in analysis.names.of(name.key) if each.path == name.path]
        return [types.DocumentHighlight(lines.range(each.start, each.end)) for each in found]
    return None


def prepare_rename(ls: Server, params: types.PrepareRenameParams) -> types.PrepareRenamePlaceholder | None:
    """The name that would be renamed."""
    where = _at(ls, params.text_document, params.position)
    if where is None:
        return None
    path, lines, offset = where
    try:
        name = renamed_at(ls.project, path, offset)
    except Refused as refused:
        raise JsonRpcException(str(refused), REQUEST_FAILED) from None
    return types.PrepareRenamePlaceholder(lines.range(name.start, name.end), name.found.ident.name)


def do_rename(ls: Server, params: types.RenameParams) -> types.WorkspaceEdit | None:
    """The edits that give the declaration at the cursor another name."""
    where = _at(ls, params.text_document, params.position)
    if where is None:
        return None
    try:
        changes = rename(ls.project, where[0], where[2], params.new_name)
    except Refused as refused:
        raise JsonRpcException(str(refused), REQUEST_FAILED) from None
    return Converter(ls).changes(changes)


# --- at a cursor -----------------------------------------------------------------------------------------------------


def do_hover(ls: Server, params: types.HoverParams) -> types.Hover | None:
    """What the cursor rests on."""
    where = _at(ls, params.text_document, params.position)
    if where is None or (analysis := ls.analysis(where[0])) is None:
        return None
    path, lines, offset = where
    found = hover(analysis, path, lines.text, offset)
    if found is None:
        return None
    start, end, said = found
    return types.Hover(types.MarkupContent(types.MarkupKind.Markdown, said), lines.range(start, end))


def completion(ls: Server, params: types.CompletionParams) -> types.CompletionList | None:
    """What could be typed at the cursor."""
    where = _at(ls, params.text_document, params.position)
    if where is None or (analysis := ls.analysis(where[0])) is None:
        return None
    path, lines, offset = where
    found = complete(analysis, path, lines.text, offset, sample)
    replaced = lines.range(found.start, offset)
    return types.CompletionList(False, [proposal(item, replaced) for item in found.items])


def code_actions(ls: Server, params: types.CodeActionParams) -> list[types.CodeAction] | None:
    """The fixes of what is found in a range."""
    where = _at(ls, params.text_document, params.range.start)
    if where is None:
        return None
    path, lines, start = where
    end = lines.offset(params.range.end)
    convert = Converter(ls)
    found = ls.project.findings(ls.project.of_file(path)).get(path, [])
    offered = [
        convert.action(diagnostic, fix)
        for diagnostic in found
        if _touches(diagnostic, start, end)
        for fix in diagnostic.fixes
    ]
    return [action for action in offered if action is not None]


def _touches(found: Diagnostic, start: int, end: int) -> bool:
    return isinstance(found.place, Place) and found.place.start <= end and start <= found.place.end


# --- whole documents -------------------------------------------------------------------------------------------------


def formatting(ls: Server, params: types.DocumentFormattingParams) -> list[types.TextEdit] | None:
    """The document in its one form; nothing where it has syntax errors, which are shown as findings."""
    where = _at(ls, params.text_document, types.Position(0, 0))
    if where is None:
        return None
    path, lines, _ = where
    text = format_source(SourceText(path.name, lines.text), Findings())
    if text is None:
        return None
    return [] if text == lines.text else [_smallest(lines, text)]


def _smallest(lines: Lines, text: str) -> types.TextEdit:
    """One edit of what differs, so that cursors elsewhere stay."""
    old, first = lines.text, 0
    most = min(len(old), len(text))
    while first < most and old[first] == text[first]:
        first += 1
    last = 0
    while last < most - first and old[-1 - last] == text[-1 - last]:
        last += 1
    return types.TextEdit(lines.range(first, len(old) - last), text[first : len(text) - last])


def document_symbols(ls: Server, params: types.DocumentSymbolParams) -> list[types.DocumentSymbol] | None:
    """The outline."""
    where = _at(ls, params.text_document, types.Position(0, 0))
    analysis = ls.analysis(where[0]) if where is not None else None
    file = analysis.file(where[0]) if where is not None and analysis is not None else None
    if where is None or file is None:
        return None
    return [symbol(found, where[1]) for found in outline(file)]


def semantic_tokens(ls: Server, params: types.SemanticTokensParams) -> types.SemanticTokens | None:
    """The roles of all that stands in the document."""
    where = _at(ls, params.text_document, types.Position(0, 0))
    if where is None:
        return None
    path, lines, _ = where
    analysis = ls.analysis(path)
    names = analysis.names.of_file(path) if analysis is not None and analysis.state is not None else ()
    return types.SemanticTokens(tokens(roles(lines.text, names), lines))


def folding(ls: Server, params: types.FoldingRangeParams) -> list[types.FoldingRange] | None:
    """What folds."""
    where = _at(ls, params.text_document, types.Position(0, 0))
    if where is None:
        return None
    lines = where[1]
    return [
        types.FoldingRange(
            lines.position(start).line,
            lines.position(end).line,
            kind=types.FoldingRangeKind.Comment if comment else None,
        )
        for start, end, comment in folds(lines.text)
    ]


FEATURES = {
    types.INITIALIZE: (initialize, None),
    types.TEXT_DOCUMENT_DID_OPEN: (did_open, None),
    types.TEXT_DOCUMENT_DID_CHANGE: (did_change, None),
    types.TEXT_DOCUMENT_DID_CLOSE: (did_close, None),
    types.TEXT_DOCUMENT_DID_SAVE: (did_save, None),
    types.WORKSPACE_DID_CHANGE_WATCHED_FILES: (did_change_watched, None),
    types.TEXT_DOCUMENT_DEFINITION: (definition, None),
    types.TEXT_DOCUMENT_REFERENCES: (references, None),
    types.TEXT_DOCUMENT_DOCUMENT_HIGHLIGHT: (highlight, None),
    types.TEXT_DOCUMENT_PREPARE_RENAME: (prepare_rename, None),
    types.TEXT_DOCUMENT_RENAME: (do_rename, types.RenameOptions(prepare_provider=True)),
    types.TEXT_DOCUMENT_HOVER: (do_hover, None),
    types.TEXT_DOCUMENT_COMPLETION: (completion, types.CompletionOptions(trigger_characters=TRIGGERS)),
    types.TEXT_DOCUMENT_CODE_ACTION: (
        code_actions,
        types.CodeActionOptions(code_action_kinds=[types.CodeActionKind.QuickFix]),
    ),
    types.TEXT_DOCUMENT_FORMATTING: (formatting, None),
    types.TEXT_DOCUMENT_DOCUMENT_SYMBOL: (document_symbols, None),
    types.TEXT_DOCUMENT_FOLDING_RANGE: (folding, None),
    types.TEXT_DOCUMENT_SEMANTIC_TOKENS_FULL: (
        semantic_tokens,
        types.SemanticTokensLegend(token_types=list(TYPES), token_modifiers=list(MODIFIERS)),
    ),
}
"""Method -> what answers it, and what is registered with it."""
