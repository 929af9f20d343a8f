"""Runs teachers over shards while these are compiled: states that are stored beside them, and anchors that are means.

Rows go through a teacher in the order of the shards, some at a time, and only the states of tokens that some rule reads leave
it. What a batch holds changes nothing but the last bits of a number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..compiler.files.shard_reader import Chunk
from ..compiler.files.targets import TargetWriter
from ..compiler.manifest import Cause, Counts, FileEntry, Manifest, ShardEntry, TargetEntry
from ..compiler.plan import Layer, Line, Plan, TowardPlan
from ..compiler.ragged import Ints, join, offsets, ranges
from ..compiler.teaching import Lesson, Mean, Target, Taught, TeacherTokens, target_path, task_number
from ..dsl.codes import shards as codes
from ..dsl.diagnostics import Failure
from .batch import Batch, HiddenRows
from .capture import Request
from .collate import Collator
from .dataset import Row, opened_shards
from .groups import group_rules
from .teachers import TeacherModel, load_teacher

TOKENS = 8192
"""About how many tokens, padding among them, go through a teacher at once."""

Report = Callable[[int, int], None]
"""Called after every shard with the number of shards done and in all."""


class Teaching:
    """The `Teach` that runs models with torch. `device`: None is cuda if there is one, else cpu.

    Raises RuntimeError for a device that there is not.
    """

    def __init__(self, device: torch.device | str | None = None, report: Report = lambda done, total: None) -> None:
        self._device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self._report = report

    def __call__(self, work: Path, plan: Plan, manifest: Manifest, lessons: Sequence[Lesson]) -> Taught:
        """See `Teach`. Fails with MCD641 for a state that does not fit its type, with MCD643 for a mean over nothing, with
        MCD702 or MCD720 where a teacher cannot be loaded."""
        shards = sorted(manifest.shards, key=lambda shard: (task_number(shard), shard.split))
        taught, total = Taught(), len(shards) * len(lessons)
        for number, lesson in enumerate(lessons):
            course = _Course(lesson, work, plan, manifest, self._device)
            for done, shard in enumerate(shards, 1):
                course.shard(shard)
                self._report(number * len(shards) + done, total)
            course.end(taught)
        return taught


def read_rules(plan: Plan, lesson: Lesson) -> Plan:
    """The plan with a rule for each whose states are stored, and one for each mean: their rows say which tokens are read."""
    line = Line(file="", line=0)
    means = [
        TowardPlan(
            id=f"mean {mean.name}",
            line=line,
            lost="warn",
            subject=mean.subject,
            layers=(0,),
            pool="mean",
            weight=1.0,
            per="row",
            anchor=mean.name,
            field=None,
            loss="cosine",
        )
        for mean in lesson.means
    ]
    stored = [
        rule.model_copy(update={"hidden": None, "anchor": "", "through": None})
        for target in lesson.targets
        for rule in target.rules
    ]
    return plan.model_copy(update={"rules": (*stored, *means), "stages": ()})


@dataclass(frozen=True, slots=True)
class _Read:
    """The tokens that one rule reads in a batch, by row, and the row's number in its rule."""

    record: Ints
    position: Ints
    row: Ints

    def codes(self, width: int) -> Ints:
        """One number per token of a batch of `width` positions."""
        return self.record * width + self.position


@dataclass(slots=True)
class _Pieces:
    """What becomes the record batch of a target file: rows of tokens with their states."""

    lengths: list[Ints] = field(default_factory=list)
    positions: list[Ints] = field(default_factory=list)
    states: list[npt.NDArray[np.float32]] = field(default_factory=list)


