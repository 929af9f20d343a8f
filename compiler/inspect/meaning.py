"""What columns hold and what causes count, in words."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from ..account import WORDS
from ..files.shard_reader import EDGE_WEIGHT
from ..manifest import Cause
from ..plan import FieldTerm, Plan
from .reads import reads

_COLUMNS = {
    "id": "the record's id",
    "part": "0, and on for the parts of a record that `overflow = split` makes",
    "source": "the name of the record's source",
    "input_ids": "token ids, added tokens included",
    "span.set": "per span, the place of its set's key in the metadata `mcd.sets`",
    "span.start": "per span, its first token",
    "span.end": "per span, the token behind its last one",
    "edge.set": "per edge, the place of its set's key in the metadata `mcd.sets`",
    "edge.query_start": "per edge, the first token of the query",
    "edge.query_end": "per edge, the token behind the query",
    "edge.key_start": "per edge, the first token of the key",
    "edge.key_end": "per edge, the token behind the key",
    EDGE_WEIGHT: "per edge, its weight",
    "span.at.index": "per span, its rank from 0 in its set; null where no rule counts",
}

LOST: Mapping[Cause, str] = {
    **WORDS,
    "narrow": "outside the window of some layers of the rule",
    "ragged": "with an edge inside a token",
    "beyond": "that look beyond the end of their text",
}
"""What is lost, or acts otherwise than the spec says, in words."""

CAUSES: tuple[Cause, ...] = ("matched", "rows", "unmatched", *LOST)


def type_text(kind: pa.DataType) -> str:
    """An Arrow type in words that most tools share: `list<int32>`."""
    if pa.types.is_list(kind):
        return f"list<{type_text(kind.value_type)}>"
    return {"halffloat": "float16", "float": "float32"}.get(str(kind), str(kind))


def column_meaning(name: str, plan: Plan) -> str | None:
    """What a column holds; None for one that the format does not have."""
    if name in _COLUMNS:
        return _COLUMNS[name]
    if not name.startswith(("field.", "span.at.")):
        return None
    readers = [f"`{rule.id}` ({rule.kind})" for rule in plan.rules if reads(rule).column == name]
    if any(isinstance(term, FieldTerm) and f"field.{term.field}" == name for term in plan.order or ()):
        readers.append("the order of the records")
    shown = ", ".join(readers[:3]) + (f" and {len(readers) - 3} more" if len(readers) > 3 else "")
    what = "per span, an attribute" if name.startswith("span.at.") else "a field of the record"
    return f"{what}, read by {shown}" if readers else f"{what}, which no rule of this plan reads"
