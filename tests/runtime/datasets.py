"""Small compiled directories for the tests of the runtime: random texts, spans, edges and fields, through the real writer."""

import numpy as np

from mcd.compiler.alignment.align import align
from mcd.compiler.alignment.fields import field_columns
from mcd.compiler.files.output import building, finish
from mcd.compiler.files.shards import ShardWriter, shard_rows, shard_schema
from mcd.compiler.manifest import Manifest
from mcd.compiler.plan import (
    AttendPlan,
    ClassifyPlan,
    Contract,
    ContrastPlan,
    CrossRef,
    EdgeSetRef,
    LikePlan,
    Line,
    Plan,
    PredictPlan,
    RelatePlan,
    SetInfo,
    SpanSetRef,
    Tokenizer,
    TowardPlan,
    WeighPlan,
)
from mcd.compiler.recipe import LabelCheck
from mcd.dsl import checked as c

from ..compiler.alignment import edges, recipe, spans, texts

HIDDEN = 4
LABELS = ("x", "y", "z")
BASE = {"line": Line(file="t.mcd", line=1), "lost": "warn"}


def attend(id, ends, **options):
    """A rule on the edge set `ends`, or on every pair of the two sets `ends`."""
    if len(ends) == 1:
        found = EdgeSetRef(edges=ends, weighted=ends == "f")
    else:
        found = CrossRef(query=SpanSetRef(set=ends[0]), key=SpanSetRef(set=ends[1]))
    given = {"layers": (1,), "heads": "any", "loss": "nll", "mass": None, "avoid": False, "each": False, "weight": 1.0}
    return AttendPlan(id=id, edges=found, **{**BASE, **given, "per": "row", **options})


def hidden(id, subject, **options):
    given = {"layers": (1,), "pool": "each", "weight": 1.0, "per": "row"}
    return {**BASE, **given, "id": id, "subject": SpanSetRef(set=subject), **options}


def toward(id, subject, field=None, **options):
    anchor = None if field else "axis"
    return TowardPlan(anchor=anchor, field=field, loss="cosine", **hidden(id, subject, **options))


def classify(id, subject, field=None, attribute=None, classes=3, labels=None, **options):
    given = {"field": field, "attribute": attribute, "classes": classes, "labels": labels}
    return ClassifyPlan(**given, **hidden(id, subject, **options))


def contrast(id, subject, field=None, attribute=None, scope="record", **options):
    given = {"field": field, "attribute": attribute, "temperature": 0.1, "scope": scope}
    return ContrastPlan(**given, **hidden(id, subject, **options))


def predict(id, subject, ahead=None, field=None, **options):
    return PredictPlan(ahead=ahead, field=field, **hidden(id, subject, **options))


def relate(id, subject, **options):
    return RelatePlan(relation="is_a", anchor="axis", margin=0.1, **hidden(id, subject, **options))


def like(id, subject, to, **options):
    return LikePlan(to=SpanSetRef(set=to), anchor="axis", anchor_to="other", margin=1, **hidden(id, subject, **options))


def weigh(id, subject, factor=None, field=None, only=False):
    return WeighPlan(id=id, subject=SpanSetRef(set=subject), factor=factor, field=field, only=only, **BASE)


def plan(rules, columns=(), prefix=0, suffix=0, causal=True, context=512, edge_sets="ef", windows=()):
    """A plan of `rules` over span sets and edge sets of one letter."""
    read = {key for rule in rules for key in _keys(rule)} - {"tokens", "record"}
    shape = {"layers": 2, "heads": 2, "hidden": HIDDEN, "vocab": 1000}
    contract = Contract(architecture=None, causal=causal, context=context, windows=windows, **shape)
    return Plan(
        version="0",
        edition=1,
        spec="t.mcd",
        model=contract,
        tokenizer=Tokenizer(digest="0", prefix=prefix, suffix=suffix),
        columns=tuple(columns),
        sets={key: SetInfo(kind="edge" if key in edge_sets else "span", written=key) for key in sorted(read)},
        anchors={"axis": "orthonormal", "other": "learned"},
        learned=("other",),
        rules=tuple(rules),
        stages=(),
    )


def _keys(rule):
    if isinstance(rule, AttendPlan):
        return [rule.edges.edges] if isinstance(rule.edges, EdgeSetRef) else [rule.edges.query.set, rule.edges.key.set]
    return [rule.subject.set, *([rule.to.set] if isinstance(rule, LikePlan) else [])]


