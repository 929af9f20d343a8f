"""What compiling asks of whoever can run a teacher: the compiler itself knows no model.

`compile_program` is given a `Teach`. It hands over the shards as they will be, and per teacher a `Lesson`; it gets back what was
stored beside the shards, and the anchors that are means. The runtime has the one that runs models, in `runtime/teach.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from ..dsl.source import Place
from .manifest import Manifest, ShardEntry, TargetEntry
from .plan import Digest, Layer, Plan, SpanSetRef, TeacherPlan, TowardPlan
from .ragged import Ints

TARGETS = "teachers"
"""The folder of what is stored of teachers, below the dataset; in it one for each digest."""


@dataclass(frozen=True, eq=False)
class TeacherTokens:
    """The rows of one shard as a teacher with a tokenizer of its own reads them.

    `ids[N]` with `offsets[P + 1]`, added tokens among them. A pair: token `token` of row `row` has the teacher's token `at` of
    that row; sorted by `row` and `token`, which has none, one or several.
    """

    ids: Ints
    offsets: Ints
    row: Ints
    token: Ints
    at: Ints


@dataclass(frozen=True, slots=True)
class Target:
    """Hidden states to store, at every token of the sets of `rules`. `digest`: of all that they follow from."""

    key: str
    digest: Digest
    layer: Layer
    dtype: Literal["float16", "float32"]
    rules: tuple[TowardPlan, ...]


@dataclass(frozen=True, slots=True)
class Mean:
    """An anchor that is the mean over the spans of a set in the split `train`. `digest`: of all that it follows from; `place`:
    of the concept."""

    name: str
    digest: Digest
    layer: Layer
    subject: SpanSetRef
    place: Place


@dataclass(frozen=True, slots=True)
class Lesson:
    """What one teacher is asked for. `folder`, `config`: its weights and its config.json. `tokens`: by the number of a task, the
    rows of its shards by split; None for a teacher that reads the model's own tokens. `place`: of its declaration."""

    name: str
    teacher: TeacherPlan
    folder: Path
    config: Path
    place: Place
    targets: tuple[Target, ...]
    means: tuple[Mean, ...]
    tokens: Callable[[int], Mapping[str, TeacherTokens]] | None


@dataclass(frozen=True, slots=True)
class Taught:
    """What came of lessons: entries by target, and unit vectors by anchor, float32 [hidden]."""

    targets: dict[str, TargetEntry] = field(default_factory=dict)
    centroids: dict[str, npt.NDArray[np.float32]] = field(default_factory=dict)


class Teach(Protocol):
    """Runs teachers over the shards of `manifest` below `work`, and writes what is to be stored beside them."""

    def __call__(self, work: Path, plan: Plan, manifest: Manifest, lessons: Sequence[Lesson]) -> Taught: ...


def target_path(digest: Digest, shard: str) -> str:
    """Where the states beside a shard are, below the dataset."""
    return f"{TARGETS}/{digest}/{shard.removeprefix('shards/')}"


def task_number(shard: ShardEntry) -> int:
    """The number of the task that wrote a shard."""
    return int(Path(shard.path).stem)
