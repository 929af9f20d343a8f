"""What the spec of `project.py` asks for, as one would write it without mcd: the user code that other tools are fed by.

It takes what is fast in Python: the tokenizer's batch call, an Aho-Corasick automaton for the phrases (`ahocorasick_rs`, which
finds them about twice as fast as the `pyahocorasick` that is better known), and the tokenizer's own search for the token of a
character, which is faster here than bisection in its list of offsets. It does no more than the spec needs: nothing is counted,
checked or digested, and no range is held against the context.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from ahocorasick_rs import AhoCorasick, MatchKind
from tokenizers import Tokenizer

BATCH = 1000
"""Records that the tokenizer gets at once."""

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """A record as stored. Ranges are [start, end) in tokens, one after another: of `answer` and `inside` two numbers each, of
    `link` four, those of the query and of the key."""

    id: str
    input_ids: list[int]
    answer: list[int]
    inside: list[int]
    link: list[int]
    label: int
    weight: float


def fields_of(row: Row) -> dict[str, Any]:
    """The fields of a row, without the copies that `asdict` makes."""
    return {name: getattr(row, name) for name in Row.__slots__}


def dense(row: Row) -> dict[str, list[Any]]:
    """The label of a row at every token of `inside`, -100 at others; its weight at every token of `answer`, 1 at others."""
    labels, weights = [-100] * len(row.input_ids), [1.0] * len(row.input_ids)
    for start, end in zip(row.inside[::2], row.inside[1::2], strict=True):
        labels[start:end] = [row.label] * (end - start)
    for start, end in zip(row.answer[::2], row.answer[1::2], strict=True):
        weights[start:end] = [row.weight] * (end - start)
    return {"labels": labels, "weights": weights}


def is_word(char: str) -> bool:
    return char.isalnum() or char == "_"


class ByHand:
    """The user code, ready: tokenizer, automaton, pattern. Another process makes its own from the folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        phrases = (folder / "phrases.txt").read_text(encoding="utf-8").split("\n")
        self._phrases = AhoCorasick([phrase for phrase in phrases if phrase], matchkind=MatchKind.LeftmostLongest)
        self._name = re.compile("[0-9]+|[A-Z][a-z]+")

    def __reduce__(self) -> tuple[type[ByHand], tuple[Path]]:
        return ByHand, (self._folder,)

    def rows(self, records: Sequence[Record]) -> list[Row]:
        """The rows of a batch: as fast as such code gets."""
        rendered = [self._rendered(record) for record in records]
        encodings = self._tokenizer.encode_batch([text for text, _ in rendered])
        return [self._row(*each) for each in zip(records, rendered, encodings, strict=True)]

    def example(self, record: Record) -> dict[str, Any]:
        """The row of one record by itself, with a label and a weight for every token, as a training loop takes them: the form
        that most people write."""
        rendered = self._rendered(record)
        row = self._row(record, rendered, self._tokenizer.encode(rendered[0]))
        return {**fields_of(row), **dense(row)}

    @staticmethod
    def _rendered(record: Record) -> tuple[str, tuple[int, int]]:
        """The text, and where the answer is in it."""
        answer = record["answer"]
        text = f"{record['title']}: {record['premise']} Question: {record['question']} Answer: {answer}"
        return text, (len(text) - len(answer), len(text))

    def _row(self, record: Record, rendered: tuple[str, tuple[int, int]], encoding: Any) -> Row:
        text, answer = rendered

        def place(start: int, end: int) -> list[int]:
            return [encoding.char_to_token(start), encoding.char_to_token(end - 1) + 1]

        names = [match.span() for match in self._name.finditer(text)]
        name_ends = [end for _, end in names]
        inside: list[int] = []
        link: list[int] = []
        for start, end in self._terms(text):
            if start < answer[0] or end > answer[1]:
                continue
            tokens = place(start, end)
            inside += tokens
            nearest = bisect_right(name_ends, start)
            if nearest:
                link += tokens
                link += place(*names[nearest - 1])
        return Row(record["id"], encoding.ids, place(*answer), inside, link, record["label"], record["weight"])

    def _terms(self, text: str) -> Iterator[tuple[int, int]]:
        """The phrases that are whole words."""
        for _, start, end in self._phrases.find_matches_as_indexes(text):
            if (not start or not is_word(text[start - 1])) and (end == len(text) or not is_word(text[end])):
                yield start, end


def batches(lines: Iterable[bytes]) -> Iterator[list[Record]]:
    """The records of JSON lines, some at a time."""
    lines = iter(lines)
    while chunk := list(islice(lines, BATCH)):
        yield [json.loads(line) for line in chunk]