COLUMNS = (
    "id", "part", "source", "input_ids", "span.set", "span.start", "span.end", "span.at.index", "span.at.kind",
    "edge.set", "edge.query_start", "edge.query_end", "edge.key_start", "edge.key_end", "edge.weight",
    "field.n", "field.s", "field.v", "field.w",
)  # fmt: skip


def random_batch(random, records, prefix=0, suffix=0, size=9):
    """A batch with three span sets (attribute `kind`), two edge sets, `f` with weights, and fields: `n` a class per span of a,
    `s` a class per record, `v` a vector per span of a, `w` a factor per span of b."""
    pieces = ["a", " b", "cd", " ", "  ", "e ", " f g"]
    words = [[*random.choice(pieces, random.integers(0, size)), "z"] for _ in range(records)]
    batch = texts(*words, prefix=prefix, suffix=suffix)
    stored = {key: _random_spans(batch, random) for key in "abc"}
    counts = {key: np.bincount(found.record, minlength=records) for key, found in stored.items()}

    def lists(key, draw):
        return [None if random.random() < 0.1 else [draw() for _ in range(n)] for n in counts[key]]

    fields = {
        ("n",): lists("a", lambda: None if random.random() < 0.1 else int(random.integers(-1, 4))),
        ("s",): [int(random.integers(0, 4)) for _ in range(records)],
        ("v",): lists("a", lambda: random.integers(0, 9, HIDDEN).astype(float).tolist()),
        ("w",): lists("b", lambda: float(random.integers(0, 5)) / 2),
    }
    batch = texts(*words, prefix=prefix, suffix=suffix, fields=fields)
    pairs = {
        "e": _random_edges(batch, stored["a"], stored["b"], random),
        "f": _random_edges(batch, stored["c"], stored["c"], random, weighted=True),
    }
    return batch, stored, pairs


def _random_spans(batch, random):
    found = set()
    for number in range(batch.records):
        text = batch.text(number)
        for _ in range(random.integers(0, 4)):
            start, end = sorted(random.integers(0, len(text) + 1, 2).tolist())
            piece = text[start:end]
            if piece.strip():
                start += len(piece) - len(piece.lstrip())
                found.add((number, start, start + len(piece.strip())))
    entries = sorted(found)
    kinds = [None if random.random() < 0.1 else str(random.choice([*LABELS, "q"])) for _ in entries]
    return spans(batch, *entries, kind=kinds) if entries else spans(batch, kind=np.array([], dtype=object))


def _random_edges(batch, query, key, random, weighted=False):
    pairs = [(i, j) for i in range(len(query)) for j in range(len(key)) if query.record[i] == key.record[j]]
    pairs = [pair for pair in pairs if random.random() < 0.5]
    weight = [float(random.choice([0.25, 0.5, 3])) for _ in pairs] if weighted else None
    return query, key, edges(batch, *pairs, weight=weight)


def random_recipe(context=512, overflow=None, causal=True):
    attributes = ("index", "kind")
    return recipe(
        [(key, attributes) for key in "abc"],
        ["e", "f"],
        [("n", "class", 1, "a"), ("s", "class", 1, "c"), ("v", "vector", HIDDEN, "a"), ("w", "factor", 1, "b")],
        [LabelCheck("k", "a", None, "kind", LABELS)],
        linked="f",
        context=context,
        overflow=overflow,
        causal=causal,
        hidden=HIDDEN,
    )


def write(target, made, plan, splits, rule_counts=None):
    """A compiled directory of `splits`: name -> list of (batch, stored, pairs), one shard each."""
    with building(target) as work:
        entries = []
        for name, batches in splits.items():
            for number, (batch, stored, pairs) in enumerate(batches):
                aligned = align(batch, made, stored, pairs)
                schema = shard_schema(made)
                rows = shard_rows(batch, made, aligned, field_columns(batch, made, stored), schema)
                with ShardWriter(work / "shards" / name / f"{number:05}.arrow", schema) as writer:
                    writer.write(rows)
                    entries.append(writer.close(name, work))
        manifest = Manifest(
            version="0",
            shards_key="k",
            inputs=(),
            records={name: sum(e.records for e in entries if e.split == name) for name in splits},
            tokens={name: sum(e.tokens for e in entries if e.split == name) for name in splits},
            dropped={},
            sets={},
            labels={},
            rules=rule_counts or {},
            files=(),
            shards=tuple(entries),
        )
        anchors = {"axis": np.ones(HIDDEN, np.float32)} if plan.anchors else {}
        return finish(work, plan, anchors, manifest)


SPLIT = c.Overflow("split", 2)
