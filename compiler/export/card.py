"""The dataset card of an export: what the Hugging Face Hub reads in front, then how to read the rows, and what was counted.

The front matter is YAML whose values are written as JSON, which YAML includes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa

from ...dsl.render import visible
from ..inspect.meaning import LOST, type_text
from ..inspect.report import RuleReport
from ..manifest import EXPORTED
from .contents import Contents
from .staging import CROISSANT

SHOWN = 100
"""Rules and sets that the card lists one by one; `program.json` has all."""

_SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
    (100_000_000, "10M<n<100M"),
    (1_000_000_000, "100M<n<1B"),
    (10_000_000_000, "1B<n<10B"),
    (100_000_000_000, "10B<n<100B"),
    (1_000_000_000_000, "100B<n<1T"),
)
"""The categories of the Hub, by what the number of rows is below."""

_INTRODUCTION = """\
# {name}

Rows for training a transformer with supervision of what happens inside it, as `mcd` {version} compiled them from
`{spec}` and exported them. A row is a text, or a part of one, as token ids, with the spans and edges that rules
supervise. The ids are those of the tokenizer whose file has the digest `{tokenizer}`, the first 32
digits of its SHA-256.

This is an export. `mcd.load` and `mcd train` read the compiled directory that it was made from, and not these files.
Of that directory `{folder}/` keeps the plan, the manifest and the anchors; states of teachers and measures are not
in it.
"""

_READING = """\
## Reading rows

With `pyarrow`, in the folder of this file. Pages are held against their checksums.

```python
import json
from pathlib import Path

import pyarrow.parquet as pq

plan = json.loads(Path("{folder}/program.json").read_text(encoding="utf-8"))
for path in sorted(Path("data").glob("{split}-*.parquet")):
    file = pq.ParquetFile(path, page_checksum_verification=True)
    keys = json.loads(file.schema_arrow.metadata[b"mcd.sets"])
    for batch in file.iter_batches(batch_size=1):
        (row,) = batch.to_pylist()
        print(row["id"], row["part"], row["source"], row["input_ids"])
        for number, start, end in zip(row["span.set"], row["span.start"], row["span.end"], strict=True):
            key, _, derived = keys[number].partition("/")
            written = plan["sets"][key]["written"] if key in plan["sets"] else key
            print("  ", written, derived, row["input_ids"][start:end])
        break
```

With Hugging Face `datasets`:

```python
from datasets import load_dataset

rows = load_dataset(".", split="{split}")
print(rows[0]["input_ids"])
```
"""

_SETS = """\
## Sets

`span.set` and `edge.set` hold places in the list `mcd.sets` of the files' metadata, where a set has a key.
`KEY/cut` are parts of its spans that the context cuts, `KEY/again` spans that acted in a part of the record before,
`blank` tokens of white space alone, `repeat` tokens that are context alone, `record/cut` what is left of a record that
the context cuts. Ranges are half-open, in tokens.
"""

_RULES = """\
## Rules

