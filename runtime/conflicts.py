"""`conflicts = project`: what the rules pull against the token loss is taken out of their gradient.

With g the gradient of the token loss and r that of the rules, each with its multipliers, over all parameters of the model as one
vector and over the whole optimiser step: where r.g < 0, r becomes r - (r.g / g.g) g. g stays as it is. This is the projection
of PCGrad (Yu et al. 2020, "Gradient Surgery for Multi-Task Learning", https://arxiv.org/abs/2001.06782, algorithm 1), of one
side alone.

A step has one g and one r, so that both are kept apart until its last micro-batch: the sum of projections of micro-batches is not
the projection of the sum. The backward pass of a micro-batch is two, which `loss.backward()` runs one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ..dsl.codes.runtime import UNFINISHED_STEP
from ..dsl.diagnostics import Failure
from .precision import widen
from .totals import Totals

Gradients: TypeAlias = dict[nn.Parameter, Tensor]


@dataclass(frozen=True, slots=True)
class Conflict:
    """What the projection has done: `steps` of the optimiser, those `opposed` in which the two gradients disagreed, and their
    cosine in the last one, probes included (None before the first, and where one of them is 0)."""

    steps: int
    opposed: int
    cosine: float | None


class Conflicts:
    """The two gradients of the step that is under way, over `parameters` that are trained."""

    def __init__(self, parameters: Callable[[], Iterable[nn.Parameter]]) -> None:
        self._parameters = parameters
        self._step: Totals | None = None
        self._left = 0
        self._token: Gradients = {}
        self._rules: Gradients = {}
        self._steps = 0
        self._opposed: Tensor | None = None
        self._cosine: Tensor | None = None

    def total(self, token: Tensor, rules: Tensor, totals: Totals) -> Tensor:
        """token + rules. Its backward pass keeps the gradients of both; after that of the last micro-batch of `totals`, `.grad`
        of every trained parameter has grown by the step's gradient."""
        value = (token + rules).detach()
        if not torch.is_grad_enabled() or not (token.requires_grad or rules.requires_grad):
            return value

        def take(factor: Tensor) -> None:
            self._take(token, rules, factor, totals)

        return cast(Tensor, _Apart.apply(value.requires_grad_(), take))  # type: ignore[no-untyped-call]

    def receipt(self) -> Conflict:
        """What was done so far. Waits for the device."""
        opposed = 0 if self._opposed is None else int(self._opposed)
        cosine = None if self._cosine is None else float(self._cosine)
        return Conflict(self._steps, opposed, None if cosine != cosine else cosine)

    def state_dict(self) -> dict[str, Any]:
        """What was done so far, between two steps."""
        return {"steps": self._steps, "opposed": self._opposed, "cosine": self._cosine}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from `state_dict`."""
        device = next(iter(self._parameters())).device
        self._steps = state["steps"]
        self._opposed, self._cosine = (
            None if state[name] is None else state[name].to(device) for name in ("opposed", "cosine")
        )

    def _take(self, token: Tensor, rules: Tensor, factor: Tensor, totals: Totals) -> None:
        """Adds the gradients of a micro-batch. Fails with MCD743 where the step before still waits for some, and forgets it."""
        trained = [parameter for parameter in self._parameters() if parameter.requires_grad]
        if self._step is None or totals.step is not self._step.step:
            self._begin(totals)
        _add(self._token, token, factor, trained, keep=rules.requires_grad)
        _add(self._rules, rules, factor, trained, keep=False)
        self._left -= 1
        if not self._left:
            self._settle(trained, totals.ranks)

    def _begin(self, totals: Totals) -> None:
        before, left = self._step, self._left
        self._step, self._left, self._token, self._rules = None, 0, {}, {}
        if before is not None:
            message = f"a step began while the one before lacks the backward pass of {left} of its {before.passes} micro-batches"
            help = "pass all batches of a step to `totals`, and call `backward` for each"
            raise Failure(UNFINISHED_STEP.at(None, message, help=help))
        self._step, self._left = totals, totals.passes

    def _settle(self, trained: Sequence[nn.Parameter], ranks: int) -> None:
        """Ends the step: adds the projected rules' gradient and that of the token loss to `.grad`."""
        token, rules = self._token, self._rules
        if ranks > 1:
            token, rules = _over_ranks(token, rules, trained, ranks)
        share = self._share(token, rules)
        for parameter in trained:
            parts = []
            if parameter in token:
                own = widen(token[parameter])
                parts.append(own - share.to(own) * own)
            if parameter in rules:
                parts.append(widen(rules[parameter]))
            if parts:
                # Contiguous: the gradient of a sum is one number seen everywhere, which nobody could clip in place.
                gradient = sum(parts[1:], parts[0]).to(parameter.dtype).contiguous()
                parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
        self._step, self._token, self._rules = None, {}, {}

    def _share(self, token: Gradients, rules: Gradients) -> Tensor:
        """r.g / g.g where it is below 0, else 0. The rules' gradient loses that share of the token gradient."""
        dot = _sum(widen(rules[p]) * widen(g) for p, g in token.items() if p in rules)
        squares = _sum(widen(g).square() for g in token.values())
        cosine = dot / (squares * _sum(widen(r).square() for r in rules.values())).sqrt()
        opposed = (dot < 0) & (squares > 0)
        self._steps += 1
        self._cosine = cosine
        self._opposed = opposed.long() if self._opposed is None else self._opposed + opposed
        return torch.where(opposed, dot / torch.where(opposed, squares, 1), 0)


def _add(found: Gradients, loss: Tensor, factor: Tensor, trained: Sequence[nn.Parameter], keep: bool) -> None:
    """Adds factor x the gradient of `loss` to what is `found`; parameters that it does not reach get nothing."""
    if not loss.requires_grad:
        return
    gradients = torch.autograd.grad(loss, trained, factor, retain_graph=keep, allow_unused=True)
    for parameter, gradient in zip(trained, gradients, strict=True):
        if gradient is not None:
            # Not in place: two parameters may have been given one tensor.
            found[parameter] = found[parameter] + gradient if parameter in found else gradient


def _sum(values: Iterable[Tensor]) -> Tensor:
    """The sum over all numbers of all tensors, on the device of the first."""
    sums = [value.sum() for value in values]
    return torch.stack([each.to(sums[0]) for each in sums]).sum() if sums else torch.zeros(())


def _over_ranks(
    token: Gradients, rules: Gradients, trained: Sequence[nn.Parameter], ranks: int
) -> tuple[Gradients, Gradients]:
    """The means over ranks, as DDP has them. A parameter that some rank reached is 0 where another did not."""
    both = (token, rules)
    reached = torch.tensor(
        [[p in found for p in trained] for found in both], dtype=torch.int32, device=trained[0].device
    )
    dist.all_reduce(reached)
    means: list[Gradients] = [{}, {}]
    for mean, found, flags in zip(means, both, reached.tolist(), strict=True):
        for parameter, flag in zip(trained, flags, strict=True):
            if flag:
                own = found[parameter] if parameter in found else torch.zeros_like(parameter)
                mean[parameter] = own.detach().clone(memory_format=torch.contiguous_format)
                dist.all_reduce(mean[parameter])
                mean[parameter] /= ranks
    return means[0], means[1]


class _Apart(torch.autograd.Function):
    """Gives `value`; its backward pass calls `take` with the gradient that arrives."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, take: Callable[[Tensor], None]) -> Tensor:
        ctx.take = take
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, None]:
        ctx.take(gradients[0])
        return None, None
