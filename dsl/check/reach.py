"""What runs in a stage, and what the gradients of its losses reach: contradictions between rules, stages and `gradient`.

Last pass, like `contradictions`. A loss that reads layer r trains the blocks up to r, down to the highest layer of `stop` below
r; the token loss reads the final norm's output. Whether a head is tied to the embedding is not known here, so that `train = 0`
is never said to be in vain.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .. import checked as c
from ..codes import values as codes
from ..diagnostics import Related
from .contradictions import acts
from .env import State


def check_reach(
    state: State, rules: Iterable[c.Rule], stages: tuple[c.Stage, ...], gradient: c.Gradient | None
) -> None:
    """Report rules and trained layers outside the depth of a stage, and trained layers that nothing trains."""
    contract = state.contract
    if contract is None:
        return
    found = [rule for rule in rules if not isinstance(rule, c.Weigh | c.Keep)]
    stops = () if gradient is None else gradient.stop
    for stage in stages:
        acting = [rule for rule in found if acts(rule, stage)]
        depth = contract.layers if stage.depth is None else stage.depth
        _rules(state, stage, acting, depth)
        _trained(state, stage, acting, depth, stops)


Rule = c.Attend | c.Signal | c.Relate | c.Like
"""A rule that reads layers."""


def _rules(state: State, stage: c.Stage, acting: list[Rule], depth: int) -> None:
    """Rules that a stage switches on while their layers are outside its depth."""
    if stage.depth_place is None:
        return
    for rule in acting:
        beyond = next((layer for layer in rule.layers.resolved if layer != "final" and layer > depth), None)
        if beyond is None:
            continue
        message = f"stage `{stage.name}` runs {_blocks(depth)}, and switches on `{rule.id}`, which reads layer {beyond}"
        help = f"switch it off there: `{rule.id}.factor = 0`" if rule.name else "name other rules in `only`"
        related = [Related(rule.place, f"`{rule.id}` is here"), *rule.uses]
        state.findings.add(codes.OUTSIDE_DEPTH.at(stage.depth_place, message, help=help, related=related))


def _trained(state: State, stage: c.Stage, acting: list[Rule], depth: int, stops: tuple[int, ...]) -> None:
    """Layers that a stage trains while they do not run, or while no loss of it reaches them."""
    if stage.train is None or stage.train_place is None:
        return
    beyond = next((layer for layer in stage.train if layer != "final" and layer > depth), None)
    if beyond is not None and stage.depth_place is not None:
        message = f"stage `{stage.name}` trains layer {beyond}, and runs {_blocks(depth)}"
        related = [Related(stage.depth_place, "the depth is set here")]
        state.findings.add(codes.OUTSIDE_DEPTH.at(stage.train_place, message, related=related))
        return
    reached = set(_reached(stage, acting, depth, stops))
    missed = next((layer for layer in stage.train if layer != 0 and layer not in reached), None)
    if missed is not None:
        message = f"stage `{stage.name}` trains layer {missed}, which the gradient of none of its losses reaches"
        state.findings.add(codes.NOT_REACHED.at(stage.train_place, message))


def _reached(stage: c.Stage, acting: list[Rule], depth: int, stops: tuple[int, ...]) -> Iterator[c.Layer]:
    """The layers whose parameters some loss of the stage trains."""
    read: set[c.Layer] = {layer for rule in acting for layer in rule.layers.resolved}
    if stage.token_loss.start > 0 or stage.token_loss.end > 0:
        read.add("final")
    if "final" in read or any(isinstance(rule, c.Predict) for rule in acting):
        yield "final"
    for layer in read:
        top = depth if layer == "final" else layer
        below = [stop for stop in stops if stop <= depth and (stop < top or (stop == top and layer == "final"))]
        yield from range(max(below, default=-1) + 1, top + 1)


def _blocks(depth: int) -> str:
    return "block 1 alone" if depth == 1 else f"blocks 1..{depth}"
