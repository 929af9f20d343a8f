"""The curriculum, the expectations, and the whole program."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..source import Place
from .common import Layer, no_meaning
from .inputs import Model, Source
from .rules import Concept, Rule
from .scores import Score
from .sets import Named, SpanSet


@dataclass(frozen=True, slots=True)
class Ramp:
    """A multiplier that goes from `start` to `end` over its stage. A constant has both equal."""

    start: float
    end: float
    shape: Literal["linear", "cosine", "exponential"] = "linear"


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of training time `[start, end)`, in shares of 1. A rule that `factors` does not name has factor 1, or 0
    where `only` is given and does not name it. `depth`: how many blocks run, all where it is None. `train`: the layers whose
    parameters are trained, all where it is None; `final` is the final norm and the head."""

    name: str
    start: float
    end: float
    factors: tuple[tuple[str, Ramp], ...]
    only: tuple[str, ...] | None
    token_loss: Ramp
    place: Place = no_meaning()
    depth: int | None = None
    train: tuple[Layer, ...] | None = None
    depth_place: Place | None = field(default=None, compare=False, repr=False)
    train_place: Place | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Gradient:
    """What becomes of gradients: factors by layer, for its parameters; the layers below which nothing flows from above; and
    what happens where those of rules and of the token loss disagree."""

    scale: tuple[tuple[Layer, float], ...]
    stop: tuple[int, ...]
    conflicts: Literal["sum", "project"]


@dataclass(frozen=True, slots=True)
class Coverage:
    """`expect coverage(subject) >= count`: the number of spans, in records of the split `of`."""

    subject: SpanSet
    written: str = field(compare=False)
    op: str
    count: float
    of: str
    place: Place = no_meaning()


@dataclass(frozen=True, slots=True)
class Metric:
    """A number about a trained model, in records of the split `of`: of the rule with that id, or of all tokens."""

    name: str
    rule: str | None
    of: str


@dataclass(frozen=True, slots=True)
class Trained:
    """`expect trained metric >= bound`. With `over`, what is compared is how much better the metric is than in that other run."""

    metric: Metric
    over: str | None
    op: str
    bound: float
    place: Place = no_meaning()


@dataclass(frozen=True, slots=True)
class Program:
    """A whole spec that checked clean. `settings`: names and values of the constants that the command line set, as typed;
    `config`: the config.json that replaced the numbers of the spec's own model.

    `mix`: shares of the tokens by source, those left out with none; empty where nothing is mixed. `order`: what records come
    in the order of, in every epoch.
    """

    edition: int
    path: str
    root: Path
    files: tuple[Path, ...]
    model: Model
    sources: tuple[Source, ...]
    spans: tuple[Named, ...]
    concepts: tuple[Concept, ...]
    rules: tuple[Rule, ...]
    stages: tuple[Stage, ...]
    expects: tuple[Coverage, ...]
    claims: tuple[Trained, ...]
    settings: tuple[tuple[str, str], ...] = ()
    gradient: Gradient | None = None
    mix: tuple[tuple[str, float], ...] = ()
    order: Score | None = None
    config: Path | None = None
