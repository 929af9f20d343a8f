"""The driver: a checked program -> a dataset directory.

Takes a program that checked clean. Digests every input, lowers the program, has the tasks run that nobody ran before, accounts
for what was lost and writes plan, anchors and manifest. What the target held before stays whole until the new dataset is
complete. Tasks whose shards are in the target already, or in what an earlier process left unfinished, are not run again: where
nothing changed but how a model is supervised, the plan alone is written.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..dsl import checked as c
from ..dsl.diagnostics import Diagnostic, Failure, Findings, Severity
from ..version import VERSION
from .account import lost_findings, rule_counts
from .build.engines import Engine, InProcess
from .build.finished import TASKS_FILE, Finished, Whole, finished_in, fitted, uncounted
from .build.stage import Stage, staged
from .build.tasks import Unit, meaning_of, shards_key, units_of
from .build.worker import Job, Request
from .cache.cache import CacheFolder
from .counted import as_counts
from .files.anchors import anchors
from .files.output import finish, link_measures
from .lessons import learn, lessons, teacher_digests
from .lower import Lowered
from .manifest import Counts, InputEntry, Manifest, entry_of, read_manifest
from .plan import Digest, Plan
from .prepare import prepare
from .recipe import Recipe, label_key
from .sets import COUNTED, both
from .sources.inventory import Inventory, inventory
from .teaching import Lesson, Teach
from .tokens.tokenize import Encoder
from .whole import chat_findings, check_shared_ids, check_whole, dropped_findings, unmet_expectations, unmixable
from .windowed import windowed_counts


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the tasks are: `total` of them, `kept` that were done before, `done` since, and what all that are done hold.
    `seconds`: since the first was started."""

    total: int
    kept: int
    done: int
    records: int
    tokens: int
    dropped: int
    seconds: float


Report = Callable[[Progress], None]
"""Called before the first task, and after each."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """A dataset as written. `ran`: how many tasks were run; `resumed`: how many an earlier process had done; `kept`: how many the
    target had."""

    manifest: Manifest
    plan: Plan
    ran: int
    resumed: int
    kept: int
    warnings: tuple[Diagnostic, ...]

    @property
    def reused(self) -> bool:
        """Whether the target had all shards already."""
        return self.ran == self.resumed == 0


@dataclass(frozen=True, slots=True)
class Ran:
    """Tasks that are done, by number, and how that came about: see `Compiled`."""

    done: Mapping[int, Finished]
    ran: int
    resumed: int
    kept: int


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a program is compiled from: plan and recipe, the tokenizer, the sources by content, and the tasks."""

    program: c.Program
    lowered: Lowered
    encoder: Encoder
    stock: tuple[Inventory, ...]
    units: tuple[Unit, ...]

    @property
    def recipe(self) -> Recipe:
        return self.lowered.recipe

    @property
    def key(self) -> Digest:
        """What all shards together follow from."""
        return shards_key(self.recipe, self.stock)


def compile_program(
    program: c.Program,
    out: Path,
    report: Report = lambda progress: None,
    teach: Teach | None = None,
    engine: Engine | None = None,
    cache: CacheFolder | None = None,
) -> Compiled:
    """Compile `program` into the directory `out`. `teach` runs the teachers whose states are stored, see `teaching`; `engine`
    runs the tasks, by default one after another in this process; `cache` is where what they read and tokenise is kept.

    Raises Failure, with everything found, and leaves `out` as it was. What tasks were done by then is kept beside it, for the
    next time.
    """
    with staged(out) as stage:
        return build(lambda: read_inputs(program), stage, report, teach, engine or InProcess(), cache)


def build(
    read: Callable[[], Inputs],
    stage: Stage,
    report: Report,
    teach: Teach | None,
    engine: Engine,
    cache: CacheFolder | None = None,
    accept: Callable[[Compiled], None] = lambda compiled: None,
) -> Compiled:
    """Build the dataset of `stage`, of what `read` gives, and put it in place, once `accept` has not raised. Raises Failure."""
    try:
        inputs = read()
        teaching = _teaching(inputs, teach)
        ran = run_tasks(inputs, inputs.units, stage, engine, report, cache)
        with stage.refusals():
            compiled = _put_together(inputs, ran, stage, teaching)
        accept(compiled)
        stage.publish()
    except BaseException:
        stage.drop()
        raise
    return compiled


