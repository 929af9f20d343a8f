"""CoNLL-U: a record per sentence, with its comments as fields and its words as `.words`, a list that `offsets` reads.

The text is that of `# text`, in which the forms must stand in order with nothing but white space between them, or else the forms
joined as `SpaceAfter=No` says. A word has its place there. A multiword token whose words spell it divides among them; where
they do not (`du` is `de` and `le`), no word has a place of its own, and the token stands for all of them: as the word that
the others hang on, and whoever hangs on one of them hangs on that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from ...dsl.codes.sources import BROKEN_CONLLU, FORM_NOT_IN_TEXT
from ...dsl.diagnostics import Failure, Findings
from ..sources import lines
from .base import Limits, Origin, Rows, Survey, Tally, Task, Want
from .records import MANY, Records

COLUMNS = 10
WORDS = "words"


def survey(origin: Origin, blocks: Iterator[bytes]) -> Survey:
    """Ranges of sentences."""
    return lines.survey(origin, blocks, "paragraph")


def read(task: Task, origin: Origin, want: Want, limits: Limits, tally: Tally) -> Iterator[Rows]:
    """The sentences of the task. The number of one is that of its first line."""
    records = Records(origin, want, tally)
    for row, block in lines.blocks(task, origin, limits, "paragraph"):
        findings = Findings()
        found: list[tuple[int, dict[str, Any]]] = []
        for sentence in _sentences(row, block):
            if sentence.words:
                found.append((sentence.row, _Reader(sentence, origin, findings).record()))
            if len(findings.items) >= MANY:
                break
        if findings.failed:
            raise Failure(*findings.items[:MANY])
        yield records.of([record for _, record in found], [number for number, _ in found])


@dataclass(slots=True)
class _Sentence:
    """The lines of a sentence: `row`, the number of the first; the comments, and where `# text` stands; the others by number."""

    row: int
    comments: dict[str, str] = field(default_factory=dict)
    text_row: int = 0
    words: list[tuple[int, str]] = field(default_factory=list)


def _sentences(row: int, block: Sequence[str]) -> Iterator[_Sentence]:
    sentence: _Sentence | None = None
    for number, line in enumerate(block, row):
        line = line.rstrip("\r")
        if not line or line.isspace():
            if sentence is not None:
                yield sentence
            sentence = None
            continue
        sentence = sentence or _Sentence(number)
        if line[0] != "#":
            sentence.words.append((number, line))
            continue
        key, equals, value = line[1:].partition("=")
        if equals:
            sentence.comments[key.strip()] = value.strip()
            sentence.text_row = number if key.strip() == "text" else sentence.text_row
    if sentence is not None:
        yield sentence


@dataclass(slots=True)
class _Word:
    """A word, or a multiword token that covers `parts` words. `cells` are the columns as they are written."""

    row: int
    cells: list[str]
    id: int
    parts: int = 1
    head: int | None = None
    start: int = 0
    end: int = 0

    @property
    def form(self) -> str:
        return self.cells[1]


class _Reader:
    """Reads one sentence into a record. What is wrong goes to `findings`, and then the record means nothing."""

    def __init__(self, sentence: _Sentence, origin: Origin, findings: Findings) -> None:
        self._sentence = sentence
        self._origin = origin
        self._findings = findings
        self._words: list[_Word] = []
        self._tokens: list[_Word] = []

    def record(self) -> dict[str, Any]:
        """The sentence's fields."""
        for row, line in self._sentence.words:
            if wrong := self._line(row, line.split("\t")):
                self._findings.add(self._origin.at(BROKEN_CONLLU, wrong, row))
                return {}
        if not self._ends_well():
            return {}
        text = self._placed()
        words = self._surface()
        return {**self._sentence.comments, "text": text, WORDS: [_entry(word) for word in words]}

    # --- lines

    def _line(self, row: int, cells: list[str]) -> str | None:
        """Take in one line that is no comment. Gives what is wrong with it."""
        if len(cells) != COLUMNS:
            return f"{len(cells)} columns, where CoNLL-U has {COLUMNS}, parted by tabs"
        cells[1] = cells[1].strip()
        if not cells[1]:
            return "the form is empty"
        if _number(cells[0]) == len(self._words) + 1:
            return self._word(row, cells)
        first, dash, last = cells[0].partition("-")
        if dash and (_number(first) or 0) < (_number(last) or 0):
            return self._token(row, cells, int(first), int(last))
        before, dot, after = cells[0].partition(".")
        if dot and _number(before) == len(self._words) and _number(after) is not None:
            return None  # an empty node stands nowhere in the text
        return f"the id is `{cells[0]}`, where {len(self._words) + 1} is expected"

    def _word(self, row: int, cells: list[str]) -> str | None:
        word = _Word(row, cells, len(self._words) + 1, head=_number(cells[6]))
        if word.head is None and cells[6] != "_":
            return f"the head is `{cells[6]}`, where the id of a word, 0 or `_` is expected"
        self._words.append(word)
        if self._covered < word.id:
            self._tokens.append(word)
        return None

    def _token(self, row: int, cells: list[str], first: int, last: int) -> str | None:
        """A multiword token, which stands before its words."""
        if first != len(self._words) + 1 or first <= self._covered:
            return f"the token `{cells[0]}` does not stand right before its words"
        self._tokens.append(_Word(row, cells, first, last - first + 1))
        return None

    @property
    def _covered(self) -> int:
        """The last word of the last token."""
        return self._tokens[-1].id + self._tokens[-1].parts - 1 if self._tokens else 0

    def _ends_well(self) -> bool:
        """Whether tokens and heads find their words, which shows at the end of the sentence alone."""
        count = len(self._words)
        wrong = [
            (word.row, f"the head is {word.head} in a sentence of {count} words")
            for word in self._words
            if word.head is not None and word.head > count
        ]
        if self._covered > count:
            wrong.append((self._tokens[-1].row, f"the token `{self._tokens[-1].cells[0]}` lacks words"))
        for row, fact in wrong:
            self._findings.add(self._origin.at(BROKEN_CONLLU, fact, row))
        return not wrong

    # --- places

    def _placed(self) -> str:
        """The text, with the places of the tokens set."""
        given = self._sentence.comments.get("text")
        if given is None:
            return self._joined()
        at = 0
        for token in self._tokens:
            at = _inked(given, at)
            if not given.startswith(token.form, at):
                found = given[at : at + max(len(token.form), 1)]
                fact = f"the form `{token.form}` is not what stands in `# text`, `{found}`"
                self._findings.add(self._origin.at(FORM_NOT_IN_TEXT, fact, token.row))
                return given
            token.start, token.end = at, at + len(token.form)
            at = token.end
        if _inked(given, at) < len(given):
            fact = f"`# text` goes on with `{given[at:].strip()[:20]}` after the last word"
            self._findings.add(self._origin.at(FORM_NOT_IN_TEXT, fact, self._sentence.text_row))
        return given

    def _joined(self) -> str:
        """The forms, one after another, with the places of the tokens set."""
        text = ""
        for token in self._tokens:
            token.start, token.end = len(text), len(text) + len(token.form)
            text += token.form if _glued(token) else f"{token.form} "
        return text.rstrip(" ")

    def _surface(self) -> list[_Word]:
        """What has a place in the text: words, and the tokens that stand for theirs."""
        found: list[_Word] = []
        stands_for = {word.id: word.id for word in self._words}
        for token in self._tokens:
            covered = self._words[token.id - 1 : token.id - 1 + token.parts]
            if "".join(word.form for word in covered) == token.form:
                at = token.start
                for word in covered:
                    word.start, at = at, at + len(word.form)
                    word.end = at
                found += covered
                continue
            ids = {word.id for word in covered}
            top = next((word for word in covered if word.head not in ids), covered[0])
            stands_for.update(dict.fromkeys(ids, top.id))
            cells = [*top.cells[:1], token.form, *top.cells[2:]]
            found.append(_Word(token.row, cells, top.id, token.parts, top.head, token.start, token.end))
        for word in found:
            word.head = stands_for.get(word.head, word.head) if word.head else word.head
        return found