class _Course:
    """One lesson: a teacher that goes through all shards."""

    def __init__(self, lesson: Lesson, work: Path, plan: Plan, manifest: Manifest, device: torch.device) -> None:
        self._lesson, self._work, self._device = lesson, work, device
        self._layers: tuple[Layer, ...] = tuple(
            dict.fromkeys([*(target.layer for target in lesson.targets), *(mean.layer for mean in lesson.means)])
        )
        self._teacher: TeacherModel = load_teacher(
            lesson.name, lesson.teacher, lesson.folder, lesson.config, self._layers
        )
        self._teacher.to(device)
        reading = read_rules(plan, lesson)
        self._rules = [[rule.id for rule in group.rules] for group in group_rules(reading).hidden]
        self._collate = Collator(reading)
        self._open = opened_shards(work, manifest, reading)
        self._files: dict[str, list[FileEntry]] = {target.key: [] for target in lesson.targets}
        self._counts: dict[tuple[str, str], dict[Cause, int]] = {}
        self._sums = {mean.name: np.zeros(lesson.teacher.hidden) for mean in lesson.means}
        self._spans = dict.fromkeys(self._sums, 0)
        self._tokens: tuple[int, Mapping[str, TeacherTokens]] = (-1, {})

    def shard(self, shard: ShardEntry) -> None:
        """Go through one shard, and write the target files beside it."""
        tokens = self._reading(shard)
        with ExitStack() as stack:
            writers = {
                target.key: stack.enter_context(
                    TargetWriter(
                        self._work / target_path(target.digest, shard.path), self._lesson.teacher.hidden, target.dtype
                    )
                )
                for target in self._lesson.targets
            }
            before = 0
            for chunk in self._open(shard):
                pieces = {target.key: _Pieces() for target in self._lesson.targets}
                for first, stop in _portions(chunk):
                    rows = [Row(chunk, at) for at in range(first, stop)]
                    mine = None if tokens is None else _some(tokens, before + first, before + stop)
                    self._portion(rows, mine, shard.split, pieces)
                before += chunk.rows
                for target in self._lesson.targets:
                    self._write(writers[target.key], target, chunk, pieces[target.key])
            for key, writer in writers.items():
                self._files[key].append(writer.close(self._work))

    def _reading(self, shard: ShardEntry) -> TeacherTokens | None:
        if self._lesson.tokens is None:
            return None
        number = task_number(shard)
        if self._tokens[0] != number:
            self._tokens = number, self._lesson.tokens(number)
        return self._tokens[1][shard.split]

    def _portion(
        self, rows: Sequence[Row], tokens: TeacherTokens | None, split: str, pieces: Mapping[str, _Pieces]
    ) -> None:
        """Some rows: what the rules read of them, one pass of the teacher, and what is kept of it."""
        batch = self._collate(rows)
        reads = dict(_reads(self._rules, batch.hidden))
        width = batch.input_ids.shape[1]
        wanted = np.unique(join([read.codes(width) for read in reads.values()]))
        record, position = np.divmod(wanted, width)
        if tokens is None:
            code, states = wanted, self._run(batch, record, position, np.arange(len(wanted)), len(wanted))
        else:
            ids, mask = _padded(tokens)
            given = replace(batch, input_ids=ids, attention_mask=mask)
            owner, at = _partners(tokens, record, position, width)
            paired, owner = np.unique(owner, return_inverse=True)
            code = wanted[paired]
            states = self._run(given, record[paired][owner], at, owner, len(paired))
        for target in self._lesson.targets:
            self._keep(target, reads, code, states[target.layer], split, width, len(rows), pieces[target.key])
        for mean in self._lesson.means:
            if split == "train":
                self._add(mean, reads[f"mean {mean.name}"], code, states[mean.layer], width)

    def _run(self, batch: Batch, record: Ints, position: Ints, owner: Ints, count: int) -> dict[Layer, Tensor]:
        """The states [count, d] by layer, float32: the mean over those at (record, position) with the same owner."""
        if not count:
            return {layer: torch.zeros(0, self._lesson.teacher.hidden) for layer in self._layers}
        places = [torch.from_numpy(column).to(self._device) for column in (record, position)]
        asked = {layer: Request(places[0], places[1], (0,), [len(record)]) for layer in self._layers}
        seen = self._teacher.states(batch.to(self._device), asked)
        row = torch.from_numpy(owner)
        shares = torch.zeros(count).index_add(0, row, torch.ones(len(row)))[:, None]
        found = {layer: seen[0, layer].float().cpu() for layer in self._layers}
        return {layer: torch.zeros(count, s.shape[1]).index_add(0, row, s) / shares for layer, s in found.items()}

    def _keep(
        self,
        target: Target,
        reads: Mapping[str, _Read],
        code: Ints,
        states: Tensor,
        split: str,
        width: int,
        rows: int,
        pieces: _Pieces,
    ) -> None:
        """The states of the tokens that the target's rules read, and the counts of their rows."""
        mine = np.unique(join([reads[rule.id].codes(width) for rule in target.rules]))
        kept = np.flatnonzero(np.isin(code, mine, assume_unique=True))
        record, position = np.divmod(code[kept], width)
        pieces.lengths.append(np.bincount(record, minlength=rows))
        pieces.positions.append(position)
        pieces.states.append(states[torch.from_numpy(kept)].numpy())
        for name, rule in {rule.rows_key: rule for rule in target.rules}.items():
            read = reads[rule.id]
            paired = np.isin(read.codes(width), code)
            total = int(read.row.max(initial=-1)) + 1
            found = int((np.bincount(read.row, paired, minlength=total) > 0).sum())
            counts = self._counts.setdefault((f"{target.key} {name}", split), {"rows": 0, "unpaired": 0})
            counts["rows"] += found
            counts["unpaired"] += total - found

    def _write(self, writer: TargetWriter, target: Target, chunk: Chunk, pieces: _Pieces) -> None:
        """The record batch beside `chunk`."""
        states = np.concatenate([np.zeros((0, self._lesson.teacher.hidden), np.float32), *pieces.states])
        begin = offsets(join(pieces.lengths))
        limit = float(np.finfo(target.dtype).max)
        wrong = np.flatnonzero(~(np.abs(states) <= limit).all(axis=1))
        if len(wrong):
            at = int(wrong[0])
            row = int(np.searchsorted(begin, at, side="right")) - 1
            value = states[at][~(np.abs(states[at]) <= limit)][0]
            message = (
                f"teacher `{self._lesson.name}`, layer {target.layer}: {len(wrong):,} states do not fit {target.dtype},"
                f" the first in record `{chunk.id(row)}` with {value:g}; {limit:g} is the most"
            )
            wide = np.isfinite(states).all()
            help = f"write `dtype = float32` in `{target.rules[0].id}`" if wide and target.dtype == "float16" else None
            raise Failure(codes.TEACHER_RANGE.at(self._lesson.place, message, help=help))
        writer.write(begin, join(pieces.positions), states.astype(target.dtype))

    def _add(self, mean: Mean, read: _Read, code: Ints, states: Tensor, width: int) -> None:
        """Add the mean state of each span of a set."""
        if not len(code):
            return
        own = read.codes(width)
        at = np.minimum(np.searchsorted(code, own), len(code) - 1)
        paired = code[at] == own
        row, taken = read.row[paired], states.double().numpy()[at[paired]]
        counts = np.bincount(row)
        self._sums[mean.name] += (taken / counts[row][:, None]).sum(axis=0)
        self._spans[mean.name] += int((counts > 0).sum())

    def end(self, taught: Taught) -> None:
        """What came of the lesson, into `taught`."""
        self._teacher.close()
        for target in self._lesson.targets:
            names = {rule.rows_key for rule in target.rules}
            counts = {name: self._counted(f"{target.key} {name}") for name in sorted(names)}
            files = tuple(sorted(self._files[target.key], key=lambda file: file.path))
            width, dtype = self._lesson.teacher.hidden, target.dtype
            taught.targets[target.key] = TargetEntry(
                digest=target.digest, width=width, dtype=dtype, files=files, counts=counts
            )
        for mean in self._lesson.means:
            taught.centroids[mean.name] = self._unit(mean)

    def _counted(self, name: str) -> Counts:
        return Counts(splits={split: causes for (key, split), causes in sorted(self._counts.items()) if key == name})

    def _unit(self, mean: Mean) -> npt.NDArray[np.float32]:
        """The mean as a vector of length 1."""
        total = self._sums[mean.name]
        norm = float(np.linalg.norm(total))
        if not self._spans[mean.name] or not np.isfinite(norm) or norm == 0.0:
            what = f"length {norm:g}" if self._spans[mean.name] else "no span in split `train`"
            message = f"the anchor of `{mean.name}` is a mean with {what}; a direction needs one"
            raise Failure(codes.EMPTY_CENTROID.at(mean.place, message))
        return (total / norm).astype(np.float32)


