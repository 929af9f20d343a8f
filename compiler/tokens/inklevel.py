"""Places the tokens of word-piece, unigram and other character-level tokenizers by the number of their characters that are no
white space, in texts of ASCII.

What such tokenizers do with white space differs (dropped, or a mark `▁` before a word); what they do with the rest of ASCII
does not, unless a normaliser replaces it. Every other text goes to the library.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from tokenizers import Tokenizer

from ..batch import Bools, Ints
from .lengths import UNKNOWN, Sums, Texts, length_table, steps

_MARK = "▁"
_HARMLESS = {"BertNormalizer", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "StripAccents", "Strip"}
"""Normalisers that change nothing in ASCII but white space and case, and at most drop control characters: then the sum falls
short, and shows it."""
_BYTES = {f"<0x{byte:02X}>": chr(byte) for byte in range(0x80)}
"""Names of tokens that stand for one byte, where a tokenizer falls back to bytes."""


class InkLengths:
    """Lengths in characters that are no white space."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        prefix = getattr(tokenizer.model, "continuing_subword_prefix", None) or ""
        suffix = getattr(tokenizer.model, "end_of_word_suffix", None) or ""
        vocabulary = tokenizer.get_vocab(with_added_tokens=True)
        added = tokenizer.get_added_tokens_decoder()
        self._lengths = length_table(
            tokenizer,
            ((id, _ink(token, prefix, suffix)) for token, id in vocabulary.items()),
            ((id, _ink(token.content)) for id, token in added.items()),
        )

    @staticmethod
    def fits(tokenizer: Tokenizer) -> bool:
        """Whether no step of the tokenizer can put one character of ASCII for another, or add any."""
        before = steps(tokenizer.pre_tokenizer)
        return all(map(_keeps_ink, steps(tokenizer.normalizer))) and all(
            step["type"] != "ByteLevel" and step.get("replacement", _MARK) == _MARK for step in before
        )

    def promising(self, given: Texts) -> Bools:
        """Texts of ASCII."""
        chars = np.fromiter(map(len, given.strings), np.int64, len(given.strings))
        ascii: Bools = chars == given.stop - given.begin
        return ascii

    def ranges(self, given: Texts, rows: Ints, ids: Ints, counts: Ints) -> tuple[Ints, Ints, Bools]:
        """See `Lengths`."""
        begin = given.begin[rows]
        places, first = given.trimmer.ink(begin)
        _, last = given.trimmer.ink(given.stop[rows])
        sums = Sums(self._lengths[ids], counts)
        sure: Bools = sums.total == last - first
        base, limit = np.repeat(first, counts), len(places) - 1
        if limit < 0:
            start = np.repeat(begin, counts)
            return start, start.copy(), sure
        reached = places[np.clip(base + sums.end - 1, 0, limit)] + 1
        end = np.where(sums.end > 0, reached, np.repeat(begin, counts))
        start = np.where(sums.end > sums.start, places[np.clip(base + sums.start, 0, limit)], end)
        return start, end, sure


def _ink(token: str, prefix: str = "", suffix: str = "") -> int:
    """Characters of a token that are no white space, without what marks its place in a word."""
    if token in (prefix, suffix) and token:
        return UNKNOWN
    bare = _BYTES.get(token, token.removeprefix(prefix).removesuffix(suffix))
    return sum(char != _MARK and not char.isspace() for char in bare)


def _keeps_ink(step: dict[str, Any]) -> bool:
    match step:
        case {"type": "Prepend", "prepend": text}:
            return bool(text == _MARK)
        case {"type": "Replace", "pattern": {"String": " "}, "content": text}:
            return bool(text == _MARK)
        case _:
            return step["type"] in _HARMLESS