def _number(cell: str) -> int | None:
    """A number as ids are written; None for anything else."""
    return int(cell) if cell.isascii() and cell.isdigit() and len(cell) < 10 else None


def _inked(text: str, at: int) -> int:
    """The place of the first character at or after `at` that is no white space."""
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def _glued(token: _Word) -> bool:
    return "SpaceAfter=No" in token.cells[9].split("|")


def _entry(word: _Word) -> dict[str, Any]:
    """A word as `offsets` reads it: its place, its columns, and its features under their own names."""
    _, form, lemma, upos, xpos, feats, _, deprel, deps, misc = [None if cell == "_" else cell for cell in word.cells]
    return {
        **_features(word.cells[5]),
        "start": word.start,
        "end": word.end,
        "parts": word.parts,
        "id": word.id,
        "form": word.form,
        "lemma": word.cells[2] if form is None else lemma,
        "upos": upos,
        "xpos": xpos,
        "feats": feats,
        "head": word.head,
        "deprel": deprel,
        "deps": deps,
        "misc": misc,
    }


@lru_cache(maxsize=4096)
def _features(cell: str) -> Mapping[str, str]:
    """`Case=Nom|Number=Sing` by name. A name that no spec can write stays in `feats` alone."""
    pairs = (feature.partition("=") for feature in cell.split("|"))
    return {name: value for name, equals, value in pairs if equals and name.isidentifier()}
