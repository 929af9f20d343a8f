"""Terms: one per group of rules, from the rows of a batch and what the model left behind to one loss per row.

A term knows its rules' constants (masses, anchors, margins) as buffers that move with the model and are in no state dict. Each
kind stands in a file; here is what makes the term of a group.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from torch import nn

from ..adapters import Parts
from ..anchors import Anchors, Vectors
from ..groups import (
    ClassifyGroup,
    ContrastGroup,
    DistilGroup,
    HiddenGroup,
    LikeGroup,
    PredictGroup,
    TowardGroup,
)
from ..probes import Probes
from .attend import AttendTerm
from .classify import ClassifyTerm
from .contrast import ContrastTerm
from .distil import DistilTerm
from .hidden import HiddenTerm, pool
from .like import LikeTerm
from .predict import PredictTerm
from .relate import RelateTerm
from .term import Term, by_rule, count
from .toward import TowardTerm

__all__ = ["AttendTerm", "HiddenTerm", "Term", "by_rule", "count", "hidden_term", "pool"]


def hidden_term(
    reader: int,
    group: HiddenGroup,
    vectors: Vectors,
    probes: Probes,
    parts: Parts,
    heads: Mapping[str, nn.Module] = MappingProxyType({}),
) -> HiddenTerm:
    """The term of a group. `heads`: those of teachers, by name.

    Fails with MCD705 where an anchor is missing or is not a vector of the model's width.
    """
    maps = probes.maps_of(group.rules[0])
    if isinstance(group, ClassifyGroup):
        return ClassifyTerm(reader, group, maps, probes.of(group.rules[0]))
    if isinstance(group, ContrastGroup):
        return ContrastTerm(reader, group, maps)
    if isinstance(group, PredictGroup):
        assert parts.head is not None, "`check_heads` looks"
        return PredictTerm(reader, group, maps, parts.norm, parts.head)
    if isinstance(group, DistilGroup):
        return DistilTerm(reader, group, maps, parts, heads[group.rules[0].teacher])
    if isinstance(group, LikeGroup):
        start, end = ([getattr(rule, name) for rule in group.rules] for name in ("anchor", "anchor_to"))
        ends = (Anchors(group.rules, names, vectors, probes) for names in (start, end))
        return LikeTerm(reader, group, *ends)
    names = [rule.anchor for rule in group.rules if rule.anchor is not None]
    anchors = Anchors(group.rules, names, vectors, probes) if names else None
    if isinstance(group, TowardGroup):
        return TowardTerm(reader, group, maps, anchors)
    assert anchors is not None, "a relation has an anchor"
    return RelateTerm(reader, group, anchors)
