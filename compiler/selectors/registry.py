"""The table of selectors: what evaluates each kind of span set. A new kind is one function and one line here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...dsl import checked
from ..batch import Spans
from .algebra import difference, inside, intersection, named, of_source, union, where
from .base import Context
from .markup import markup
from .neighbours import edge, neighbour, predicting
from .offsets import offsets
from .phrases import phrases
from .regex import regex
from .slot import slot
from .special import special
from .take import take
from .tokens import record, tokens

Selector = Callable[[Any, Context], Spans]

SELECTORS: dict[type, Selector] = {
    checked.Tokens: tokens,
    checked.Record: record,
    checked.Phrases: phrases,
    checked.Regex: regex,
    checked.Offsets: offsets,
    checked.Slot: slot,
    checked.Markup: markup,
    checked.Special: special,
    checked.Union: union,
    checked.Intersection: intersection,
    checked.Difference: difference,
    checked.Within: inside,
    checked.Filter: where,
    checked.Take: take,
    checked.Edge: edge,
    checked.Neighbour: neighbour,
    checked.Predicting: predicting,
    checked.OfSource: of_source,
    checked.Named: named,
}
