"""Goes once over the tokens of a file, and gives each as a piece of layout, with the comments before it."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Sequence

from .layout import Doc, Line, Note, weak
from .tokens import Comment, Token


class Cursor:
    """Stands before a token of `text`. Its comments can be taken ahead of it; whatever nobody took comes with it."""

    def __init__(self, text: str, tokens: Sequence[Token]) -> None:
        self._text, self._tokens = text, tokens
        self._at = 0
        self._comments: deque[Comment] = deque(self._tokens[0].comments)

    @property
    def text(self) -> str:
        """The next token."""
        return self._tokens[self._at].text

    @property
    def start(self) -> int:
        """The offset of the next token."""
        return self._tokens[self._at].start

    @property
    def blank(self) -> bool:
        """Whether the next token stands below an empty line."""
        return self._tokens[self._at].blank

    def since(self, start: int) -> str:
        """The text from `start` to the next token."""
        return self._text[start : self.start]

    def text_from(self, start: int) -> str:
        """The first token at or after the offset `start`."""
        return self._tokens[bisect_left(self._tokens, start, key=lambda token: token.start)].text

    def skip(self) -> None:
        """Go over the next token, whose comments were taken."""
        assert not self._comments
        self._at += 1
        self._comments.extend(self._tokens[self._at].comments)

    def comments(self) -> list[Comment]:
        """Take the comments before the next token."""
        taken = list(self._comments)
        self._comments.clear()
        return taken

    def trailing(self) -> str:
        """Take the comment that stands on the line of the token before, if one does."""
        return self._comments.popleft().text if self._comments and not self._comments[0].own else ""

    def notes(self) -> tuple[Doc, ...]:
        """Take the comments before the next token, as layout."""
        return tuple(Note(comment.text, comment.own) for comment in self.comments())

    def take(self) -> Doc:
        """Take the next token."""
        notes, text = self.notes(), self.text
        self.skip()
        return (*notes, text) if notes else text

    def line(self, flat: str = " ") -> Doc:
        """A break before the next token, behind the comment that ends the line of the one before."""
        return self._behind(Line(flat))

    def weak(self, flat: str = " ") -> Doc:
        """The same, taken only where what follows would not fit."""
        return self._behind(weak(flat))

    def _behind(self, line: Doc) -> Doc:
        trailing = self.trailing()
        return (Note(trailing, False), line) if trailing else line

    def words(self, count: int) -> Doc:
        """Take `count` tokens with spaces between."""
        return (self.take(), *((self.weak(), self.take()) for _ in range(count - 1)))
