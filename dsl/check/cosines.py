"""What rules ask of the cosine between a hidden state and an anchor, and whether all of it can be had at once.

`toward` asks for 1; `is_a` for at least its margin, `opposes` for at most minus that, `distinct` for a value between the two.
Rules are compared where their canonical subject, a layer and a stage are the same, and where what one pools follows from what
the other does. Two things are impossible: bounds on one anchor that exclude each other, and a state near to anchors that are
orthogonal: by Bessel's inequality the squares of its cosines add up to at most 1. A learned anchor moves to where it is asked
to be, and a map in between does what it likes; both are left out.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from .. import checked as c
from ..canonical import Memo, digest
from ..codes import values as codes
from ..diagnostics import Code, Diagnostic, Related

Acting: TypeAlias = Mapping[str, frozenset[int]]
"""The stages in which a rule acts, by its id; without stages, training is one."""

ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Asked:
    """A rule that asks for a cosine in `[low, high]` with the anchor of `concept`."""

    rule: c.Toward | c.Relate
    concept: c.Concept
    low: float
    high: float

    @property
    def anchor(self) -> object:
        """What tells anchors apart: one vector under two names is one."""
        one_of_many = isinstance(self.concept.anchor, c.Orthonormal | c.LearnedAnchor)
        return self.concept.name if one_of_many else self.concept.anchor

    @property
    def distance(self) -> float:
        """How large the cosine is at least, whatever its sign."""
        return max(self.low, -self.high, 0.0)

    def __str__(self) -> str:
        if self.low == self.high:
            return f"{self.low:g}"
        if self.low > -1 and self.high < 1:
            return f"from {self.low:g} to {self.high:g}"
        return f"at least {self.low:g}" if self.high == 1 else f"at most {self.high:g}"


def clashing_cosines(rules: Iterable[c.Rule], acting: Acting, memo: Memo) -> Iterator[Diagnostic]:
    """A finding per rule that cannot hold beside one before it."""
    before: dict[tuple[str, c.Layer], dict[object, Asked]] = defaultdict(dict)
    for rule in rules:
        asked = _asked(rule)
        if asked is None:
            continue
        found: Diagnostic | None = None
        for layer in asked.rule.layers.resolved:
            rivals = before[digest(_subject(asked.rule), memo), layer]
            near = [other for other in rivals.values() if _together(asked.rule, other.rule, acting)]
            found = found or _excluded(asked, near, layer) or _too_near(asked, near, layer, acting)
            rivals.setdefault((asked.anchor, str(asked), asked.rule.pool, acting[asked.rule.id]), asked)
        if found is not None:
            yield found


def _asked(rule: c.Rule) -> Asked | None:
    match rule:
        case c.Toward(target=c.Concept() as concept, through=None):
            return Asked(rule, concept, 1.0, 1.0)
        case c.Relate(object=concept, margin=margin) if rule.subject.spans is not None:
            low, high = {"is_a": (margin, 1.0), "opposes": (-1.0, -margin), "distinct": (-margin, margin)}[
                rule.relation
            ]
            return Asked(rule, concept, low + 0.0, high + 0.0)  # no -0
    return None


def _subject(rule: c.Toward | c.Relate) -> c.SpanSet:
    spans = rule.subject.spans if isinstance(rule, c.Relate) else rule.subject
    assert spans is not None
    return spans


def _together(rule: c.Toward | c.Relate, other: c.Toward | c.Relate, acting: Acting) -> bool:
    """Whether two rules speak of the same states at the same time."""
    return bool(acting[rule.id] & acting[other.id]) and (_implies(rule, other) or _implies(other, rule))


def _implies(rule: c.Toward | c.Relate, other: c.Toward | c.Relate) -> bool:
    """Whether a bound that `rule` sets is one for what `other` pools. States near to a vector, or to its opposite, form a convex
    cone, so that their mean is in it as well; those that are far from both do not."""
    if rule.pool != "each" or other.pool in ("each", "first", "last"):
        return rule.pool in (other.pool, "each")
    return not (isinstance(rule, c.Relate) and rule.relation == "distinct")


def _excluded(asked: Asked, rivals: list[Asked], layer: c.Layer) -> Diagnostic | None:
    """A rival whose bounds exclude those of `asked`."""
    for other in rivals:
        same = asked.anchor == other.anchor
        if same and (asked.low > other.high + ROUNDING or other.low > asked.high + ROUNDING):
            if {getattr(each.rule, "relation", None) for each in (asked, other)} == {"is_a", "opposes"}:
                continue  # reported for the two concepts, whatever the layer
            message = f"the cosine with `{asked.concept.name}` at layer {layer} cannot be {asked} and {other}"
            return _found(_code(asked, other), asked, message, other)
        toward = isinstance(asked.rule, c.Toward) and isinstance(other.rule, c.Toward)
        if toward and not same and not any(isinstance(each.concept.anchor, c.LearnedAnchor) for each in (asked, other)):
            names = f"`{asked.concept.name}` and `{other.concept.name}`"
            message = f"the same spans are pulled toward {names} at layer {layer}"
            return _found(codes.TARGETS_CLASH, asked, message, other)
    return None


def _too_near(asked: Asked, rivals: list[Asked], layer: c.Layer, acting: Acting) -> Diagnostic | None:
    """Rivals with orthogonal anchors to which the states cannot be near as well, in some stage."""
    if not isinstance(asked.concept.anchor, c.Orthonormal) or asked.distance == 0:
        return None
    for stage in sorted(acting[asked.rule.id]):
        nearest = {asked.concept.name: asked}
        for other in rivals:
            known = nearest.get(other.concept.name)
            if not isinstance(other.concept.anchor, c.Orthonormal) or stage not in acting[other.rule.id]:
                continue
            if known is None or other.distance > known.distance:
                nearest[other.concept.name] = other
        others = [other for other in nearest.values() if other is not asked and other.distance > 0]
        total = math.fsum(each.distance**2 for each in nearest.values())
        if total > 1 + ROUNDING and asked in nearest.values() and others:
            names = ", ".join(f"`{other.concept.name}` ({other})" for other in others)
            message = (
                f"at layer {layer} the cosine with `{asked.concept.name}` cannot be {asked} beside that with {names}:"
                f" these anchors are orthogonal, and the squares add up to {total:.3g}, above 1"
            )
            return _found(_code(asked, *others), asked, message, *others)
    return None


def _code(*asked: Asked) -> Code:
    relations = all(isinstance(each.rule, c.Relate) for each in asked)
    return codes.RELATIONS_CLASH if relations else codes.TARGETS_CLASH


def _found(code: Code, asked: Asked, message: str, *others: Asked) -> Diagnostic:
    return clash_of(code, asked.rule, message, *(other.rule for other in others))


def clash_of(code: Code, rule: c.Rule, message: str, *others: c.Rule, help: str | None = None) -> Diagnostic:
    """A finding about rules that do not go together, at the first; it shows the others, and where their frames are used."""
    related = [Related(other.place, f"`{other.id}` is here") for other in others]
    used = [use for each in (rule, *others) for use in each.uses]
    return code.at(rule.place, message, help=help, related=(*related, *dict.fromkeys(used)))
