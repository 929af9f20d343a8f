"""What only the whole data can show: fields that no record has, splits that share a record, claims that do not hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..dsl import checked as c
from ..dsl.canonical import digest
from ..dsl.codes import shards as shard_codes
from ..dsl.codes import sources as codes
from ..dsl.compare import COMPARE
from ..dsl.diagnostics import Diagnostic, Failure
from .build.finished import Whole
from .counted import Found
from .files.shard_reader import id_hashes
from .manifest import Cause, ChatCause, Counts, Manifest, ShardEntry
from .recipe import AheadCheck, Recipe, label_key
from .sets import RECORD, TOKENS
from .sources.render import slots_of
from .walk import field_paths, join_fields
from .written import field_text

IdHashes = npt.NDArray[np.uint64]

DROP_WORDS = {
    "null_text": "a field of the text is missing or null",
    "too_long": "longer than the context",
    "empty_text": "the text is empty",
    "no_messages": "the list of messages is empty",
    "refused": "the chat template refuses or fails",
}


def dropped_findings(program: c.Program, manifest: Manifest) -> Iterator[Diagnostic]:
    """Records that came to nothing, by cause."""
    for cause, count in manifest.dropped.items():
        if cause == "too_long" and program.model.lost == "drop":
            continue
        code = codes.DROPPED_REFUSED if program.model.lost == "error" else codes.DROPPED
        records = "1 record" if count == 1 else f"{count:,} records"
        refused = " (`lost = error`)" if code is codes.DROPPED_REFUSED else ""
        message = f"{records} dropped: {DROP_WORDS.get(cause, cause)}{refused}"
        help = WHICH if cause == "refused" else None
        yield code.at(program.sources[0].place, message, help=help)


WHICH = "`lost = error` in `model` names the first, and says why"
CHAT_WORDS: Mapping[ChatCause, str] = {
    "unrendered": "are not in the text that the chat template gives",
    "shortened": "are in the text in part alone, as the chat template has it",
    "changed": "are changed by the chat template, so that nothing inside them has a place",
    "special": "hold the text of a special token, which the tokenizer reads as that token",
}


def chat_findings(program: c.Program, manifest: Manifest) -> Iterator[Diagnostic]:
    """What became of messages, by source and cause."""
    if program.model.lost == "drop":
        return
    refused = program.model.lost == "error"
    why = " (`lost = error`)" if refused else ""
    for source in program.sources:
        counts = manifest.chat.get(source.name, {})
        for cause, words in CHAT_WORDS.items():
            if count := counts.get(cause):
                code = codes.CHAT_SPECIAL if cause == "special" else codes.CHAT_UNRENDERED
                message = f"source `{source.name}`: {count:,} of {counts['messages']:,} messages {words}{why}"
                yield (codes.CHAT_LOST if refused else code).at(source.place, message)
        if count := counts.get("entries"):
            message = f"source `{source.name}`: {count:,} entries of `offsets` stand in what the chat template leaves out{why}"
            yield (codes.CHAT_LOST if refused else codes.CHAT_UNRENDERED).at(source.place, message)


def unmet_expectations(program: c.Program, manifest: Manifest, rules: Mapping[str, Counts]) -> Iterator[Diagnostic]:
    """A finding for every `expect coverage` that the counts do not meet, and for every claim about a trained model that has no
    records to be decided on. `rules`: counts by rule."""
    for expect in program.expects:
        found = _coverage(expect, manifest)
        if found is None:
            yield _no_split(expect, f"coverage({expect.written})", expect.of, manifest)
        elif not COMPARE[expect.op](found, expect.count):
            message = f"`coverage({expect.written})` is {found:,} in split `{expect.of}`, expected {expect.op} {expect.count:g}"
            yield codes.EXPECTATION.at(expect.place, message)
    for claim in program.claims:
        metric = claim.metric
        written = metric.name if metric.rule is None else f"{metric.name}({metric.rule})"
        if metric.of not in manifest.records:
            yield _no_split(claim, written, metric.of, manifest)
        elif metric.rule is not None and not _rows(rules[metric.rule].splits.get(metric.of, {})):
            message = f"`{written}` is expected of split `{metric.of}`, in which `{metric.rule}` has no row"
            yield codes.EXPECTATION.at(claim.place, message)


def _no_split(claim: c.Coverage | c.Trained, written: str, split: str, manifest: Manifest) -> Diagnostic:
    known = ", ".join(f"`{name}`" for name in manifest.records)
    return codes.NO_SUCH_SPLIT.at(claim.place, f"`{written}` is expected of split `{split}`; there is {known}")


def _rows(counts: Mapping[Cause, int]) -> int:
    """The rows of a rule; where they are not counted, how much its set holds."""
    return counts.get("rows", counts.get("matched", 0))


def unmixable(program: c.Program, manifest: Manifest) -> Iterator[Diagnostic]:
    """A finding for every source of the mix that has no record in the split that training reads."""
    held = {shard.source for shard in manifest.shards if shard.split == "train"}
    places = {source.name: source.place for source in program.sources}
    for source, share in program.mix:
        if held and None not in held and source not in held:
            message = f"`mix` gives `{source}` {share * 100:g}% of the tokens, and it has no record in split `train`"
            yield shard_codes.MIX_EMPTY.at(places[source], message)


def _coverage(expect: c.Coverage, manifest: Manifest) -> int | None:
    """How many spans the set has in the split, None where there is no such split."""
    if expect.of not in manifest.records:
        return None
    plain = expect.subject.base if isinstance(expect.subject, c.Named) else expect.subject
    unstored = TOKENS if isinstance(plain, c.Tokens) else RECORD if isinstance(plain, c.Record) else None
    return manifest.sets[unstored or digest(expect.subject)].splits.get(expect.of, {}).get("matched", 0)


def check_whole(program: c.Program, recipe: Recipe, outcome: Whole) -> None:
    """What only all tasks together can show. Raises Failure."""
    findings = [
        *_missing_fields(program, outcome),
        *_missing_attributes(program, recipe, outcome),
    ]
    if not findings and not outcome.shards:
        help = WHICH if outcome.dropped["refused"] else None
        message = f"no record is left: {_said(outcome.dropped)}"
        findings.append(codes.NOTHING_LEFT.at(program.sources[0].place, message, help=help))
    if findings:
        raise Failure(*findings)


def _said(dropped: Mapping[str, int]) -> str:
    parts = [f"{count:,} dropped, {DROP_WORDS.get(cause, cause)}" for cause, count in sorted(dropped.items()) if count]
    return "; ".join(parts) or "the sources are empty"


def _missing_fields(program: c.Program, outcome: Whole) -> Iterator[Diagnostic]:
    """Fields that no record has: of one source for its template, of all for sets, labels and factors."""
    for source in program.sources:
        for path in slots_of(source.text):
            if (source.name, path) not in outcome.seen:
                yield codes.NO_SUCH_FIELD.at(
                    source.place, f"no record of source `{source.name}` has `{field_text(path)}`"
                )
    seen = {path for _, path in outcome.seen}
    for rule in program.rules:
        for path in sorted(_fields_of(rule) - seen):
            yield codes.NO_SUCH_FIELD.at(rule.place, f"`{rule.id}` reads `{field_text(path)}`, which no record has")
    for term in program.order.terms if program.order is not None else ():
        if isinstance(term, c.Number_) and term.path not in seen:
            message = f"`order` reads `{field_text(term.path)}`, which no record has"
            yield codes.NO_SUCH_FIELD.at(program.order.place if program.order is not None else None, message)


def _missing_attributes(program: c.Program, recipe: Recipe, outcome: Whole) -> Iterator[Diagnostic]:
    """Attributes that a label is read from, and that no span has."""
    places = {rule.id: rule.place for rule in program.rules}
    for check in recipe.checks:
        if isinstance(check, AheadCheck) or check.attribute is None:
            continue
        matched = _total(outcome.sets, check.set, "matched")
        null = _total(outcome.labels, label_key(check), "null")
        if matched and null == matched:
            message = f"`{check.rule}` reads attribute `{check.attribute}`, which no span has"
            yield codes.NO_SUCH_FIELD.at(places[check.rule], message)


def _total(found: Found, name: str, cause: Cause) -> int:
    return sum(causes.get(cause, 0) for causes in found.get(name, {}).values())


def _fields_of(rule: c.Rule) -> set[c.FieldPath]:
    match rule:
        case c.Attend(join=join):
            return join_fields([join])
        case c.Toward(subject=subject, target=target):
            return field_paths([subject]) | ({target} if isinstance(target, tuple) else set())
        case c.Classify(subject=subject, label=label) | c.Contrast(subject=subject, label=label):
            return field_paths([subject]) | ({label} if isinstance(label, tuple) else set())
        case c.Distil(subject=subject):
            return field_paths([subject])
        case c.Predict(subject=subject, target=token):
            return field_paths([subject]) | ({token} if isinstance(token, tuple) else set())
        case c.Relate(subject=concept):
            return field_paths([concept.spans] if concept.spans is not None else [])
        case c.Like(subject=subject, subject_to=to):
            return field_paths(each.spans for each in (subject, to) if each.spans is not None)
        case c.Weigh(subject=subject, factor=factor):
            return field_paths([subject]) | ({factor} if isinstance(factor, tuple) else set())
        case c.Keep(subject=subject):
            return field_paths([subject])


def check_shared_ids(program: c.Program, root: Path, shards: Iterable[ShardEntry]) -> None:
    """Splits never share an id. Raises Failure. `root`: where the shards are.

    Ids are compared by 64-bit hashes: among 10^8 records, one false alarm in 4,000 builds.
    """
    if not _may_share_ids(program.sources):
        return
    ids: dict[str, list[IdHashes]] = {}
    for shard in shards:
        ids.setdefault(shard.split, []).append(id_hashes(root / shard.path))
    if findings := list(_shared_ids(program, ids)):
        raise Failure(*findings)


def _may_share_ids(sources: Sequence[c.Source]) -> bool:
    """Whether two splits could hold one id: by a hash of the id, or in one split alone, a single source never does."""
    return len(sources) > 1 or isinstance(sources[0].split, c.FieldSplit)


def _shared_ids(program: c.Program, ids: Mapping[str, list[IdHashes]]) -> Iterator[Diagnostic]:
    unique = {split: np.unique(np.concatenate(hashes)) for split, hashes in ids.items()}
    for one, other in combinations(sorted(unique), 2):
        shared = len(np.intersect1d(unique[one], unique[other], assume_unique=True))
        if shared:
            how_many = "1 id" if shared == 1 else f"{shared:,} ids"
            message = f"splits `{one}` and `{other}` share {how_many}"
            help = "give copies of a record one split, or each its own id"
            yield codes.SHARED_IDS.at(program.sources[0].place, message, help=help)
