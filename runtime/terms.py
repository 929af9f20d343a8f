"""Terms: one per group of rules, from the rows of a batch and what the model left behind to one loss per row.

A term knows its rules' constants (masses, anchors, margins) as buffers that move with the model and are in no state dict.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..compiler.plan import AttendPlan, HiddenRule
from ..dsl.checked import Layer
from .adapters import Parts
from .anchors import Anchors, Vectors
from .attention import key_rows
from .batch import AttendRows, HiddenRows
from .capture import Captured
from .groups import (
    AttendGroup,
    ClassifyGroup,
    ContrastGroup,
    DistilGroup,
    HiddenGroup,
    LikeGroup,
    PredictGroup,
    RelateGroup,
    TowardGroup,
)
from .losses import ATTENTION, RELATE, TOWARD
from .losses.classify import classify
from .losses.contrast import contrast
from .losses.cosine import cosine_similarity
from .losses.distil import distil
from .losses.like import like
from .losses.predict import predict
from .losses.rows import NEVER, KeyRows, log_mass
from .probes import Probes
from .ranks import joined, states_of_all


class Term(nn.Module):
    """A group of rules. `forward` gives one loss per row, flat, padded rows among them, after the mean over layers and heads.

    A loss is a function of what the term reads of the model at a layer, and so is every metric.
    """

    rules: tuple[AttendPlan, ...] | tuple[HiddenRule, ...]
    layers: tuple[Layer, ...]
    loss: Callable[..., Tensor]

    def forward(self, rows: Any, seen: Captured, padding: Tensor) -> Tensor:
        """`rows` of a batch, what its pass left in `seen`, and `padding` [B, T]: nonzero for tokens."""
        return self.over(self.read(rows, seen, padding), rows, self.loss)

    def read(self, rows: Any, seen: Captured, padding: Tensor) -> list[tuple[Any, ...]]:
        """The arguments of `loss` at each layer, of all rows."""
        raise NotImplementedError

    def over(self, found: list[tuple[Any, ...]], rows: Any, function: Callable[..., Tensor]) -> Tensor:
        """The mean over layers and heads of a function of what was read, one value per row, flat."""
        raise NotImplementedError

    def heard(self, seen: Captured) -> bool:
        """Whether the model computed everything that the rules read."""
        raise NotImplementedError


class AttendTerm(Term):
    """Attention rules with the same layers, heads, loss and direction: [B * Q]."""

    layers: tuple[int, ...]
    mass: Tensor

    def __init__(self, group: AttendGroup) -> None:
        super().__init__()
        first = group.rules[0]
        self.rules, self.layers, self.heads = group.rules, first.layers, first.heads
        self._chosen = {layer: _chosen(first, layer) for layer in first.layers}
        self.loss = ATTENTION["avoid" if first.avoid else first.loss]
        # Without a mass: all of it, or none where the keys are to be avoided.
        unbounded = 0.0 if first.avoid else 1.0
        mass = [unbounded if rule.mass is None else rule.mass for rule in group.rules]
        self.register_buffer("mass", torch.tensor(mass), persistent=False)

    def read(self, rows: AttendRows, seen: Captured, padding: Tensor) -> list[tuple[KeyRows]]:
        keys = torch.zeros((*rows.position.shape, padding.shape[1]), dtype=torch.bool, device=padding.device)
        keys[rows.pair_record, rows.pair_row, rows.pair_key] = True
        weight = None
        if rows.pair_weight is not None:
            weight = torch.zeros(keys.shape, dtype=rows.pair_weight.dtype, device=padding.device)
            weight[rows.pair_record, rows.pair_row, rows.pair_key] = rows.pair_weight
        given = (rows.position, keys, self.mass[rows.rule], padding)
        found = [key_rows(seen.attention[k], *given, heads, weight) for k, heads in self._chosen.items()]
        return [(layer,) for layer in ([_averaged(found)] if self.heads == "mean" else found)]

    def over(self, found: list[tuple[KeyRows]], rows: AttendRows, function: Callable[..., Tensor]) -> Tensor:
        values = torch.cat([function(*layer) for layer in found], 1)
        if self.heads == "any":
            return values.gather(1, _best([layer for (layer,) in found])).flatten()
        return _mean_over([layer for (layer,) in found], values).flatten()

    def heard(self, seen: Captured) -> bool:
        return all(layer in seen.attention for layer in self.layers)


def _chosen(rule: AttendPlan, layer: int) -> tuple[int, ...] | None:
    """The heads that a rule names in a layer; None for all of them."""
    if rule.pairs:
        return tuple(head for at, head in rule.pairs if at == layer)
    return rule.heads if isinstance(rule.heads, tuple) else None


@torch.no_grad()
def _best(found: list[KeyRows]) -> Tensor:
    """Per row, which of all layers and heads places the most on the keys, the lowest on a tie: [B, 1, Q]. A layer that sees none
    of them is no choice."""
    mass = torch.cat([log_mass(layer.log_p, layer.keys) for layer in found], 1)
    return mass.masked_fill(~_sees(found), -math.inf).argmax(1, keepdim=True)


def _sees(found: list[KeyRows]) -> Tensor:
    """Whether each layer and head sees any of a row's keys: [B, layers x H, Q]. Windows differ by layer."""
    return torch.cat([layer.keys.any(-1).expand(-1, layer.log_p.shape[1], -1) for layer in found], 1)


