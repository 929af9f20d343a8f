"""A program -> its plan and recipe, verified, and the tokenizer that they were made with."""

from __future__ import annotations

import numpy as np

from ..dsl import checked as c
from ..dsl.codes import sources as codes
from ..dsl.diagnostics import Failure
from ..version import VERSION
from .lower import Lowered, lower
from .plan import Tokenizer, Vocabulary
from .tokens.tokenize import Encoder
from .verify import broken_invariants


def prepare(program: c.Program) -> tuple[Lowered, Encoder]:
    """The plan and the recipe of a program, and the tokenizer that they were made with."""
    encoder = Encoder(program.model.tokenizer)
    if encoder.size > program.model.vocab:
        message = f"the tokenizer has {encoder.size} tokens, model `{program.model.name}` a vocabulary of {program.model.vocab}"
        raise Failure(codes.VOCABULARY.at(program.model.place, message))
    tokenizer = Tokenizer(
        digest=encoder.digest,
        prefix=len(encoder.prefix),
        suffix=len(encoder.suffix),
        bare=tuple(sorted(source.name for source in program.sources if isinstance(source.text, c.Chat))),
        vocabulary=None if program.model.causal else _vocabulary(encoder),
    )
    lowered = lower(program, tokenizer, VERSION)
    if broken := broken_invariants(lowered.plan):
        raise AssertionError("; ".join(broken))
    return lowered, encoder


def _vocabulary(encoder: Encoder) -> Vocabulary:
    special = tuple(np.flatnonzero(encoder.special).tolist())
    return Vocabulary(size=encoder.size, special=special, mask=encoder.mask)
