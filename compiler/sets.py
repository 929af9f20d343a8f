"""The keys under which shards hold ranges: digests of definitions, what derives from them, and the reserved ones.

DIGEST          spans and edges, each in the first part of its record in which it is whole
DIGEST/cut      what a part shows of spans that are whole in another part or in none; only `weigh` reads it
DIGEST/again    spans that a part shows whole and that acted in a part before; only joins of two sets read it
blank           tokens of white space alone; they belong to no span but `tokens` and one that is such a token
repeat          tokens that are context alone: an overlap, and added tokens where a text goes on
record/cut      what a part shows of a record that the context cuts
"""

from __future__ import annotations

from .plan import Digest
from .recipe import Recipe

BLANK = "blank"
REPEAT = "repeat"
RECORD = "record"
TOKENS = "tokens"


def cut(key: Digest) -> str:
    """The key of the visible remainders of a set."""
    return f"{key}/cut"


def again(key: Digest) -> str:
    """The key of the repeated spans of a set."""
    return f"{key}/again"


def both(one: Digest, other: Digest) -> str:
    """The key under which parts of records that hold spans of two sets are counted; no shard holds it."""
    return f"{one}+{other}"


COUNTED = (RECORD, TOKENS)
"""Sets that are never stored, and counted all the same."""


def set_keys(recipe: Recipe) -> tuple[str, ...]:
    """Every key that shards of `recipe` may hold; the place of one is its number in every file."""
    stored = [key for each in recipe.sets for key in (each.digest, cut(each.digest), again(each.digest))]
    return tuple(sorted([*stored, *(each.digest for each in recipe.edges), BLANK, REPEAT, cut(RECORD)]))
