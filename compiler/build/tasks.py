"""What is to be done: the tasks of a program, each known by the content that its shards follow from.

The list depends on the recipe and on the content of the sources alone, never on who runs it. A task's key leaves out its number,
the path of its file and what stands elsewhere in it: shards are found again after a file was added, renamed or appended to.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from ...dsl import checked as c
from ...dsl.canonical import digest
from ..alignment.fields import attribute_kinds
from ..files.shard_reader import SHARD_FORMAT
from ..plan import Digest
from ..recipe import Recipe
from ..sources.base import Task
from ..sources.inventory import Inventory


@dataclass(frozen=True, slots=True)
class Unit:
    """A task with its place in the list, which names its shards, and its key."""

    number: int
    key: Digest
    task: Task


def units_of(recipe: Recipe, stock: Sequence[Inventory]) -> tuple[Unit, ...]:
    """The tasks of all sources, in their order."""
    sources = {source.name: source for source in recipe.sources}
    meanings = {name: meaning_of(recipe, [source]) for name, source in sources.items()}
    tasks = [task for held in stock for task in held.tasks]
    return tuple(
        Unit(number, _key(meanings[task.source], sources[task.source], task), task) for number, task in enumerate(tasks)
    )


def meaning_of(recipe: Recipe, sources: Sequence[c.Source]) -> Digest:
    """What the shards of `sources` follow from, but for their content: tokenizer, context, how text and ids are read, sets.

    Neither paths nor the names of rules, spans and concepts take part.
    """
    read = [
        [
            source.name,
            source.format,
            digest((source.id, source.split, source.text, *((source.marked,) if source.marked else ()))),
        ]
        for source in sources
    ]
    return _digest(
        {
            "format": SHARD_FORMAT,
            "tokenizer": recipe.tokenizer_digest,
            "context": [recipe.model.context, digest(recipe.model.overflow)],
            "sources": read,
            "sets": [[each.digest, each.attributes] for each in recipe.sets],
            "attributes": attribute_kinds(recipe),
            "edges": [each.digest for each in recipe.edges],
            "fields": [[f.name, f.path, f.type, f.width, digest(f.spans)] for f in recipe.fields],
        }
    )


def shards_key(recipe: Recipe, stock: Sequence[Inventory]) -> Digest:
    """What all shards together follow from."""
    content = [[entry.digest for entry in held.inputs] for held in stock]
    return _digest([meaning_of(recipe, recipe.sources), content])


def _key(meaning: Digest, source: c.Source, task: Task) -> Digest:
    numbered = None if source.id is not None else task.base + task.range.row
    return _digest([meaning, task.range.digest, task.types, numbered])


def _digest(meaning: object) -> Digest:
    text = json.dumps(meaning, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
