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
from .text import is_ascii

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
        self.table = length_table(
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
        if is_ascii(given.buffer):
            return np.ones(len(given), np.bool_)
        wide = np.concatenate([[0], np.cumsum(given.buffer >= 0x80)])
        ascii: Bools = wide[given.begin] == wide[given.stop]
        return ascii

    def sizes(self, given: Texts) -> Ints:
        """Characters that are no white space, of texts of ASCII."""
        return given.trimmer.ink(given.stop)[1] - given.trimmer.ink(given.begin)[1]

    def ranges(self, given: Texts, ids: Ints, counts: Ints) -> tuple[Ints, Ints, Bools]:
        """See `Lengths`."""
        places, first = given.trimmer.ink(given.begin)
        sums = Sums(self.table[ids], counts)
        sure: Bools = sums.total == self.sizes(given)
        base, limit = np.repeat(first, counts), len(places) - 1
        if limit < 0:
            start = np.repeat(given.begin, counts)
            return start, start.copy(), sure
        reached = places[np.clip(base + sums.end - 1, 0, limit)] + 1
        end = np.where(sums.end > 0, reached, np.repeat(given.begin, counts))
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
