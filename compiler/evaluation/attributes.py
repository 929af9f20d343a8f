"""Columns of span attributes: brought to few types, laid one after another, made one where spans are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from ...dsl.codes.sources import ATTRIBUTE_CONFLICT
from ...dsl.diagnostics import Failure
from ..batch import Ints


def plain(column: pa.Array) -> pa.Array:
    """The same values as one of int64, uint64, double, bool, string and null; whatever else it holds is left as it is."""
    kind = column.type
    if pt.is_dictionary(kind):
        return plain(column.dictionary_decode())
    if pt.is_uint64(kind):
        return column
    if pt.is_integer(kind):
        return column.cast(pa.int64())
    if pt.is_floating(kind) or pt.is_decimal(kind):
        return column.cast(pa.float64())
    if pt.is_large_string(kind) or pt.is_string_view(kind):
        return column.cast(pa.string())
    return column


def aligned(name: str, columns: Sequence[pa.Array | None], lengths: Sequence[int], source: str) -> pa.Array:
    """The columns one after another, nulls where one is missing. Whole and broken numbers meet as double.

    Raises Failure (MCD555) where the types do not go together.
    """
    kinds = {column.type: None for column in columns if column is not None and not pt.is_null(column.type)}
    common = next(iter(kinds), pa.null())
    if len(kinds) > 1:
        if not all(pt.is_integer(kind) or pt.is_floating(kind) for kind in kinds):
            words = " and ".join(f"`{kind}`" for kind in kinds)
            message = f"attribute `{name}` has types {words} in the sets that `|` joins, in source `{source}`"
            raise Failure(ATTRIBUTE_CONFLICT.at(None, message, help="give one of them another name with `rename:`"))
        common = pa.float64()
    return pa.concat_arrays(
        pa.nulls(length, common) if column is None else column.cast(common, safe=False)
        for column, length in zip(columns, lengths, strict=True)
    )


def first_present(column: pa.Array, order: Ints, heads: Ints) -> pa.Array:
    """One value per group of `order`: the first that is no null. `heads`: where the groups begin in `order`."""
    present = pc.is_valid(column).to_numpy(zero_copy_only=False)[order]
    place = np.where(present, np.arange(len(order)), len(order))
    first = np.minimum.reduceat(place, heads)
    lacking = first >= np.append(heads[1:], len(order))
    return column.take(pa.array(order[np.where(lacking, 0, first)], mask=lacking))