def _mean_over(found: list[KeyRows], values: Tensor) -> Tensor:
    """The mean of values [B, layers x H, Q] over the layers and heads that see any of a row's keys: [B, Q]."""
    sees = _sees(found)
    return (values * sees).sum(1) / sees.sum(1).clamp(min=1)


def _averaged(found: list[KeyRows]) -> KeyRows:
    """Rows of the probability averaged, by logsumexp, over the layers and heads that see any of a row's keys."""
    sees = _sees(found)
    log_p = torch.cat([layer.log_p for layer in found], 1).masked_fill(~sees[..., None], NEVER)
    keys = torch.cat([layer.keys for layer in found], 1).any(1, keepdim=True)
    rest = torch.cat([layer.rest for layer in found], 1).any(1, keepdim=True)
    number = sees.sum(1, keepdim=True).clamp(min=1)
    mean = log_p.logsumexp(1, keepdim=True) - number.log()[..., None]
    return KeyRows(mean, keys, rest, found[0].mass, found[0].weight)


class HiddenTerm(Term):
    """Rules on the hidden state, with the same layers and pool: [R]. `reader` is the term's number in `Captured.hidden`.

    `maps`: by layer, what the pooled state goes through first. They belong to the supervisor, as probes do.
    """

    rules: tuple[HiddenRule, ...]

    def __init__(self, reader: int, group: HiddenGroup, maps: Mapping[Layer, nn.Module]) -> None:
        super().__init__()
        self.reader = reader
        self.rules, self.layers = group.rules, group.rules[0].layers
        self._maps = tuple(maps.items())  # A tuple, so that they are not registered a second time here.

    def read(self, rows: HiddenRows, seen: Captured, padding: Tensor) -> list[tuple[Any, ...]]:
        if self.reader in seen.taught:
            rows = replace(rows, vector=pool(rows, seen.taught[self.reader]))
        return [self.at(layer, rows, self._state(layer, rows, seen)) for layer in self.layers]

    def over(self, found: list[tuple[Any, ...]], rows: HiddenRows, function: Callable[..., Tensor]) -> Tensor:
        return torch.stack([self.by_row(rows, function(*layer)) for layer in found]).mean(0)

    def joined(self, rows: HiddenRows) -> HiddenRows:
        """The rows together with what their losses depend on at other ranks."""
        return rows

    def _state(self, layer: Layer, rows: HiddenRows, seen: Captured) -> Tensor:
        state = pool(rows, seen.hidden[self.reader, layer])
        through = dict(self._maps).get(layer)
        return state if through is None else cast(Tensor, through(state))

    def heard(self, seen: Captured) -> bool:
        return all((self.reader, layer) in seen.hidden for layer in self.layers)

    def at(self, layer: Layer, rows: HiddenRows, state: Tensor) -> tuple[Any, ...]:
        """The arguments of `loss` at one layer, from pooled and mapped hidden states [R, d]."""
        raise NotImplementedError

    def by_row(self, rows: HiddenRows, values: Tensor) -> Tensor:
        """What a function of them gave, in the order of the rows."""
        return values


