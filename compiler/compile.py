"""The driver: a checked program -> a dataset directory.

Takes a program that checked clean. Digests every input, lowers the program, runs the tasks, accounts for what was lost and
writes plan, anchors and manifest. What the target held before stays whole until the new dataset is complete. Where the target
already holds the shards of the same recipe over the same content, they are kept and the plan alone is written.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ..dsl import checked as c
from ..dsl.canonical import digest
from ..dsl.codes import sources as codes
from ..dsl.diagnostics import Diagnostic, Failure, Findings, Severity
from ..version import VERSION
from .account import lost_findings, rule_counts
from .alignment.fields import attribute_kinds
from .counted import as_counts
from .execute import Executor, Outcome
from .files.anchors import anchors
from .files.output import building, finish, keep_shards
from .files.shard_reader import SHARD_FORMAT
from .lessons import learn, lessons, teacher_digests
from .lower import Lowered, lower
from .manifest import Counts, InputEntry, Manifest, file_digest, read_manifest
from .plan import Digest, Plan, Tokenizer
from .recipe import Check, LabelCheck, Recipe
from .sets import COUNTED, both
from .sources.inventory import Inventory, inventory
from .teaching import Teach
from .tokens.tokenize import Encoder
from .verify import broken_invariants
from .whole import chat_findings, check_whole, dropped_findings, unmet_expectations, unmixable
from .windowed import windowed_counts

Report = Callable[[int, int], None]
"""Called after every task with the number of tasks done and in all."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """A dataset as written. `reused`: the shards were there already."""

    manifest: Manifest
    plan: Plan
    reused: bool
    warnings: tuple[Diagnostic, ...]


def prepare(program: c.Program) -> tuple[Lowered, Encoder]:
    """The plan and the recipe of a program, and the tokenizer that they were made with."""
    encoder = Encoder(program.model.tokenizer)
    if encoder.size > program.model.vocab:
        message = f"the tokenizer has {encoder.size} tokens, model `{program.model.name}` a vocabulary of {program.model.vocab}"
        raise Failure(codes.VOCABULARY.at(program.model.place, message))
    tokenizer = Tokenizer(
        digest=encoder.digest,
        prefix=len(encoder.prefix),
        suffix=len(encoder.suffix),
        bare=tuple(sorted(source.name for source in program.sources if isinstance(source.text, c.Chat))),
    )
    lowered = lower(program, tokenizer, VERSION)
    if broken := broken_invariants(lowered.plan):
        raise AssertionError("; ".join(broken))
    return lowered, encoder


def compile_program(
    program: c.Program, out: Path, report: Report = lambda done, total: None, teach: Teach | None = None
) -> Compiled:
    """Compile `program` into the directory `out`. `teach` runs the teachers whose states are stored, see `teaching`.

    Raises Failure, with everything found, and leaves `out` as it was.
    """
    lowered, encoder = prepare(program)
    stock = take_stock(program)
    vectors = anchors((concept for concept in program.concepts if concept.name in lowered.plan.anchors), program.model)
    key = shards_key(lowered.recipe, stock)
    made = teacher_digests(program, lowered)
    asked = lessons(program, lowered, encoder, stock, key, made)
    old = _previous(out, key, lowered.recipe)
    with building(out) as work:
        if old is not None:
            keep_shards(out, work, old)
            manifest = old.model_copy(update={"version": VERSION, "inputs": _inputs(program, stock)})
        else:
            outcome = _run(Executor(lowered.recipe, program.root, encoder), stock, work, report)
            check_whole(program, lowered.recipe, outcome)
            manifest = _manifest(lowered.recipe, key, _inputs(program, stock), outcome)
        manifest = manifest.model_copy(update={"teachers": made, "targets": {}, "centroids": {}})
        windowed = windowed_counts(lowered.plan, work, manifest.shards)
        # Before teachers run, which takes longer than all else.
        accounted, warnings = _account(program, lowered, manifest, windowed)
        if asked:
            taught = learn(asked, teach, out, work, lowered, accounted)
            centroids = {mean.name: mean.digest for lesson in asked for mean in lesson.means}
            more = {"targets": dict(sorted(taught.targets.items())), "centroids": dict(sorted(centroids.items()))}
            accounted, warnings = _account(program, lowered, manifest.model_copy(update=more), windowed)
            vectors |= taught.centroids
        whole = finish(work, lowered.plan, vectors, accounted)
    return Compiled(whole, lowered.plan, old is not None, warnings)


def take_stock(program: c.Program) -> tuple[Inventory, ...]:
    """Every source's files by content, with their tasks. Raises Failure with everything that cannot be read."""
    findings = Findings()
    stock = tuple(inventory(source, program.root, findings) for source in program.sources)
    if findings.failed:
        raise Failure(*findings.items)
    return stock