def _reads(rules: Sequence[Sequence[str]], hidden: Sequence[HiddenRows]) -> Iterator[tuple[str, _Read]]:
    """The tokens that each rule reads, its rows numbered from 0."""
    for ids, rows in zip(rules, hidden, strict=True):
        rule, row = rows.rule.numpy(), rows.row.numpy()
        for number, name in enumerate(ids):
            mine = np.flatnonzero(rule[row] == number)
            _, local = np.unique(row[mine], return_inverse=True)
            yield name, _Read(rows.record.numpy()[mine], rows.position.numpy()[mine], local)


def _portions(chunk: Chunk) -> Iterator[tuple[int, int]]:
    """Ranges of rows that are about `TOKENS` tokens once they are padded, or one row."""
    lengths = np.diff(chunk.tokens.offsets)
    first = 0
    while first < len(lengths):
        padded = np.maximum.accumulate(lengths[first:]) * np.arange(1, len(lengths) - first + 1)
        stop = first + max(int(np.searchsorted(padded, TOKENS, side="right")), 1)
        yield first, stop
        first = stop


def _some(tokens: TeacherTokens, first: int, stop: int) -> TeacherTokens:
    """The rows `[first, stop)`."""
    begin, end = tokens.offsets[first], tokens.offsets[stop]
    low, high = np.searchsorted(tokens.row, [first, stop])
    return TeacherTokens(
        tokens.ids[begin:end],
        tokens.offsets[first : stop + 1] - begin,
        tokens.row[low:high] - first,
        tokens.token[low:high],
        tokens.at[low:high],
    )


def _padded(tokens: TeacherTokens) -> tuple[Tensor, Tensor]:
    """The teacher's tokens as a batch has them: ids and mask, [rows, T]."""
    lengths = np.diff(tokens.offsets)
    width = max(int(lengths.max(initial=0)), 1)
    there = np.arange(width) < lengths[:, None]
    ids = np.zeros(there.shape, dtype=np.int64)
    ids[there] = tokens.ids
    return torch.from_numpy(ids), torch.from_numpy(there.astype(np.int64))


def _partners(tokens: TeacherTokens, record: Ints, position: Ints, width: int) -> tuple[Ints, Ints]:
    """The teacher's tokens of some tokens: the place of the token that each belongs to, and its own position."""
    code, wanted = tokens.row * width + tokens.token, record * width + position
    low, high = np.searchsorted(code, wanted, side="left"), np.searchsorted(code, wanted, side="right")
    counts = high - low
    return np.repeat(np.arange(len(wanted)), counts), tokens.at[ranges(low, counts)]