class TowardTerm(HiddenTerm):
    """Pulls toward an anchor per rule, or toward the vectors that the rows carry or a teacher has for them."""

    def __init__(
        self, reader: int, group: TowardGroup, maps: Mapping[Layer, nn.Module], anchors: Anchors | None
    ) -> None:
        super().__init__(reader, group, maps)
        self.loss = TOWARD[group.rules[0].loss]
        self.anchors = anchors

    def at(self, layer: Layer, rows: HiddenRows, state: Tensor) -> tuple[Tensor, Tensor]:
        target: Tensor = cast(Tensor, rows.vector) if self.anchors is None else self.anchors(rows.rule)
        return state, target.to(state.dtype)


class ClassifyTerm(HiddenTerm):
    """One rule, which reads a label with a probe per layer. The probes belong to the supervisor."""

    def __init__(
        self,
        reader: int,
        group: ClassifyGroup,
        maps: Mapping[Layer, nn.Module],
        probes: Mapping[Layer, nn.Module],
    ) -> None:
        super().__init__(reader, group, maps)
        self._probes = tuple(probes.items())  # A tuple, as for maps.
        self.loss = classify

    def at(self, layer: Layer, rows: HiddenRows, state: Tensor) -> tuple[Tensor, Tensor]:
        return dict(self._probes)[layer](state), cast(Tensor, rows.label)


