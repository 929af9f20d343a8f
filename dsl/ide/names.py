"""Where names stand in the files of a spec: each declaration, and each name that the check looked for and found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import ast
from ..check.env import Declaration, Env, State
from ..lexemes import lexemes
from ..load import File
from ..source import Place

Key = tuple[Path, int]
"""A declaration by its file and the offset of its name there. What several uses of a frame declare is one declaration."""


@dataclass(frozen=True, slots=True)
class Occurrence:
    """A name at `[start, end)` of the file at `path`, without its `$` or `.`, and what it names. `declares`: it is the
    declaration's own."""

    path: Path
    start: int
    end: int
    found: Declaration
    declares: bool

    @property
    def key(self) -> Key:
        return key(self.found)


def key(found: Declaration) -> Key:
    """What tells a declaration from all others."""
    return found.file.path, found.ident.place.start


class Names:
    """The occurrences of a spec's files, in order, each place once."""

    def __init__(self, state: State) -> None:
        found = {(each.path, each.start): each for each in _references(state)}
        found.update({(each.path, each.start): each for each in _declarations(state)})
        self.all: Sequence[Occurrence] = [found[where] for where in sorted(found)]
        self._by_path: dict[Path, list[Occurrence]] = {}
        self._by_key: dict[Key, list[Occurrence]] = {}
        for each in self.all:
            self._by_path.setdefault(each.path, []).append(each)
            self._by_key.setdefault(each.key, []).append(each)

    def at(self, path: Path, offset: int) -> Occurrence | None:
        """The name that a cursor touches."""
        return next((each for each in self.of_file(path) if each.start <= offset <= each.end), None)

    def of_file(self, path: Path) -> Sequence[Occurrence]:
        """The names in one file."""
        return self._by_path.get(path, ())

    def of(self, key: Key) -> Sequence[Occurrence]:
        """Everywhere a declaration is named, itself included."""
        return self._by_key.get(key, ())


def _declarations(state: State) -> Iterator[Occurrence]:
    for file, names in state.names.items():
        for found in names.values():
            place = found.ident.place
            yield Occurrence(file.path, place.start, place.end, found, True)


def _references(state: State) -> Iterator[Occurrence]:
    files = {file.source: file.path for file in state.loaded.files}
    for file, expr, found in state.named:
        if expr.place.source in files:
            yield from _segments(state, file, files[expr.place.source], expr, found)


def _segments(state: State, file: File, path: Path, expr: ast.Expr, found: Declaration) -> Iterator[Occurrence]:
    """`alias.name` is two names. One that does not stand as it is called, since a constant led to it, is none."""
    chain: list[ast.Expr] = [expr]
    while isinstance(base := chain[0], ast.Member):
        chain.insert(0, base.base)
    named = {len(chain) - 1: found}
    env = Env(state, file)
    for at, part in enumerate(chain[:-1]):
        if (alias := env.lookup(part)) is not None:
            named[at] = alias
    places = _places(expr.place, len(chain))
    for at, target in named.items():
        if at < len(places) and places[at].text == target.ident.name:
            yield Occurrence(path, places[at].start, places[at].end, target, False)


def _places(place: Place, count: int) -> list[Place]:
    """The first `count` names of what stands at `place`, without `$` and dots."""
    found = []
    for lexeme in lexemes(place.source.text, place.start, place.end)[:count]:
        skip = 0 if lexeme.kind == "word" else 1
        found.append(Place(place.source, lexeme.start + skip, lexeme.end))
    return found
