"""Shards opened for a plan: what the plan reads of them, the sets that they have to hold, the states beside them, the anchors.

The runtime opens a dataset by this, and `mcd verify` looks at one as the runtime would.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from ...dsl.codes import shards as codes
from ...dsl.diagnostics import Failure
from ...dsl.source import DataPlace
from ..manifest import ANCHORS_FILE, FileEntry, Manifest
from ..plan import (
    AttendPlan,
    ClassifyPlan,
    ContrastPlan,
    CrossRef,
    EdgeSetRef,
    FieldTerm,
    HiddenOf,
    HiddenRule,
    KeepPlan,
    LikePlan,
    Plan,
    PredictPlan,
    RulePlan,
    TowardPlan,
    WeighPlan,
)
from ..sets import RECORD, TOKENS
from ..stored import failure
from ..teaching import target_path
from .listed import Verify, check_file
from .shard_reader import EDGE_WEIGHT, Chunk, Kind, Wanted, open_shard
from .targets import open_targets

DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
MAX_HEADER = 1 << 24
"""Bytes that name the anchors, at most: a hundred thousand of them and more."""


def label_column(field: str | None, attribute: str | None) -> str:
    """The column that a rule on an attribute or a field reads."""
    return f"field.{field}" if field is not None else f"span.at.{attribute}"


def stored_key(rule: RulePlan) -> str | None:
    """What the manifest calls the states of a teacher that a rule reads beside the shards."""
    match rule:
        case TowardPlan(hidden=HiddenOf(dtype=str()) as hidden):
            return hidden.key
    return None


def stored_keys(rules: Iterable[RulePlan]) -> tuple[str, ...]:
    """Those of all rules, each once."""
    return tuple(dict.fromkeys(key for rule in rules if (key := stored_key(rule)) is not None))


def wanted_by(plan: Plan) -> Wanted:
    """What `plan` reads of a shard."""
    kinds: dict[str, Kind] = {name: "index" for name in plan.columns if name == "span.at.index"}
    widths: dict[str, int] = {}
    for rule in plan.rules:
        match rule:
            case ClassifyPlan(field=field, attribute=attribute, labels=labels):
                column = label_column(field, attribute)
                kinds[column] = "index" if column == "span.at.index" else "class" if labels is None else "label"
            case ContrastPlan(field=field, attribute=attribute):
                kinds.setdefault(label_column(field, attribute), "key")
            case PredictPlan(field=str(field)):
                kinds[f"field.{field}"] = "token"
            case TowardPlan(field=str(field), through=through, dtype=dtype):
                kinds[f"field.{field}"] = "vector" if dtype == "float16" else "vector32"
                widths |= {} if through is None else {f"field.{field}": through.width}
            case WeighPlan(field=str(field)):
                kinds[f"field.{field}"] = "factor"
            case _:
                pass
    kinds |= {f"field.{term.field}": "number" for term in plan.order or () if isinstance(term, FieldTerm)}
    model = plan.model
    edges = any(column.startswith("edge.") for column in plan.columns)
    weights = EDGE_WEIGHT in plan.columns
    return Wanted(kinds, edges, model.vocab, model.hidden, model.context, plan.columns, widths, weights)


def sets_read(plan: Plan) -> set[str]:
    """Every set that a rule reads, but for those that no shard stores."""
    read: set[str] = set()
    for rule in plan.rules:
        match rule:
            case AttendPlan(edges=EdgeSetRef(edges=key)):
                read.add(key)
            case AttendPlan(edges=CrossRef(query=query, key=other)):
                read |= {query.set, other.set}
            case LikePlan(subject=subject, to=to):
                read |= {subject.set, to.set}
            case HiddenRule(subject=subject) | WeighPlan(subject=subject) | KeepPlan(subject=subject):
                read.add(subject.set)
            case _:
                pass
    return read - {TOKENS, RECORD}


class Opener:
    """Opens the shards of a dataset for its plan. `verify`: as `load` has it; `validate`: look at every value, which goes with
    digests unless said; `file`: where the file of an entry is, once it is what was written, in `directory` unless said."""

    def __init__(
        self,
        directory: Path,
        manifest: Manifest,
        plan: Plan,
        verify: Verify,
        validate: bool | None = None,
        file: Callable[[FileEntry], Path] | None = None,
    ) -> None:
        self._directory, self._manifest, self._plan = directory, manifest, plan
        self._file = file or partial(check_file, directory, verify=verify)
        self._validate = verify == "digest" if validate is None else validate
        self._wanted, self._sets = wanted_by(plan), sets_read(plan)
        self._targets = {file.path: file for entry in manifest.targets.values() for file in entry.files}

    def open(self, shard: FileEntry) -> Sequence[Chunk]:
        """The record batches of one shard, with the states of teachers that the plan reads. Raises Failure for what is wrong."""
        file = self._file(shard)
        found = open_shard(file, shard.path, self._wanted, validate=self._validate)
        for chunk in found[:1]:
            lacking = sorted(self._sets - set(chunk.sets))
            if lacking:
                written = self._plan.sets[lacking[0]].written if lacking[0] in self._plan.sets else lacking[0]
                message = f"shard `{shard.path}` does not hold the set `{written}`, which the plan reads"
                raise Failure(codes.SET_MISSING.at(DataPlace(shard.path), message, help="compile the spec again"))
        for key in stored_keys(self._plan.rules):
            self._attach(key, shard, found)
        return found

    def files(self, shard: FileEntry) -> tuple[FileEntry, ...]:
        """What `open` reads for a shard, as far as the manifest lists it."""
        entries = [self._manifest.targets.get(key) for key in stored_keys(self._plan.rules)]
        paths = [target_path(entry.digest, shard.path) for entry in entries if entry is not None]
        return (shard, *(self._targets[path] for path in paths if path in self._targets))

    def _attach(self, key: str, shard: FileEntry, chunks: Sequence[Chunk]) -> None:
        """Give the record batches of a shard the states of a teacher that lie beside it."""
        entry = self._manifest.targets.get(key)
        path = "" if entry is None else target_path(entry.digest, shard.path)
        listed = self._targets.get(path)
        if entry is None or listed is None:
            message = f"`{self._directory.name}` has no states of a teacher `{key}` beside `{shard.path}`, which the plan reads"
            raise failure(codes.TEACHER_ROWS, str(self._directory), message, "compile the spec again")
        file = self._file(listed)
        lengths = [np.diff(chunk.tokens.offsets).astype(np.int64) for chunk in chunks]
        for chunk, targets in zip(chunks, open_targets(file, path, entry, lengths), strict=True):
            chunk.targets[key] = targets


def read_anchors(directory: Path, plan: Plan) -> dict[str, npt.NDArray[np.float32]]:
    """The anchors of a plan by name, but for those that training makes: float32 of shape [hidden].

    Raises Failure for a file that cannot be read, and for an anchor that is not there or no vector of numbers of that shape.
    """
    wanted = [name for name in plan.anchors if name not in plan.learned]
    return _vectors(directory / ANCHORS_FILE, wanted, plan.model.hidden) if wanted else {}


def _vectors(path: Path, wanted: Sequence[str], width: int) -> dict[str, npt.NDArray[np.float32]]:
    found: dict[str, npt.NDArray[np.float32]] = {}
    expected = f"float32 of shape [{width}] is expected"
    try:
        with path.open("rb") as file:
            if int.from_bytes(file.read(8), "little") > MAX_HEADER:
                raise ValueError(f"its header has more than {MAX_HEADER} bytes")
        with safe_open(path, framework="numpy") as opened:
            names = set(opened.keys())
            for name in wanted:
                held = opened.get_slice(name) if name in names else None
                if held is None:
                    raise _no_anchor(name, f"is missing; {expected}")
                dtype, shape = DTYPES.get(held.get_dtype(), held.get_dtype()), held.get_shape()
                if (dtype, shape) != ("float32", [width]):
                    raise _no_anchor(name, f"is {dtype} of shape {shape}; {expected}")
                found[name] = opened.get_tensor(name)
                if not np.isfinite(found[name]).all():
                    raise _no_anchor(name, "holds what is no number")
    except (OSError, SafetensorError, ValueError) as error:
        message = f"`{ANCHORS_FILE}` cannot be read: {str(error)[:200]}"
        raise failure(codes.NOT_READABLE, ANCHORS_FILE, message) from None
    return found


def _no_anchor(name: str, what: str) -> Failure:
    return failure(codes.ANCHOR_WIDTH, ANCHORS_FILE, f"anchor `{name}` {what}")
