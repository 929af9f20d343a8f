"""How strongly each rule pulls at the model, and whether it pulls against the token loss.

Gradients are taken with respect to the hidden state at the lowest layer that a rule reads, which for a rule on the attention of
block k is the state that the block takes in, at layer k - 1: everything that the rule changes below has passed there. One
backward pass from the token loss down to the lowest such layer serves all rules; that of a rule goes from the rows that it reads
to its layer, and mostly through no block at all.

The cosine is taken over the tokens at which the rule's gradient is not 0: elsewhere it pulls nothing, and a rule on few tokens
of many would look harmless whatever it did at them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..compiler.plan import AttendPlan, HiddenRule
from ..dsl.checked import Layer
from ..dsl.codes.runtime import NOT_INSPECTED, SHARDED
from ..dsl.diagnostics import Failure
from .capture import at_layer
from .gradients import in_parts
from .precision import widen
from .supervised import Supervised
from .totals import Losses

FIGHTS_BELOW = -0.1
FIGHTS_SHARE = 0.8
FIGHTS_AFTER = 5
"""A rule fights the token loss where the mean of its cosines is below the first, over at least as many inspections as the last
says, of which at least that share are negative."""


@dataclass(frozen=True, slots=True)
class Pull:
    """One rule in one inspection. `norm`: of the gradient of weight x multiplier x loss; `token`: of that of the token loss at
    the same layer and tokens; `cosine` between the two, None where one of them is 0. All are of the micro-batch that was
    inspected, with the denominators of its step."""

    norm: float
    token: float
    cosine: float | None


@dataclass(slots=True)
class Tally:
    """A rule over all inspections: `norm` and `cosine` are sums, over `norms` and `cosines` of them, `negative` of which were."""

    norms: int = 0
    norm: float = 0.0
    cosines: int = 0
    cosine: float = 0.0
    negative: int = 0

    def add(self, pull: Pull) -> None:
        """Count one inspection."""
        self.norms += 1
        self.norm += pull.norm
        if pull.cosine is not None:
            self.cosines += 1
            self.cosine += pull.cosine
            self.negative += pull.cosine < 0

    @property
    def mean_norm(self) -> float | None:
        return self.norm / self.norms if self.norms else None

    @property
    def mean_cosine(self) -> float | None:
        return self.cosine / self.cosines if self.cosines else None

    @property
    def fights(self) -> bool:
        """Whether the rule fights the token loss."""
        mean = self.mean_cosine
        return (
            mean is not None
            and self.cosines >= FIGHTS_AFTER
            and mean < FIGHTS_BELOW
            and self.negative >= FIGHTS_SHARE * self.cosines
        )


@dataclass(slots=True)
class _Seen:
    """What one pass leaves: states by layer, and of each term the loss of every row."""

    states: dict[Layer, Tensor] = field(default_factory=dict)
    rows: dict[int, Tensor] = field(default_factory=dict)


class Monitor:
    """Inspects single passes of a supervised model. `tallies`: by rule, over all inspections so far."""

    def __init__(self, supervised: Supervised) -> None:
        """Fails with MCD742 where parameters lie in parts over ranks, and with MCD759 where blocks are compiled together."""
        _check(supervised)
        self._seen: _Seen | None = None
        self._rules = [(rule, number) for number, term in enumerate(supervised.terms) for rule in term.rules]
        self._layer = {rule.id: layer_of(rule) for rule, _ in self._rules}
        self.tallies = {rule.id: Tally() for rule, _ in self._rules}
        parts = supervised.parts
        # Before every other hook: a state is seen as the block gives it, above a `stop` as below.
        self._handles = [
            at_layer(parts, layer, self._keep, first=True) for layer in dict.fromkeys(self._layer.values())
        ]
        self._handles += [term.register_forward_hook(self._keep_rows(n)) for n, term in enumerate(supervised.terms)]

    def _keep(self, layer: Layer, state: Tensor) -> None:
        if self._seen is not None and state.requires_grad:
            # The first one: blocks under checkpointing run again, and the final norm runs in rules as well.
            self._seen.states.setdefault(layer, state)

    def _keep_rows(self, number: int) -> Any:
        def after(_: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
            if self._seen is not None and output.requires_grad:
                self._seen.rows[number] = output

        return after

    @contextmanager
    def watching(self, on: bool = True) -> Iterator[None]:
        """Within it, a pass keeps what `inspect` needs."""
        self._seen = _Seen() if on else None
        try:
            yield
        finally:
            self._seen = None

    def inspect(self, losses: Losses, scale: float = 1.0) -> dict[str, Pull]:
        """Every rule that acts in the pass that was watched, and whose state takes a gradient. The graph is kept, so that
        `backward` can follow; no parameter's `grad` is touched. `scale`: what losses are multiplied by for the length of the
        backward pass, where gradients in float16 would be lost otherwise. Waits for the device once."""
        assert self._seen is not None, "inspect within `watching`"
        layers = list(self._seen.states)
        states = [self._seen.states[layer] for layer in layers]
        token: Mapping[Layer, Tensor | None] = {}
        if states and losses.token.requires_grad:
            found = torch.autograd.grad(losses.token * scale, states, retain_graph=True, allow_unused=True)
            token = dict(zip(layers, found, strict=True))
        names, numbers = [], []
        for at, (rule, number) in enumerate(self._rules):
            gradient = self._of_rule(losses, at, number, self._layer[rule.id], scale)
            if gradient is not None:
                names.append(rule.id)
                numbers.append(_compared(gradient / scale, token.get(self._layer[rule.id]), scale))
        pulls = dict(zip(names, _pulls(numbers), strict=True))
        for name, pull in pulls.items():
            self.tallies[name].add(pull)
        return pulls

    def _of_rule(self, losses: Losses, at: int, number: int, layer: Layer, scale: float) -> Tensor | None:
        """The gradient of rule `at`. In two steps, by way of the losses of its own rows: the sums of all rules are one tensor,
        and from there a gradient of 0 would run through every other rule."""
        assert self._seen is not None
        rows, state, factor = self._seen.rows.get(number), self._seen.states.get(layer), losses.factors[at]
        if rows is None or state is None or not factor:
            return None
        (share,) = torch.autograd.grad(losses.values[at] * factor * scale, [rows], retain_graph=True)
        (gradient,) = torch.autograd.grad(rows, [state], share, retain_graph=True, allow_unused=True)
        return None if gradient is None else widen(gradient)

    def state_dict(self) -> dict[str, Any]:
        """The tallies, as plain values."""
        return {rule: asdict(tally) for rule, tally in self.tallies.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on counting from `state_dict`."""
        self.tallies = {rule: Tally(**state[rule]) for rule in self.tallies}

    def close(self) -> None:
        """Removes every hook."""
        for handle in self._handles:
            handle.remove()
        self._handles = []


