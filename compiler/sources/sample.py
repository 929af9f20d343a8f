"""The first records of a source, for a person who asks what is in it while writing a spec. Nothing is checked: what cannot be
read gives no record."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ...dsl import checked as c

RECORDS = 20
BYTES = 2**18
"""How much of a text file is looked at."""

WORD = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
"""What a word of a CoNLL-U sentence has, besides its features."""


def sample(source: c.Source) -> list[Mapping[str, Any]]:
    """The first records of a source as mappings of fields; fewer, or none, where its first file is not as it should be."""
    if source.format == "inline":
        return [json.loads(record) for record in source.records[:RECORDS]]
    for file in source.files[:1]:
        if not file.is_file():  # a pipe would have whoever opens it wait
            return []
        with suppress(OSError, ValueError, pa.ArrowException):
            return list(islice(_READERS[source.format](file), RECORDS))
    return []


def _lines(file: Path) -> list[str]:
    with file.open("rb") as stream:
        text = stream.read(BYTES).decode("utf-8-sig", errors="replace")
    return text.splitlines()


def _jsonl(file: Path) -> Iterator[Mapping[str, Any]]:
    for line in _lines(file):
        with suppress(ValueError, RecursionError):
            record = json.loads(line)
            if isinstance(record, Mapping):
                yield record


def _csv(file: Path) -> Iterator[Mapping[str, Any]]:
    yield from csv.DictReader(_lines(file))


def _conllu(file: Path) -> Iterator[Mapping[str, Any]]:
    """One record: the fields that sentences have, and a word with all the keys that words have."""
    record: dict[str, Any] = {"text": ""}
    word = dict.fromkeys(WORD, "")
    for line in _lines(file):
        name, equals, value = line.removeprefix("#").partition("=")
        if line.startswith("#") and equals:
            record.setdefault(name.strip(), value.strip())
        elif len(cells := line.split("\t")) > 5:
            pairs = (feature.partition("=") for feature in cells[5].split("|"))
            word.update({feature: value for feature, equals, value in pairs if equals})
    yield {**record, "words": [word]}


def _parquet(file: Path) -> Iterator[Mapping[str, Any]]:
    with closing(pq.ParquetFile(file)) as table:
        for batch in table.iter_batches(RECORDS):
            yield from batch.to_pylist()


def _arrow(file: Path) -> Iterator[Mapping[str, Any]]:
    with pa.OSFile(str(file)) as stream, pa.ipc.open_file(stream) as reader:
        for at in range(reader.num_record_batches):
            yield from reader.get_batch(at).slice(0, RECORDS).to_pylist()


_READERS = {"jsonl": _jsonl, "csv": _csv, "conllu": _conllu, "parquet": _parquet, "arrow": _arrow}
