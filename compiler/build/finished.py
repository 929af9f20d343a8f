"""What is known of a task that is done, in a form that outlasts its process: one line of JSON.

It holds all that the whole dataset needs of the task: its shards with their checksums, and what was counted on the way. So a
dataset is put together of tasks that ran here, on another machine, last week, or for the dataset that is to be replaced.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from ...dsl.checked import FieldPath
from ..counted import Found, in_order, merge
from ..manifest import Cause, ChatCause, ShardEntry
from ..plan import Digest, Frozen
from ..recipe import Recipe, label_key
from ..sets import both

TASKS_FILE = "tasks.jsonl"
"""In a dataset: a line for every task."""
TASKS_FOLDER = "tasks"
"""In a dataset that is being built: a file for every task that is done."""


class Finished(Frozen):
    """A task that is done. `number`: its place in the list; `key`: what its shards follow from, see `tasks.Unit`.

    `sets`: counts by set; `labels`: by what reads them (`label_key`); `counted`: those of `labels`, and the pairs of `sets`, that
    were counted at all, so that none is told from never counted; `causal`: as in the manifest. `seen`: the fields that some
    record had; `records`, `tokens`: by split.
    """

    number: int
    key: Digest
    source: str
    shards: tuple[ShardEntry, ...]
    sets: dict[str, dict[str, dict[Cause, int]]]
    labels: dict[str, dict[str, dict[Cause, int]]]
    counted: tuple[str, ...]
    causal: bool | None
    dropped: dict[str, int]
    seen: tuple[FieldPath, ...]
    chat: dict[ChatCause, int]


@dataclass(slots=True)
class Whole:
    """All tasks of a dataset together. `seen`: fields with their source; `chat`: counts by source."""

    shards: list[ShardEntry] = field(default_factory=list)
    sets: Found = field(default_factory=dict)
    labels: Found = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)
    seen: set[tuple[str, FieldPath]] = field(default_factory=set)
    chat: dict[str, Counter[ChatCause]] = field(default_factory=dict)

    def add(self, done: Finished) -> None:
        """Take in a task. The order does not matter to the counts."""
        self.shards += done.shards
        merge(self.sets, done.sets)
        merge(self.labels, done.labels)
        self.dropped += Counter(done.dropped)
        self.seen |= {(done.source, path) for path in done.seen}
        self.chat.setdefault(done.source, Counter()).update(done.chat)


def uncounted(done: Finished, recipe: Recipe) -> Iterator[str]:
    """What a task did not count that `recipe` asks for. It cannot be counted without running the task anew."""
    counted = set(done.counted)
    for check in recipe.checks:
        if label_key(check) not in counted:
            yield f"labels or rows of `{check.rule}` were not counted"
    if any(both(*pair) not in counted for pair in recipe.pairs):
        yield "two sets were not counted together"
    if recipe.edges and done.causal is not recipe.model.causal:
        yield f"edges were counted for a {'bidirectional' if recipe.model.causal else 'causal'} model"


def asked(recipe: Recipe) -> tuple[str, ...]:
    """What a task of `recipe` counts besides its sets: labels and rows, and sets together."""
    return tuple(sorted({*(label_key(check) for check in recipe.checks), *(both(*pair) for pair in recipe.pairs)}))


def fitted(done: Finished, recipe: Recipe) -> Finished:
    """Of a task that counted all that `recipe` asks for, that and no more, so that nothing tells what it was run for."""
    wanted = asked(recipe)
    unwanted = set(done.counted) - set(wanted)
    labels = {label_key(check): done.labels.get(label_key(check), {}) for check in recipe.checks}
    sets = {name: counts for name, counts in done.sets.items() if name not in unwanted}
    return done.model_copy(update={"sets": in_order(sets), "labels": in_order(labels), "counted": wanted})


class TaskLine(Frozen):
    """A line: a task, and the SHA-256 of its JSON, so that a line whose bytes were damaged is not believed."""

    done: Finished
    sha256: str


def line(done: Finished) -> str:
    """A task as a line of JSON."""
    return TaskLine(done=done, sha256=_seal(done)).model_dump_json() + "\n"


def finished_in(folder: Path) -> Iterator[Finished]:
    """The tasks that a dataset, or one that is being built, says it has. What cannot be read is left out."""
    try:
        with (folder / TASKS_FILE).open(encoding="utf-8", errors="replace") as lines:
            yield from _readable(lines)
    except OSError:
        pass
    for path in sorted((folder / TASKS_FOLDER).glob("[!.]*.json")):
        try:
            yield from _readable([path.read_text("utf-8", "replace")])
        except OSError:
            continue


def _readable(lines: Iterable[str]) -> Iterator[Finished]:
    for text in lines:
        try:
            found = TaskLine.model_validate_json(text)
        except ValidationError:
            continue
        if found.sha256 == _seal(found.done):
            yield found.done


def _seal(done: Finished) -> str:
    return hashlib.sha256(done.model_dump_json().encode()).hexdigest()