def layer_of(rule: AttendPlan | HiddenRule) -> Layer:
    """The layer at which a rule's gradient is taken: the lowest whose state it reads."""
    numbers = [layer for layer in rule.layers if layer != "final"]
    if isinstance(rule, AttendPlan):
        return min(rule.layers) - 1
    return min(numbers) if numbers else "final"


def _compared(rule: Tensor, token: Tensor | None, scale: float) -> Tensor:
    """The norms of two gradients [B, T, d] and their product, at the tokens where the first is not 0: [3] float64 or float32."""
    there = rule.ne(0).any(-1, keepdim=True)
    other = torch.zeros_like(rule) if token is None else widen(token) / scale * there
    return torch.stack([rule.norm(), other.norm(), (rule * other).sum()])


def _pulls(numbers: Sequence[Tensor]) -> list[Pull]:
    found = torch.stack([each.to(numbers[0]) for each in numbers]).tolist() if numbers else []
    return [Pull(norm, token, dot / (norm * token) if norm and token else None) for norm, token, dot in found]


def _check(supervised: Supervised) -> None:
    if in_parts(supervised):
        message = "gradients of single rules are not inspected for parameters that FSDP keeps in parts"
        raise Failure(SHARDED.at(None, message, help="train under DDP, or do not inspect"))
    if getattr(supervised.model, "_compiled_call_impl", None) is not None:
        message = (
            "gradients of single rules cannot be inspected in a model that is compiled as a whole: its layers are one"
        )
        raise Failure(NOT_INSPECTED.at(None, message, help="compile its blocks one by one, or do not inspect"))
