"""Syntax tree -> checked program.

Passes, in this order; each takes what those before it established, collects what it finds and goes on:

1. `declare`: the names of each file, what stands twice, out of place, or has no meaning yet.
2. `order.check_lets`: constants end and keep to the limits, so that they can be written out wherever they stand.
3. `model`: the contract, against which everything after it is counted.
4. `sources`: templates and splits, since selectors name their slots.
5. `concepts`: spans and concepts, in the order of their references.
6. `rules`, `schedule`: rules, then the stages that name them, and claims.
7. `contradictions`: what cannot hold together.

A program is given where nothing was an error.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from .. import checked as c
from ..diagnostics import Findings
from ..load import load
from . import layers, template  # noqa: F401  (they register readers)
from .concepts import check_definitions
from .contradictions import check_contradictions
from .declare import declare
from .env import Env, Reported, State
from .model import check_model
from .order import check_let_types, check_lets
from .rules import check_rules
from .schedule import check_claims, check_stages
from .sources import check_sources


def check(path: Path, model: Path | None = None) -> tuple[c.Program | None, Findings]:
    """The program that the spec at `path` states, and all that was found; the program is None iff an error was.

    `model` is a config.json that replaces the numbers of the spec's own model.
    """
    findings = Findings()
    loaded = load(path, findings)
    if loaded is None:
        return None, findings
    state = State(loaded, findings)
    env = Env(state, loaded.files[0])
    declare(state)
    check_lets(state)
    with suppress(Reported):
        check_model(env, model)
    check_sources(env)
    check_definitions(state)
    check_let_types(state)
    rules = check_rules(state)
    stages = check_stages(env)
    claims = check_claims(env)
    check_contradictions(state, rules.values(), stages)
    if findings.failed or state.model is None:
        return None, findings
    return _program(state, state.model, tuple(rules.values()), stages, claims), findings


def _program(
    state: State,
    model: c.Model,
    rules: tuple[c.Rule, ...],
    stages: tuple[c.Stage, ...],
    claims: tuple[c.Coverage, ...],
) -> c.Program:
    """Everything together. `files` are the spec's own, then others whose content it depends on."""
    root = state.loaded.files[0]
    return c.Program(
        edition=root.spec.edition,
        path=root.source.path,
        root=state.loaded.root,
        files=(*(file.path for file in state.loaded.files), *sorted(state.read)),
        model=model,
        sources=tuple(state.sources.values()),
        spans=tuple(spans for spans in state.spans.values() if spans),
        concepts=tuple(concept for concept in state.concepts.values() if concept),
        rules=rules,
        stages=stages,
        expects=claims,
    )
