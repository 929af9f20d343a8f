"""Places the tokens of a byte-level BPE by the number of their bytes."""

from __future__ import annotations

from unicodedata import is_normalized

import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers

from ..batch import Bools, Ints
from .lengths import Sums, Texts, length_table, steps
from .text import is_ascii


class ByteLengths:
    """Lengths in bytes: such a tokenizer cuts the bytes of a text, and a token's name has one letter for each."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        alphabet = set(pre_tokenizers.ByteLevel.alphabet())
        vocabulary = tokenizer.get_vocab(with_added_tokens=True)
        added = tokenizer.get_added_tokens_decoder()
        self.table = length_table(
            tokenizer,
            ((id, len(token)) for token, id in vocabulary.items() if alphabet.issuperset(token)),
            ((id, len(token.content.encode())) for id, token in added.items()),
        )
        self._added = np.zeros(len(self.table), np.bool_)
        self._added[list(added)] = True
        self._composes = bool(steps(tokenizer.normalizer))
        self._adds_space = any(step.get("add_prefix_space") for step in steps(tokenizer.pre_tokenizer))

    @staticmethod
    def fits(tokenizer: Tokenizer) -> bool:
        """Whether the tokenizer is a byte-level BPE, of texts as they are or in Unicode's form NFC."""
        model = tokenizer.model
        return (
            isinstance(model, models.BPE)
            and not model.continuing_subword_prefix
            and not model.end_of_word_suffix
            and any(step["type"] == "ByteLevel" for step in steps(tokenizer.pre_tokenizer))
            and all(step["type"] == "NFC" for step in steps(tokenizer.normalizer))
        )

    def promising(self, given: Texts) -> Bools:
        """Texts that normalisation leaves alone."""
        if not self._composes or is_ascii(given.buffer):
            return np.ones(len(given), np.bool_)
        return np.fromiter((is_normalized("NFC", text) for text in given.strings), np.bool_, len(given))

    def sizes(self, given: Texts) -> Ints:
        """Bytes, with the space that the pre-tokeniser puts before a text."""
        return given.stop - given.begin + self._spaced(given)

    def ranges(self, given: Texts, ids: Ints, counts: Ints) -> tuple[Ints, Ints, Bools]:
        """See `Lengths`."""
        begin, stop, spaced = given.begin, given.stop, self._spaced(given)
        sums = Sums(self.table[ids], counts)
        sure: Bools = sums.total == stop - begin + spaced
        if self._adds_space:  # an added token cuts the text, and a space is put before each piece
            text = np.repeat(np.arange(len(given)), counts)
            sure &= np.bincount(text[self._added[ids]], minlength=len(given)) == 0
        shift = np.repeat(begin - spaced, counts)
        start, end = sums.start + shift, sums.end + shift
        if not sure.all() or spaced.any():
            lowest, highest = np.repeat(begin, counts), np.repeat(stop, counts)
            start, end = np.clip(start, lowest, highest), np.clip(end, lowest, highest)
        return *given.trimmer.trim(start, end), sure

    def _spaced(self, given: Texts) -> Ints:
        """Per text, 1 where the pre-tokeniser puts a space before it."""
        if not self._adds_space:
            return np.zeros(len(given), np.int64)
        first = np.append(given.buffer, np.uint8(0x20))[given.begin]
        spaced: Bools = (first != 0x20) & (given.stop > given.begin)
        return spaced.astype(np.int64)
