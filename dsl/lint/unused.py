"""Declarations that come to nothing.

What acts are rules, the curriculum, claims, the model, sources, and the uses of frames that hold rules. Whatever these name is
used, and whatever a used declaration names. In a file that others import, and in a frame, public names are there for others, and
count as used. An import is used by its names or by what acts in its file, whose rules act wherever it is imported.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from .. import ast
from ..check.declare import RULES, name_of
from ..check.env import Declaration, Env, Expansion, State
from ..check.references import references
from ..codes import names as codes
from ..diagnostics import Applicability, Edit, Fix, Related
from ..load import File
from ..source import Place

ACTING = (*RULES, ast.Keep, ast.Gradient, ast.Curriculum, ast.Expect, ast.Model, ast.Source)
OPTIONAL = (ast.SpanDecl, ast.Concept, ast.Let, ast.Frame, ast.Teacher, ast.Use, ast.Import)
"""What is declared for others to name."""

Graph = dict[Declaration | None, set[Declaration]]
"""Who names what; None stands for all that acts."""


def check_unused(state: State) -> None:
    """Report declarations that nothing uses, each once, in files without a syntax error."""
    files = list(_once(state.files))
    acting = _acting(state, files)
    graph: Graph = defaultdict(set)
    for file in files:
        for item in file.spec.items:
            _note(state, file, item, acting, graph)
    used = _reached(graph)
    for file in files:
        if not file.broken:
            for found in state.names[file].values():
                if isinstance(found.item, OPTIONAL) and found not in used:
                    _report(state, found, graph, acting)


def _once(files: Iterable[File]) -> Iterator[File]:
    """Files, and one expansion of each frame, which has the names that all have."""
    frames: set[Declaration] = set()
    for file in files:
        if not isinstance(file, Expansion):
            yield file
        elif file.frame not in frames:
            frames.add(file.frame)
            yield file


def _acting(state: State, files: list[File]) -> set[File | Declaration]:
    """Files and frames in which something acts, in them or in what they import or use."""
    found: set[File | Declaration] = set()
    grows = True
    while grows:
        before = len(found)
        for file in files:
            key = file.frame if isinstance(file, Expansion) else file
            if key not in found and any(_acts(state, file, item, found) for item in file.spec.items):
                found.add(key)
        grows = len(found) > before
    return found


def _acts(state: State, file: File, item: ast.Item, acting: set[File | Declaration]) -> bool:
    match item:
        case ast.Import():
            return file.imports.get(item.alias.name) in acting
        case ast.Use(target):
            frame = Env(state, file).lookup(target.callee if isinstance(target, ast.Call) else target)
            return frame is None or frame in acting
    return isinstance(item, ACTING)


def _note(state: State, file: File, item: ast.Item, acting: set[File | Declaration], graph: Graph) -> None:
    """Add what an item names to the graph, under itself or what it stands for."""
    env, ident = Env(state, file), name_of(item)
    own = state.names[file].get(ident.name) if ident is not None else None
    outer = file.frame if isinstance(file, Expansion) else None
    if own is not None and own.item is item and isinstance(item, OPTIONAL):
        if _acts(state, file, item, acting) or (_exports(state, file, item) and not own.ident.name.startswith("_")):
            graph[outer].add(own)
        outer = own
    for node in (item, *(item.parameters if isinstance(item, ast.Frame) else ())):
        graph[outer].update(references(env, node))
    if isinstance(item, ast.Use) and own in state.opened and isinstance(used := state.opened[own], Expansion):
        graph[outer].add(used.frame)


def _exports(state: State, file: File, item: ast.Item) -> bool:
    """Whether a public name of a file is there for others. What it imports is not."""
    return not isinstance(item, ast.Import) and (isinstance(file, Expansion) or bool(file.prefix) or state.module)


def _reached(graph: Graph) -> set[Declaration]:
    found: set[Declaration] = set()
    pending: list[Declaration | None] = [None]
    while pending:
        new = graph.get(pending.pop(), set()) - found
        found |= new
        pending += new
    return found


# --- findings --------------------------------------------------------------------------------------------------------


def _report(state: State, found: Declaration, graph: Graph, acting: set[File | Declaration]) -> None:
    name, env = found.ident.name, Env(state, found.file)
    if isinstance(found.item, ast.Import):
        target = found.file.imports.get(name)
        if target is not None and not target.broken and target not in acting:
            message = f"nothing uses the import `{name}`, and no rule of `{target.source.path}` acts"
            env.report(codes.UNUSED_IMPORT.at(found.ident.place, message, fixes=[_removal(found)]))
        return
    users = [user for user, named in graph.items() if user is not None and found in named and user is not found]
    related = [Related(user.ident.place, f"`{user.ident.name}` does, and nothing uses it") for user in users[:1]]
    message = f"nothing that acts uses the {found.noun} `{name}`"
    env.report(codes.UNUSED_DECLARATION.at(found.ident.place, message, related=related, fixes=[_removal(found)]))


def _removal(found: Declaration) -> Fix:
    """Takes a declaration out with its lines. It is certain for an import whose leaving changes no plan: a concept may give its
    name to an anchor that two files share. What was declared may be what somebody was about to use."""
    target = found.file.imports.get(found.ident.name) if isinstance(found.item, ast.Import) else None
    certain = target is not None and not any(isinstance(item, ast.Concept) for item in _items(target))
    title = f"remove the {'import' if isinstance(found.item, ast.Import) else found.noun} `{found.ident.name}`"
    applicability = Applicability.CERTAIN if certain else Applicability.MAYBE
    return Fix(title, (Edit(_lines(found.item.place), ""),), applicability)


def _items(file: File) -> Iterator[ast.Item]:
    """The items of a file and of those that it imports."""
    seen, pending = {file}, [file]
    while pending:
        file = pending.pop()
        yield from file.spec.items
        new = set(file.imports.values()) - seen
        seen |= new
        pending += new


def _lines(place: Place) -> Place:
    """A declaration with its line break and the lines that document it, as far as nothing else stands on its lines."""
    text, start, end = place.source.text, place.start, place.end
    while start > 0 and text[start - 1] in " \t":
        start -= 1
    while end < len(text) and text[end] in " \t\r":
        end += 1
    if (start > 0 and text[start - 1] != "\n") or (end < len(text) and text[end] != "\n"):
        return place
    while start > 0 and text.startswith("##", above := text.rfind("\n", 0, start - 1) + 1):
        start = above
    return Place(place.source, start, min(end + 1, len(text)))