What the rules of the plan found while compiling, over all splits. `{folder}/manifest.json` has the counts by split,
`{folder}/program.json` the rules with layers, heads, losses and schedule.
"""


def card(contents: Contents) -> str:
    """The text of README.md."""
    report = contents.report
    filled = [split for split in contents.splits if contents.rows(split)]
    given = {
        "name": visible(contents.name),
        "version": report.version,
        "spec": visible(report.spec),
        "tokenizer": report.tokenizer,
        "folder": EXPORTED,
    }
    parts = [
        "---\n" + "".join(f"{line}\n" for line in _front(contents)) + "---\n",
        _INTRODUCTION.format(**given),
        *([_READING.format(folder=EXPORTED, split=filled[0])] if filled else []),
        "## Columns\n\n" + _table(("column", "type", "holds"), _columns(contents)),
        "## Splits\n\n" + _table(("split", "rows", "files", "bytes"), _splits(contents)),
        _SETS + "\n" + _table(("number", "key", "set"), _sets(contents)) + _left(len(contents.plan.sets)),
        _RULES.format(folder=EXPORTED) + "\n" + _table(_RULE_HEAD, _rules(report.rules)) + _left(len(report.rules)),
        f"`{CROISSANT}` describes the files, with their SHA-256, and their columns for programs.\n",
    ]
    return "\n".join(parts)


def _front(contents: Contents) -> Iterator[str]:
    """What the Hub reads: files by split, columns, sizes."""
    if contents.license is not None:
        yield f"license: {json.dumps(contents.license)}"
    yield "tags:\n- mcd"
    yield f"size_categories:\n- {json.dumps(_size(contents.rows()))}"
    yield "configs:\n- config_name: default\n  data_files:"
    for split in contents.splits:
        yield f"  - split: {json.dumps(split)}\n    path: {json.dumps(f'data/{split}-*')}"
    yield "dataset_info:\n  features:"
    for column in contents.columns:
        yield f"  - name: {json.dumps(column.name, ensure_ascii=False)}\n    {_feature(column.type)}"
    yield "  splits:"
    for split in contents.splits:
        size = sum(file.bytes for file in contents.files if file.split == split)
        yield f"  - name: {json.dumps(split)}\n    num_bytes: {size}\n    num_examples: {contents.rows(split)}"
    yield f"  download_size: {sum(file.entry.bytes for file in contents.files)}"
    yield f"  dataset_size: {sum(file.bytes for file in contents.files)}"


def _feature(kind: pa.DataType) -> str:
    return f"list: {type_text(kind.value_type)}" if pa.types.is_list(kind) else f"dtype: {type_text(kind)}"


def _size(rows: int) -> str:
    return next((name for bound, name in _SIZES if rows < bound), "n>1T")


# --- tables ----------------------------------------------------------------------------------------------------------


def _columns(contents: Contents) -> Iterator[Sequence[str]]:
    meanings = {column.name: column.meaning for column in contents.report.columns}
    for column in contents.columns:
        yield _code(column.name), _code(type_text(column.type)), _plain(meanings.get(column.name) or "")


def _splits(contents: Contents) -> Iterator[Sequence[str]]:
    for split in contents.splits:
        mine = [file for file in contents.files if file.split == split]
        yield split, f"{contents.rows(split):,}", f"{len(mine):,}", f"{sum(file.entry.bytes for file in mine):,}"


def _sets(contents: Contents) -> Iterator[Sequence[str]]:
    places = {key: number for number, key in enumerate(contents.keys)}
    for key, info in list(contents.plan.sets.items())[:SHOWN]:
        if key in places:
            yield str(places[key]), key, _code(info.written)


_RULE_HEAD = ("rule", "kind", "supervises", "layers", "records", "matched", "rows", "lost")


def _rules(rules: Sequence[RuleReport]) -> Iterator[Sequence[str]]:
    for rule in rules[:SHOWN]:
        lost = (f"{rule.counts[cause]:,} {words}" for cause, words in LOST.items() if rule.counts.get(cause))
        counts = (f"{rule.counts[cause]:,}" if cause in rule.counts else "" for cause in ("matched", "rows"))
        yield (
            _code(rule.name),
            rule.kind,
            _code(rule.subject),
            rule.layers,
            f"{rule.records:,}",
            *counts,
            _plain("; ".join(lost)),
        )


def _left(count: int) -> str:
    return f"\nand {count - SHOWN:,} more.\n" if count > SHOWN else ""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _code(text: str) -> str:
    """Text as code in a cell of a table, whatever marks are in it."""
    shown = visible(text).replace("|", "\\|")
    return f"`` {shown} ``" if "`" in shown else f"`{shown}`"


def _plain(text: str) -> str:
    return visible(text).replace("|", "\\|").replace("<", "&lt;")
