"""Batches made by hand for the tests of span sets: texts of any script, cut into tokens as the test says."""

import re
import zlib
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from mcd.compiler.batch import Spans, TextBatch, TokenTable
from mcd.compiler.evaluation.evaluate import Evaluator
from mcd.compiler.tokens.tokenize import Encoder
from mcd.compiler.walk import join_sets
from mcd.dsl import checked as c
from mcd.dsl.source import Place, SourceText

PLACE = Place(SourceText("spec.mcd", "span s = record\n"), 0, 4)
named = partial(c.Named, name="s", place=PLACE)


def byte_encoder(folder: Path) -> Encoder:
    """A tokenizer of bytes, with two merges, that adds `<s>` and `</s>`."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate(["<s>", "</s>", *letters, "Ġw", "xx"])}
    tokenizer = Tokenizer(models.BPE(vocabulary, [("Ġ", "w"), ("x", "x")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    file = folder / "tokenizer.json"
    tokenizer.save(str(file))
    return Encoder(file)


def token_id(string: str, part: int = 0) -> int:
    """The vocabulary's id of a token, of which 0 is left to the tokenizer."""
    return zlib.crc32(f"{string}{part}".encode()) % 50000 + 1


@dataclass
class Row:
    """A record. `tokens`: their strings, one after another the text; a pair `(char, n)` is a character cut into n tokens."""

    tokens: list
    mentions: list | None = None
    slot: tuple[int, int] | None = None
    name: str = "r"
    links: list | None = None
    text: str = field(init=False)

    def __post_init__(self):
        self.text = "".join(token if isinstance(token, str) else token[0] for token in self.tokens)

    def places(self):
        """(start, end, vocabulary id) of every token in code points, outer white space off."""
        at = 0
        for token in self.tokens:
            string, count = (token, 1) if isinstance(token, str) else token
            stripped = string.strip()
            begin = at + (len(string) - len(string.lstrip()) if stripped else 0)
            for part in range(count):
                yield begin, begin + len(stripped), token_id(string, part)
            at += len(string)


def row(text: str, mentions: list | None = None, **rest) -> Row:
    """A record cut into words with the white space before them, and single signs."""
    return Row(re.findall(r"\s?\w+|\s?[^\w\s]|\s", text), mentions, **rest)


def batch(*rows: Row | str, source="s", added=0, fields=None, type=None) -> TextBatch:
    """A batch. `added`: tokens that the tokenizer adds, at the begin of each record."""
    rows = [row(each) if isinstance(each, str) else each for each in rows]
    table, bounds, counts = [], [0], [0]
    for number, each in enumerate(rows):
        width = np.cumsum([0, *(len(char.encode()) for char in each.text)]) + bounds[-1]
        table += [(i, width[0], width[0], number, True) for i in range(added)]
        table += [(id, width[start], width[end], number, False) for start, end, id in each.places()]
        bounds.append(int(width[-1]))
        counts.append(len(table))
    ids, start, end, record, flags = (np.array([line[i] for line in table], np.int64) for i in range(5))
    tokens = TokenTable(ids, start, end, record, np.array(counts), flags.astype(bool))
    buffer = np.frombuffer("".join(each.text for each in rows).encode(), np.uint8)
    slots = {}
    if any(each.slot for each in rows):
        edges = [each.slot or (0, 0) for each in rows]
        slots[("slot",)] = tuple(
            np.array([bounds[i] + len(rows[i].text[: edges[i][side]].encode()) for i in range(len(rows))])
            for side in (0, 1)
        )
    fields = dict(fields or {})
    if any(each.mentions is not None for each in rows):
        fields[("mentions",)] = pa.array([each.mentions for each in rows], type)
    if any(each.links is not None for each in rows):
        fields[("align",)] = pa.array([each.links for each in rows])
    names = pa.array([each.name for each in rows], pa.string())
    return TextBatch(source, names, buffer, np.array(bounds), slots, fields, tokens, np.arange(len(rows)) + 4)


def evaluate(texts: TextBatch, definition: c.SpanSet) -> Spans:
    return Evaluator([definition]).start(texts).spans(definition)


def words(texts: TextBatch, definition: c.SpanSet) -> list[str]:
    """The texts of a set's spans."""
    return strings(texts, evaluate(texts, definition))


def strings(texts: TextBatch, spans: Spans) -> list[str]:
    buffer = texts.buffer.tobytes()
    return [buffer[a:b].decode() for a, b in zip(spans.start, spans.end, strict=True)]


def edges(texts: TextBatch, join: c.Join) -> list[tuple[str, str]]:
    """The edges of a join as pairs of texts."""
    query, key, found = Evaluator(join_sets([join])).start(texts).join(join)
    one, other = strings(texts, query), strings(texts, key)
    return [(one[q], other[k]) for q, k in zip(found.query, found.key, strict=True)]


def place_edges(texts: TextBatch, join: c.Join) -> list[tuple[int, int]]:
    """The edges of a join as positions in its two sets."""
    found = Evaluator(join_sets([join])).start(texts).join(join)[2]
    return list(zip(found.query.tolist(), found.key.tolist(), strict=True))


def attr(name: str, role: str = "self", *steps: str) -> c.Attr:
    return c.Attr(c.SpanRef(role, steps), name)


def equal(left: c.Scalar, right) -> c.Compare:
    return compare(left, "==", right)


def compare(left, op: str, right) -> c.Compare:
    return c.Compare(op, *(side if hasattr(side, "__slots__") else c.Literal_(side) for side in (left, right)))


MENTIONS = c.Offsets(("mentions",), None)
LINKED = c.Linked(("align",), "query")
QUERY, KEY = c.SpanRef("query"), c.SpanRef("key")
KEY_BEFORE = c.Before(KEY, QUERY)