class ContrastTerm(HiddenTerm):
    """Pulls rows of equal label together, within records or over the batch of every rank. Temperatures [rules]."""

    temperature: Tensor

    def __init__(self, reader: int, group: ContrastGroup, maps: Mapping[Layer, nn.Module]) -> None:
        super().__init__(reader, group, maps)
        self.scope, self.per = group.rules[0].scope, group.rules[0].per
        temperature = torch.tensor([rule.temperature for rule in group.rules])
        self.register_buffer("temperature", temperature, persistent=False)
        self.loss = contrast

    def joined(self, rows: HiddenRows) -> HiddenRows:
        return joined(rows, self.per == "record") if self.scope == "batch" else rows

    def at(self, layer: Layer, rows: HiddenRows, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        unit = functional.normalize(state, dim=-1)
        label = cast(Tensor, rows.label)
        if rows.among is not None and rows.own is not None:
            return self._over_ranks(unit, label, rows.among, rows.own)
        members = cast(Tensor, rows.members)
        there, at = members >= 0, members.clamp(min=0)
        scale = self.temperature[rows.rule[at[:, 0]]].to(unit.dtype)
        unit, key = unit[at], label[at]
        itself = torch.eye(members.shape[1], dtype=torch.bool, device=unit.device)
        others = there[:, None, :] & ~itself
        positive = others & (key[:, :, None] == key[:, None, :])
        return unit @ unit.transpose(1, 2) / scale[:, None, None], positive, others

    def by_row(self, rows: HiddenRows, values: Tensor) -> Tensor:
        if rows.among is not None:
            return values
        return values.flatten()[_places(cast(Tensor, rows.members), len(rows.rule))]

    def _over_ranks(self, unit: Tensor, label: Tensor, among: Tensor, own: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        everyone = states_of_all(unit, len(among) // torch.distributed.get_world_size())
        others = (among >= 0).repeat(len(label), 1).scatter(1, own[:, None], False)
        positive = others & (label[:, None] == among)
        return unit @ everyone.T / self.temperature.to(unit.dtype), positive, others


class PredictTerm(HiddenTerm):
    """Reads tokens through the model's final norm and head, which are the model's own and trained as such."""

    def __init__(
        self, reader: int, group: PredictGroup, maps: Mapping[Layer, nn.Module], norm: nn.Module, head: nn.Module
    ) -> None:
        super().__init__(reader, group, maps)
        self._model = (norm, head)  # A tuple, as for maps.
        self.loss = predict

    def at(self, layer: Layer, rows: HiddenRows, state: Tensor) -> tuple[Tensor, Tensor]:
        norm, head = self._model
        state = state.to(cast(Tensor, head.weight).dtype)
        return head(state if layer == "final" else norm(state)), cast(Tensor, rows.label)


class DistilTerm(HiddenTerm):
    """Pulls the distribution that norm and head read toward a teacher's, whose final states the rows carry. Temperatures
    [rules]."""

    temperature: Tensor

    def __init__(
        self, reader: int, group: DistilGroup, maps: Mapping[Layer, nn.Module], parts: Parts, head: nn.Module
    ) -> None:
        super().__init__(reader, group, maps)
        self._model = (parts.norm, parts.head, head)  # A tuple, as for maps.
        self.loss = distil
        temperature = torch.tensor([rule.temperature for rule in group.rules])
        self.register_buffer("temperature", temperature, persistent=False)

    def at(self, layer: Layer, rows: HiddenRows, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        norm, head, other = self._model
        with torch.no_grad():
            wanted = other(cast(Tensor, rows.vector).to(cast(Tensor, other.weight).dtype))
        state = state.to(cast(Tensor, head.weight).dtype)
        return head(state if layer == "final" else norm(state)), wanted, self.temperature[rows.rule]


class RelateTerm(HiddenTerm):
    """Bounds the cosine with an anchor per rule by a margin per rule."""

    margin: Tensor

    def __init__(self, reader: int, group: RelateGroup, anchors: Anchors) -> None:
        super().__init__(reader, group, {})
        self.loss = RELATE[group.rules[0].relation]
        self.anchors = anchors
        self.register_buffer("margin", torch.tensor([rule.margin for rule in group.rules]), persistent=False)

    def at(self, layer: Layer, rows: HiddenRows, state: Tensor) -> tuple[Tensor, Tensor]:
        return cosine_similarity(state, self.anchors(rows.rule).to(state.dtype)), self.margin[rows.rule]


class LikeTerm(HiddenTerm):
    """Bounds the cosine of an offset with that of two anchors per rule by a margin per rule."""

    margin: Tensor

    def __init__(self, reader: int, group: LikeGroup, start: Anchors, end: Anchors) -> None:
        super().__init__(reader, group, {})
        self.start, self.end = start, end
        self.loss = like
        self.register_buffer("margin", torch.tensor([rule.margin for rule in group.rules]), persistent=False)

    def at(self, layer: Layer, rows: HiddenRows, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        target = self.end(rows.rule) - self.start(rows.rule)
        return state, target.to(state.dtype), self.margin[rows.rule]


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


def pool(rows: HiddenRows, states: Tensor) -> Tensor:
    """The mean of the states [N, d] of each row's tokens, or their weighted sum: [R, d]."""
    count = len(rows.rule)
    if rows.weight is not None:
        weighted = states * rows.weight[:, None].to(states.dtype)
        return states.new_zeros(count, states.shape[1]).index_add(0, rows.row, weighted)
    if len(rows.row) == count:
        return states
    tokens = states.new_zeros(count).index_add(0, rows.row, states.new_ones(len(rows.row)))
    return states.new_zeros(count, states.shape[1]).index_add(0, rows.row, states) / tokens[:, None]


def _places(members: Tensor, count: int) -> Tensor:
    """Where each of `count` rows stands among the members of all groups: [count]."""
    rows = torch.where(members < 0, count, members).flatten()
    places = torch.zeros(count + 1, dtype=rows.dtype, device=rows.device)
    return places.scatter(0, rows, torch.arange(len(rows), device=rows.device))[:count]


def by_rule(term: Term, rows: AttendRows | HiddenRows, values: Tensor) -> Tensor:
    """Sums `values`, one per row (padded rows among them), over the rows of each of the term's rules: [rules]."""
    return values.new_zeros(len(term.rules)).index_add(0, rows.rule.flatten(), values.flatten())


def count(term: Term, rows: AttendRows | HiddenRows) -> Tensor:
    """Rows per rule of the term: [rules] int64."""
    valid = rows.valid if isinstance(rows, AttendRows) else rows.share > 0
    return by_rule(term, rows, valid.long())