def read_inputs(program: c.Program) -> Inputs:
    """Everything that `program` is compiled from. Every source is read once. Raises Failure with what cannot be read."""
    lowered, encoder = prepare(program)
    stock = take_stock(program)
    return Inputs(program, lowered, encoder, stock, units_of(lowered.recipe, stock))


def take_stock(program: c.Program) -> tuple[Inventory, ...]:
    """Every source's files by content, with their tasks. Raises Failure with everything that cannot be read."""
    findings = Findings()
    stock = tuple(inventory(source, program.root, findings) for source in program.sources)
    if findings.failed:
        raise Failure(*findings.items)
    return stock


def run_tasks(
    inputs: Inputs,
    units: Sequence[Unit],
    stage: Stage,
    engine: Engine,
    report: Report,
    cache: CacheFolder | None = None,
) -> Ran:
    """Have `units` done: those are run that are done neither here nor in the target."""
    program, recipe = inputs.program, inputs.recipe
    before = stage.finished(units)
    done = {number: fitted(each, recipe) for number, each in before.items() if not any(uncounted(each, recipe))}
    there = {each.key: fitted(each, recipe) for each in finished_in(stage.target) if not any(uncounted(each, recipe))}
    resumed = len(done)
    done |= stage.take([unit for unit in units if unit.number not in done], there)
    rest = [unit for unit in units if unit.number not in done]
    request = Request(
        spec=program.files[0].resolve(),
        model=None if program.config is None else program.config.resolve(),
        settings=tuple(f"{name}={value}" for name, value in program.settings),
        meaning=meaning_of(recipe, recipe.sources),
        root=stage.root,
        target=stage.target,
        cache=cache if cache is not None and cache.holds(unit.task for unit in inputs.units) else None,
        remote=any(source.remotes for source in program.sources),
    )
    watch = _Watch(report, len(units), done.values())
    for each in engine.run(rest, Job(recipe, program.root, inputs.encoder, stage, request)):
        done[each.number] = each
        watch.add(each)
    return Ran(done, len(rest), resumed, len(done) - len(rest) - resumed)


class _Watch:
    """Reports how far the tasks are."""

    def __init__(self, report: Report, total: int, kept: Collection[Finished]) -> None:
        self._report, self._total, self._kept, self._done = report, total, len(kept), 0
        self._held: Counter[str] = Counter()
        self._start = time.monotonic()
        for each in kept:
            self._count(each)
        self._tell()

    def add(self, done: Finished) -> None:
        """Another task is done."""
        self._done += 1
        self._count(done)
        self._tell()

    def _count(self, done: Finished) -> None:
        for shard in done.shards:
            self._held.update(records=shard.records, tokens=shard.tokens)
        self._held["dropped"] += sum(done.dropped.values())

    def _tell(self) -> None:
        held, seconds = self._held, time.monotonic() - self._start
        self._report(
            Progress(self._total, self._kept, self._done, held["records"], held["tokens"], held["dropped"], seconds)
        )


# --- from tasks to a dataset -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Teaching:
    """What teachers are asked for, who runs them, and the digests of their files."""

    asked: tuple[Lesson, ...]
    teach: Teach | None
    made: dict[str, Digest]
    anchors: dict[str, npt.NDArray[np.float32]]


def _teaching(inputs: Inputs, teach: Teach | None) -> _Teaching:
    program, lowered = inputs.program, inputs.lowered
    anchored = anchors((each for each in program.concepts if each.name in lowered.plan.anchors), program.model)
    made = teacher_digests(program, lowered)
    asked = lessons(program, lowered, inputs.encoder, inputs.stock, inputs.key, made)
    return _Teaching(asked, teach, made, anchored)


