"""Where a parser stopped, and what it knew then: what the explanation of a syntax error starts from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from . import ast
from .source import Place


@dataclass(frozen=True)
class Trouble:
    """Where the parser stopped in the piece that starts at `start`.

    `kind` is the terminal found, `""` for a character that begins none, `"$END"` for the end of the piece. `accepts` are the
    terminals that would have gone on, `stack` the nodes and tokens read so far. `complete`: a declaration ends right before.
    """

    place: Place
    kind: str
    accepts: frozenset[str]
    stack: tuple[Any, ...]
    start: int
    complete: bool

    @property
    def text(self) -> str:
        """What was found, as typed; empty at the end."""
        return self.place.text

    @property
    def rest(self) -> str:
        """From what was found to the end of its line."""
        source = self.place.source.text
        end = source.find("\n", self.place.start)
        return source[self.place.start : len(source) if end < 0 else end].rstrip("\r")

    @cached_property
    def open(self) -> int | None:
        """Where in the stack the innermost open bracket is."""
        return bracket_of(self.stack)

    @property
    def top(self) -> Any:
        """What was read last, None at the start."""
        return self.stack[-1] if self.stack else None

    @cached_property
    def before(self) -> str | None:
        """The word or sign right before, where it is a single one."""
        if isinstance(self.top, ast.Name | ast.Ident):
            return self.top.name
        return str(self.top) if kind_of(self.top) else None

    def at(self, first: int, last: int) -> Place:
        """A place relative to where the trouble starts."""
        return Place(self.place.source, self.place.start + first, self.place.start + last)


def bracket_of(stack: tuple[Any, ...], closed: int = 0) -> int | None:
    """Where in a stack the bracket is that opens outside of `closed` others."""
    for i in range(len(stack) - 1, -1, -1):
        kind = kind_of(stack[i])
        if kind in ("RPAR", "RSQB", "RBRACE"):
            closed += 1
        elif kind in ("LPAR", "LSQB", "LBRACE"):
            if not closed:
                return i
            closed -= 1
    return None


def kind_of(entry: Any) -> str | None:
    """The terminal of a stack entry, None for a node."""
    return getattr(entry, "type", None) if isinstance(entry, str) else None


def short(text: str) -> str:
    """Text as a message quotes it."""
    return text if len(text) <= 40 else text[:37] + "..."
