"""Tokens of an entry for texts that are read again, since another field of their records is wanted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from ..batch import Bools, TokenTable
from ..tokens.text import string_bytes
from ..tokens.tokenize import Encoder
from .columns import tokens_of


class KeptTokens:
    """Stands for the tokenizer of a task whose texts come in the order in which they were kept. `held`: batches as `packed` gives
    them. From the first text on that is another one than was kept, the tokenizer itself is asked."""

    def __init__(self, held: Sequence[pa.RecordBatch], encoder: Encoder) -> None:
        self._left = list(reversed(held))
        self._encoder = encoder

    @property
    def special(self) -> Bools:
        """As of the tokenizer."""
        return self._encoder.special

    def encode(self, texts: pa.StringArray, bare: bool = False) -> TokenTable:
        """As of the tokenizer."""
        begin = string_bytes(texts)[1][:-1]
        found: list[TokenTable] = []
        done = 0
        while done < len(texts):
            held = self._left.pop() if self._left else None
            count = 0 if held is None else min(held.num_rows, len(texts) - done)
            if held is None or bare or not held.column("text").slice(0, count).equals(texts.slice(done, count)):
                self._left.clear()
                return self._encoder.encode(texts, bare)
            found.append(tokens_of(held.column("tokens").slice(0, count), begin[done : done + count]))
            done += count
            if count < held.num_rows:
                self._left.append(held.slice(count))
        return joined(found)


def joined(tables: Sequence[TokenTable]) -> TokenTable:
    """The tokens of runs of records, one after another. Their places are those in the whole already."""
    if len(tables) == 1:
        return tables[0]
    counts = np.concatenate([np.zeros(1, np.int64), *(np.diff(table.offsets) for table in tables)])
    ids, start, end, added = (
        np.concatenate([getattr(table, name) for table in tables]) for name in ("ids", "start", "end", "added")
    )
    record = np.repeat(np.arange(len(counts) - 1), counts[1:])
    return TokenTable(ids, start, end, record, np.cumsum(counts), added)
