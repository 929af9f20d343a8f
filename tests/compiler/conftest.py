"""What several tests of the compiler are given."""

from itertools import count

import pytest

from mcd.compiler.tokens.tokenize import Encoder


@pytest.fixture
def encoded(monkeypatch):
    """The number of records that were tokenised, by call."""
    found = []
    encode = Encoder.encode

    def counting(self, texts, bare=False):
        found.append(len(texts))
        return encode(self, texts, bare)

    monkeypatch.setattr(Encoder, "encode", counting)
    return found


@pytest.fixture
def outs(tmp_path):
    """Names of directories that nothing was compiled into."""
    return (tmp_path / f"out{number}" for number in count())