def shards_key(recipe: Recipe, stock: tuple[Inventory, ...]) -> Digest:
    """What shards depend on, and nothing else: the tokenizer, `context`, `overflow`, sources and sets by content.

    Neither paths nor the names of rules, spans and concepts take part.
    """
    sources: list[list[object]] = [
        [
            source.name,
            source.format,
            digest((source.id, source.split, source.text, *((source.marked,) if source.marked else ()))),
            [entry.digest for entry in held.inputs],
        ]
        for source, held in zip(recipe.sources, stock, strict=True)
    ]
    meaning = {
        "format": SHARD_FORMAT,
        "tokenizer": recipe.tokenizer_digest,
        "context": [recipe.model.context, digest(recipe.model.overflow)],
        "sources": sources,
        "sets": [[each.digest, each.attributes] for each in recipe.sets],
        "attributes": attribute_kinds(recipe),
        "edges": [each.digest for each in recipe.edges],
        "fields": [[f.name, f.path, f.type, f.width, digest(f.spans)] for f in recipe.fields],
    }
    text = json.dumps(meaning, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def label_key(check: Check) -> Digest:
    """What the counts of a check depend on besides the shards; the rule's name does not matter."""
    if isinstance(check, LabelCheck):
        return digest((check.set, check.field, check.attribute, check.classes))
    return digest(replace(check, rule=""))


def _run(executor: Executor, stock: tuple[Inventory, ...], work: Path, report: Report) -> Outcome:
    tasks = [task for found in stock for task in found.tasks]
    outcome = Outcome()
    for number, task in enumerate(tasks):
        outcome.add(executor.run(task, number, work))
        report(number + 1, len(tasks))
    return outcome


def _manifest(recipe: Recipe, key: Digest, inputs: tuple[InputEntry, ...], outcome: Outcome) -> Manifest:
    """The manifest of shards just written, but for what depends on the plan."""
    records, tokens = Counter[str](), Counter[str]()
    for shard in outcome.shards:
        records[shard.split] += shard.records
        tokens[shard.split] += shard.tokens
    labels = as_counts(outcome.labels, [check.rule for check in recipe.checks])
    stored = [*(each.digest for each in recipe.sets), *(each.digest for each in recipe.edges)]
    counted = [*stored, *COUNTED, *(both(*pair) for pair in recipe.pairs)]
    return Manifest(
        version=VERSION,
        shards_key=key,
        inputs=inputs,
        records=dict(sorted(records.items())),
        tokens=dict(sorted(tokens.items())),
        dropped={cause: count for cause, count in sorted(outcome.dropped.items()) if count},
        sets=as_counts(outcome.sets, counted),
        labels={label_key(check): labels[check.rule] for check in recipe.checks},
        causal=recipe.model.causal if recipe.edges else None,
        rules={},
        files=(),
        shards=tuple(sorted(outcome.shards, key=lambda shard: shard.path)),
        chat={
            source.name: {cause: count for cause, count in sorted(outcome.chat[source.name].items()) if count}
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
    used = {label_key(check): manifest.labels[label_key(check)] for check in recipe.checks}
    return manifest.model_copy(update={"rules": rules, "labels": used}), tuple(findings)


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


def uncounted(manifest: Manifest, recipe: Recipe) -> Iterator[str]:
    """What was not counted when the shards were written, and cannot be counted without writing them anew."""
    for check in recipe.checks:
        if label_key(check) not in manifest.labels:
            yield f"labels or rows of `{check.rule}` were not counted"
    if any(both(*pair) not in manifest.sets for pair in recipe.pairs):
        yield "two sets were not counted together"
    if recipe.edges and manifest.causal is not recipe.model.causal:
        yield f"edges were counted for a {'bidirectional' if recipe.model.causal else 'causal'} model"


def _previous(out: Path, key: Digest, recipe: Recipe) -> Manifest | None:
    """The manifest of the dataset in `out`, where its shards are those of this recipe and are whole; they are read for that."""
    try:
        manifest = read_manifest(out)
        if manifest.shards_key != key or any(uncounted(manifest, recipe)):
            return None
        whole = all(file_digest(out / shard.path) == (shard.sha256, shard.bytes) for shard in manifest.shards)
    except (OSError, Failure):
        return None
    return manifest if whole else None
