"""What the data of a spec has, as far as the first records tell: fields, and the attributes of spans.

A source whose block is being written seldom checks, or parses, while its records are wanted: then what stands before its block
counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from .. import ast
from .. import checked as c
from ..check.env import Env, State
from ..check.sources import read_without_block
from ..cut import cut
from ..diagnostics import Findings
from ..lexemes import lexemes
from ..parse import parse
from ..source import SourceText

Records = Sequence[Mapping[str, Any]]
Samples = Callable[[c.Source], Records]
"""The first records of a source."""


class Data:
    """The first records of some sources."""

    def __init__(self, sources: Sequence[c.Source], samples: Samples) -> None:
        self._sources = sources
        self._samples = samples

    def fields(self, path: Sequence[str] = ()) -> dict[str, object]:
        """The fields of the records, or of what `path` leads to in them, each with a value."""
        seen: dict[str, object] = {}
        for record in self._records():
            value = _inside(record, path)
            if isinstance(value, Mapping):
                for key, inner in value.items():
                    seen.setdefault(str(key), inner)
        return seen

    def attributes(self, spans: c.SpanSet) -> Iterator[str]:
        """The attributes that the spans of a set have by the data: keys of the entries that they are read from."""
        match spans:
            case c.Union(left, right):
                yield from self.attributes(left)
                yield from self.attributes(right)
            case c.Intersection(left=base) | c.Difference(left=base) | c.Within(inner=base):
                yield from self.attributes(base)
            case c.Filter(base) | c.Take(base) | c.Edge(base) | c.OfSource(base) | c.Named(base):
                yield from self.attributes(base)
            case c.Markup() | c.Special():
                yield "label"
            case c.Offsets():
                yield from self._entries(spans)

    def _entries(self, spans: c.Offsets) -> Iterator[str]:
        names = dict(spans.rename)
        for record in self._records():
            entries = _inside(record, spans.path)
            for entry in entries if isinstance(entries, list) else ():
                if isinstance(entry, Mapping):
                    yield from (str(names.get(key, key)) for key in entry if key not in ("start", "end"))

    def _records(self) -> Iterator[Mapping[str, Any]]:
        for source in self._sources:
            with suppress(OSError):
                yield from self._samples(source)


def sources_of(state: State) -> dict[str, c.Source]:
    """The sources of a spec, those as well that are not right yet, by name."""
    root = state.loaded.files[0]
    found = dict(state.sources)
    for name, header in _headers(root.source.text):
        if name not in found:
            spec = parse(SourceText(root.source.path, f"mcd 1\n{header}"), Findings())
            env = Env(replace(state, findings=Findings()), root)
            for item in spec.items:
                if isinstance(item, ast.Source) and (source := read_without_block(env, item)) is not None:
                    found[name] = source
    return found


def _headers(text: str) -> Iterator[tuple[str, str]]:
    """The names of the sources in a text, and each declaration up to its block."""
    for piece in cut(text):
        if piece.word == "source":
            found = lexemes(text, piece.start, piece.end)
            end = next((each.end for each in found if each.text in (")", "]")), piece.end)
            if len(found) > 1:
                yield found[1].text, text[piece.start : end]


def _inside(record: object, path: Sequence[str]) -> object:
    for name in path:
        record = record.get(name) if isinstance(record, Mapping) else None
    return record
