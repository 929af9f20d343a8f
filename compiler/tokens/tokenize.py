"""Rendered texts -> the token table of a batch.

A text has its tokens from those of its chunks, each of which is tokenised once (`chunks.py`), where a tokenizer is known to allow
that (`cuts.py`), and from the library as a whole otherwise (`whole.py`). Where the tokens lie follows, for most tokenizers and
texts, from the lengths of the tokens alone (`lengths.py`). That is taken only where they add up to the length of the text. Both
are used only if the tokenizer agreed with the library on sample texts when it was opened. All else has its places from the
library's offsets, which cost a quarter more time.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
from tokenizers import Tokenizer, models

from ...dsl.codes.sources import BAD_TOKENIZER
from ...dsl.diagnostics import Failure
from ...dsl.source import DataPlace
from ..batch import Bools, Ints, TokenTable
from ..plan import Digest
from ..sources.base import shorten
from .chunks import chunks_of
from .lengths import Texts, Tokens
from .whole import SAMPLES, WholeTexts, in_order

MASKS = ("[MASK]", "<mask>")
"""What BERT and RoBERTa, and those that followed them, call the token that stands for a masked one."""


class Encoder:
    """A tokenizer as its file defines it, but for truncation, padding and dropout. `digest` is the file's, `size` one more than
    the largest token id; `prefix` and `suffix` are the ids that the post-processor puts before and after every text.

    Raises `Failure` where the file cannot be read, is no tokenizer, or is one that adds tokens in another way. `shown` is how
    messages name the file.
    """

    def __init__(self, file: Path, shown: str | None = None) -> None:
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # tasks are what runs in parallel
        shown = shown or file.name
        self._tokenizer, self.digest = _load(file, shown)
        self.prefix, self.suffix = _edges(self._tokenizer, shown)
        vocabulary: dict[str, int] = self._tokenizer.get_vocab(with_added_tokens=True)
        self.size: int = max(vocabulary.values(), default=-1) + 1
        self._whole = WholeTexts(self._tokenizer)
        self._chunks = chunks_of(self._tokenizer, self._whole)

    @property
    def fast(self) -> bool:
        """Whether byte ranges come from lengths, where these add up."""
        return self._whole.lengths is not None

    @property
    def chunked(self) -> bool:
        """Whether texts are tokenised by their chunks."""
        return self._chunks is not None

    def single(self, texts: Sequence[str]) -> Ints:
        """For each text the id of the token that it is, -1 where it is none, several, or one that the tokenizer does not know."""
        found = [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts), add_special_tokens=False)]
        single = (
            ids[0] if len(ids) == 1 and self._names(ids[0], text) else -1
            for ids, text in zip(found, texts, strict=True)
        )
        return np.fromiter(single, np.int64, len(found))

    def _names(self, id: int, text: str) -> bool:
        """Whether a token is `text`, and not the one that stands for every text that is unknown."""
        return id != self._unknown or self._tokenizer.id_to_token(id) == text

    @cached_property
    def _unknown(self) -> int | None:
        """The id of the token that stands for what the vocabulary does not have."""
        model = json.loads(self._tokenizer.to_str())["model"]
        return self._tokenizer.token_to_id(model["unk_token"]) if model.get("unk_token") else model.get("unk_id")

    def token_id(self, name: str) -> int | None:
        """The id of the entry `name` of the vocabulary, added ones included."""
        found: int | None = self._tokenizer.token_to_id(name)
        return found

    @cached_property
    def special(self) -> Bools:
        """Per id, whether it is a special token, which a tokenizer finds in a text before all else."""
        found = np.zeros(self.size, np.bool_)
        found[[id for id, token in self._tokenizer.get_added_tokens_decoder().items() if token.special]] = True
        return found

    @cached_property
    def mask(self) -> int | None:
        """The id of the special token that stands for a masked one, by the names that masked language models give it."""
        special = self._tokenizer.get_added_tokens_decoder().items()
        found = [id for id, token in special if token.special and token.content in MASKS]
        return found[0] if len(found) == 1 else None

    def encode(self, texts: pa.StringArray, bare: bool = False) -> TokenTable:
        """The tokens of `texts` (without nulls); positions are bytes in the buffer that holds all of them. `bare`: without those
        that the post-processor adds, as of a text that a chat template gave its own."""
        given = Texts.of(texts)
        rows, tokens = self._chunks.tokens(given) if self._chunks else (np.zeros(0, np.int64), None)
        if tokens is None or not len(rows):
            tokens = self._whole.tokens(given)
        elif len(rows) < len(given):
            rest = np.setdiff1d(np.arange(len(given)), rows, assume_unique=True)
            tokens = in_order([(rows, tokens), (rest, self._whole.tokens(given.take(rest)))], len(given))
        bounds = np.append(given.begin, len(given.buffer))
        return self._table(tokens, bounds, *(((), ()) if bare else (self.prefix, self.suffix)))

    @staticmethod
    def _table(tokens: Tokens, bounds: Ints, prefix: tuple[int, ...], suffix: tuple[int, ...]) -> TokenTable:
        """The tokens with `prefix` and `suffix` before and after those of every text."""
        texts = len(tokens.counts)
        before, after = len(prefix), len(suffix)
        counts = tokens.counts + before + after
        offsets = np.concatenate([[0], np.cumsum(counts)])
        record = np.repeat(np.arange(texts), counts)
        if not before + after:
            return TokenTable(tokens.ids, tokens.start, tokens.end, record, offsets, np.zeros(len(record), np.bool_))
        rank = np.arange(len(record)) - offsets[record]
        head, tail = rank < before, rank >= (counts - after)[record]
        added = head | tail
        edge = np.where(head, bounds[record], bounds[record + 1])
        ids, start, end = np.empty_like(record), edge, edge.copy()
        ids[head], ids[tail] = np.tile(prefix, texts), np.tile(suffix, texts)
        ids[~added], start[~added], end[~added] = tokens.ids, tokens.start, tokens.end
        return TokenTable(ids, start, end, record, offsets, added)


def _load(file: Path, shown: str) -> tuple[Tokenizer, Digest]:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise _failure(shown, f"cannot be read: {error.strerror}") from error
    try:
        tokenizer = Tokenizer.from_buffer(content)
    except Exception as error:  # the library raises nothing narrower
        raise _failure(shown, f"is no tokenizer: {shorten(error)}") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    if isinstance(tokenizer.model, models.BPE):
        tokenizer.model.dropout = None  # which would cut the same text differently every time
    return tokenizer, hashlib.sha256(content).hexdigest()[:32]


def _edges(tokenizer: Tokenizer, shown: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The ids before and after every text."""
    found = {_edges_of(tokenizer, text, shown) for text in SAMPLES[:2]}
    if len(found) > 1:
        raise _failure(shown, "puts other tokens around some texts than around others, which is not supported")
    return found.pop()


def _edges_of(tokenizer: Tokenizer, text: str, shown: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    bare = tokenizer.encode(text, add_special_tokens=False).ids
    whole = tokenizer.encode(text, add_special_tokens=True)
    marks = whole.special_tokens_mask
    before = next((i for i, mark in enumerate(marks) if not mark), len(marks))
    after = len(whole.ids) - before - len(bare)
    if whole.ids[before : before + len(bare)] != bare or after < 0:
        raise _failure(shown, "adds tokens within a text, which is not supported")
    return tuple(whole.ids[:before]), tuple(whole.ids[before + len(bare) :])


def _failure(shown: str, fact: str) -> Failure:
    return Failure(BAD_TOKENIZER.at(DataPlace(shown), f"tokenizer `{shown}` {fact}"))