def _put_together(inputs: Inputs, ran: Ran, stage: Stage, teaching: _Teaching) -> Compiled:
    """Make what the tasks left a dataset: check, account, run teachers, and write what is beside the shards."""
    program, lowered, done, whole = inputs.program, inputs.lowered, ran.done, Whole()
    for number in sorted(done):
        whole.add(done[number])
    stage.clear(done.values())
    check_whole(program, inputs.recipe, whole)
    same = _is_of(stage.target, inputs.key)
    if not same:
        check_shared_ids(program, stage.root, whole.shards)
    manifest = _manifest(inputs, whole).model_copy(update={"teachers": teaching.made})
    windowed = windowed_counts(lowered.plan, stage.root, manifest.shards)
    # Before teachers run, which takes longer than all else.
    accounted, warnings = _account(program, lowered, manifest, windowed)
    vectors = teaching.anchors
    if teaching.asked:
        taught = learn(teaching.asked, teaching.teach, stage.target, stage.root, lowered, accounted)
        centroids = {mean.name: mean.digest for lesson in teaching.asked for mean in lesson.means}
        more = {"targets": dict(sorted(taught.targets.items())), "centroids": dict(sorted(centroids.items()))}
        accounted, warnings = _account(program, lowered, manifest.model_copy(update=more), windowed)
        vectors = vectors | taught.centroids
    if same:
        link_measures(stage.target, stage.root)
    stage.gather(done)
    accounted = accounted.model_copy(update={"files": (entry_of(stage.root / TASKS_FILE),)})
    finished = finish(stage.root, lowered.plan, vectors, accounted)
    return Compiled(finished, lowered.plan, ran.ran, ran.resumed, ran.kept, warnings)


def _is_of(target: Path, key: Digest) -> bool:
    """Whether the dataset in `target` is of the same shards."""
    try:
        return read_manifest(target).shards_key == key
    except (OSError, Failure):
        return False


def _manifest(inputs: Inputs, whole: Whole) -> Manifest:
    """The manifest of the shards, but for what depends on the plan."""
    recipe = inputs.recipe
    records, tokens = Counter[str](), Counter[str]()
    for shard in whole.shards:
        records[shard.split] += shard.records
        tokens[shard.split] += shard.tokens
    labels = as_counts(whole.labels, [label_key(check) for check in recipe.checks])
    stored = [*(each.digest for each in recipe.sets), *(each.digest for each in recipe.edges)]
    counted = [*stored, *COUNTED, *(both(*pair) for pair in recipe.pairs)]
    return Manifest(
        version=VERSION,
        shards_key=inputs.key,
        inputs=_inputs(inputs.program, inputs.stock),
        records=dict(sorted(records.items())),
        tokens=dict(sorted(tokens.items())),
        dropped={cause: count for cause, count in sorted(whole.dropped.items()) if count},
        sets=as_counts(whole.sets, counted),
        labels=labels,
        causal=recipe.model.causal if recipe.edges else None,
        rules={},
        files=(),
        shards=tuple(sorted(whole.shards, key=lambda shard: shard.path)),
        chat={
            source.name: {cause: count for cause, count in sorted(whole.chat[source.name].items()) if count}
            for source in recipe.sources
            if isinstance(source.text, c.Chat)
        },
    )


def _account(
    program: c.Program, lowered: Lowered, manifest: Manifest, windowed: Mapping[str, Counts]
) -> tuple[Manifest, tuple[Diagnostic, ...]]:
    """The manifest with the counts of the plan's rules, and what is to be said about them. `windowed`: of `windowed_counts`.

    Raises Failure where a rule asks for it or an expectation is not met.
    """
    plan, recipe = lowered.plan, lowered.recipe
    labels = {check.rule: manifest.labels[label_key(check)] for check in recipe.checks}
    rules = rule_counts(plan, manifest.sets, labels, manifest.targets, windowed)
    findings = [
        *lost_findings(program, rules),
        *unmet_expectations(program, manifest, rules),
        *unmixable(program, manifest),
        *dropped_findings(program, manifest),
        *chat_findings(program, manifest),
    ]
    errors = [found for found in findings if found.severity is Severity.ERROR]
    if errors:
        raise Failure(*findings)
    return manifest.model_copy(update={"rules": rules}), tuple(findings)


def _inputs(program: c.Program, stock: tuple[Inventory, ...]) -> tuple[InputEntry, ...]:
    """Every file that the dataset was made from: specs, tokenizer, sources."""
    own = [*program.files, program.model.tokenizer]
    entries = [
        InputEntry(path=_shown(path, program.root), digest=hashlib.sha256(path.read_bytes()).hexdigest()[:32])
        for path in own
    ]
    return (*entries, *(entry for found in stock for entry in found.inputs))


def _shown(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
