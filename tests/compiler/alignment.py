"""Batches made by hand for the tests of alignment and shards: ASCII texts cut into tokens as the test says."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from mcd.compiler.batch import Edges, Spans, TextBatch, TokenTable
from mcd.compiler.recipe import Recipe, StoredEdges, StoredField, StoredSet
from mcd.dsl import checked as c
from mcd.dsl.source import Place, SourceText

PLACE = Place(SourceText("spec.mcd", "model m { context = 8 }\n"), 0, 7)


def model(context=512, overflow=None, causal=True, hidden=4) -> c.Model:
    return c.Model(
        name="m",
        architecture=None,
        layers=2,
        heads=2,
        hidden=hidden,
        vocab=1000,
        causal=causal,
        tokenizer=Path("tokenizer.json"),
        context=context,
        overflow=overflow or c.Overflow(),
        weights=None,
        lost="warn",
        place=PLACE,
    )


def texts(*records: list[str], prefix=0, suffix=0, fields=None, source="s") -> TextBatch:
    """A batch of records, each a list of the strings of its tokens; a text is its tokens, one after another."""
    ids, start, end, owner, added, bounds, counts = [], [], [], [], [], [0], [0]
    for number, tokens in enumerate(records):
        at = bounds[-1]
        rows = [(at, at, 900 + i, True) for i in range(prefix)]
        for token in tokens:
            stripped = token.strip()
            begin = at + (len(token) - len(token.lstrip()) if stripped else 0)
            rows.append((begin, begin + len(stripped), len(ids) + len(rows), False))
            at += len(token)
        rows += [(at, at, 950 + i, True) for i in range(suffix)]
        start += [row[0] for row in rows]
        end += [row[1] for row in rows]
        ids += [row[2] for row in rows]
        added += [row[3] for row in rows]
        owner += [number] * len(rows)
        bounds.append(at)
        counts.append(len(ids))
    return TextBatch(
        source=source,
        ids=pa.array([f"r{i}" for i in range(len(records))]),
        buffer=np.frombuffer("".join("".join(tokens) for tokens in records).encode(), np.uint8),
        bounds=ints(bounds),
        slots={},
        fields={path: pa.array(values) for path, values in (fields or {}).items()},
        tokens=TokenTable(ints(ids), ints(start), ints(end), ints(owner), ints(counts), np.array(added, dtype=bool)),
        rows=np.arange(len(records), dtype=np.int64),
    )


def ints(values) -> np.ndarray:
    return np.array(list(values), dtype=np.int64)


def spans(batch: TextBatch, *entries, **attributes) -> Spans:
    """Spans as (record, start, end) in characters of the record, sorted; ranked per record."""
    record = ints(entry[0] for entry in entries)
    base = batch.bounds[record] if len(record) else record
    index = ints(sum(other == r for other in record[:i]) for i, r in enumerate(record))
    start, end = base + ints(e[1] for e in entries), base + ints(e[2] for e in entries)
    columns = {name: pa.array(values) for name, values in attributes.items()}
    return Spans(record, start, end, index, np.full(len(record), -1), columns)


def token_spans(batch: TextBatch, tokens) -> Spans:
    """Spans that are the tokens at rows `tokens` of the table."""
    rows = ints(tokens)
    table = batch.tokens
    return Spans(table.record[rows], table.start[rows], table.end[rows], np.arange(len(rows)), rows)


def edges(batch: TextBatch, *pairs, weight=None) -> Edges:
    weight = None if weight is None else np.array(weight, np.float32)
    return Edges(ints(p[0] for p in pairs), ints(p[1] for p in pairs), np.zeros(batch.records, dtype=np.int64), weight)


def recipe(sets=(), joins=(), fields=(), labels=(), linked=(), **options) -> Recipe:
    """A recipe of sets (digest, or digest and attributes) and edge sets by digest, of which some come from links."""
    listed = c.Linked(("align",), "query")
    stored = [entry if isinstance(entry, tuple) else (entry, ()) for entry in sets]
    return Recipe(
        model=model(**options),
        tokenizer_digest="0" * 32,
        sources=(),
        sets=tuple(StoredSet(key, c.Regex(key), attributes) for key, attributes in stored),
        edges=tuple(
            StoredEdges(key, c.Join(c.Tokens(), c.Tokens(), listed if key in linked else None, "all", 64))
            for key in joins
        ),
        fields=tuple(StoredField(name, (name,), kind, width, c.Regex(along)) for name, kind, width, along in fields),
        labels=tuple(labels),
    )
