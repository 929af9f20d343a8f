"""What a condition computes with: columns of numbers, texts, flags and places, one entry per span or per pair of spans.

Every entry may be null, and null compares false. Columns of one entry stand for constants. Comparison looks at the types
first: a text against a number is an error of the spec that only data could show (MCD556).
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from ...dsl.codes.sources import CONDITION_TYPES
from ...dsl.diagnostics import Failure
from ..batch import Bools, Ints
from .attributes import plain

Column = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Numbers:
    """`data[n]`: int64, uint64 or float64; `valid[n]`."""

    data: Column
    valid: Bools
    word = "a number"

    def take(self, rows: Ints) -> Numbers:
        return Numbers(self.data[rows], self.valid[rows])


@dataclass(frozen=True, eq=False)
class Texts:
    """`data`: Arrow strings. `vocabulary[n]`, for the texts of spans: the id of a twin (`Tokens.twins`), else -1.

    A twin's text does not tell it from others: it is empty for white space, and one whole character for each of its parts.
    Between spans, a twin therefore has the text of the twins that are the same entry of the vocabulary, and of nothing else.
    """

    data: pa.Array
    vocabulary: Ints | None = None
    word = "a string"

    def take(self, rows: Ints) -> Texts:
        return Texts(self.data.take(pa.array(rows)), None if self.vocabulary is None else self.vocabulary[rows])

    @property
    def valid(self) -> Bools:
        valid: Bools = pc.is_valid(self.data).to_numpy(zero_copy_only=False)
        return valid


@dataclass(frozen=True, eq=False)
class Flags:
    """`data[n]`, `valid[n]`: truth values."""

    data: Bools
    valid: Bools
    word = "true or false"

    def take(self, rows: Ints) -> Flags:
        return Flags(self.data[rows], self.valid[rows])


@dataclass(frozen=True, eq=False)
class Places:
    """Spans: `start[n]`, `end[n]` in bytes; `own[n]` tells twins of one extent apart (`Tokens.identity`); `valid[n]`."""

    start: Ints
    end: Ints
    own: Ints
    valid: Bools
    word = "a span"

    def take(self, rows: Ints) -> Places:
        return Places(self.start[rows], self.end[rows], self.own[rows], self.valid[rows])


@dataclass(frozen=True, eq=False)
class Nulls:
    """A column without values, of no type: no span of the set has the attribute."""

    valid: Bools
    word = "null"

    def take(self, rows: Ints) -> Nulls:
        return Nulls(self.valid[rows])


@dataclass(frozen=True, eq=False)
class Others:
    """A column of a type that conditions cannot use: a list, an object, a time."""

    valid: Bools
    word: str

    def take(self, rows: Ints) -> Others:
        return Others(self.valid[rows], self.word)


Value: TypeAlias = Numbers | Texts | Flags | Places | Nulls | Others
V = TypeVar("V", bound=Value)


def column_value(column: pa.Array) -> Value:
    """The values of a data attribute."""
    column = plain(column)
    kind = column.type
    if pt.is_string(kind):
        return Texts(column)
    valid: Bools = pc.is_valid(column).to_numpy(zero_copy_only=False)
    if pt.is_integer(kind):
        return Numbers(column.fill_null(0).to_numpy(zero_copy_only=False), valid)
    if pt.is_floating(kind):
        data = column.fill_null(0.0).to_numpy(zero_copy_only=False)
        return Numbers(data, valid & ~np.isnan(data))
    if pt.is_boolean(kind):
        return Flags(column.fill_null(False).to_numpy(zero_copy_only=False), valid)
    return Nulls(valid) if pt.is_null(kind) else Others(valid, f"a value of type `{kind}`")


def constant(value: str | int | float) -> Value:
    """A column of one entry."""
    if isinstance(value, str):
        return Texts(pa.array([value], pa.string()))
    if isinstance(value, bool):
        return Flags(np.array([value]), np.ones(1, np.bool_))
    return Numbers(np.array([value]), np.ones(1, np.bool_))


def compare(op: str, left: Value, right: Value) -> Bools:
    """`left op right`, entry by entry; null compares false. Raises Failure (MCD556)."""
    if isinstance(left, Nulls) or isinstance(right, Nulls):
        return np.zeros(np.broadcast_shapes(left.valid.shape, right.valid.shape), np.bool_)
    if isinstance(left, Numbers) and isinstance(right, Numbers):
        found: Bools = _OPERATORS[op](left.data, right.data) & left.valid & right.valid
        return found
    if isinstance(left, Texts) and isinstance(right, Texts):
        return _compare_texts(op, left, right)
    same: Bools | None = None
    if isinstance(left, Flags) and isinstance(right, Flags):
        same = left.data == right.data
    elif isinstance(left, Places) and isinstance(right, Places):
        same = (left.start == right.start) & (left.end == right.end) & (left.own == right.own)
    if same is not None and op in ("==", "!="):
        return (same if op == "==" else ~same) & left.valid & right.valid
    return mismatch(f"`{op}` compares {left.word} with {right.word}")


def _compare_texts(op: str, left: Texts, right: Texts) -> Bools:
    one, other = (_scalar(side.data) if len(side.data) == 1 else side.data for side in (left, right))
    result = _ARROW[op](one, other)
    if isinstance(result, pa.Scalar):
        result = pa.array([result.as_py()], pa.bool_())
    found: Bools = result.fill_null(False).to_numpy(zero_copy_only=False)
    if op not in ("==", "!=") or left.vocabulary is None or right.vocabulary is None:
        return found
    twins = (left.vocabulary >= 0) | (right.vocabulary >= 0)
    same = (left.vocabulary == right.vocabulary) == (op == "==")
    return np.where(twins, same & left.valid & right.valid, found)


def _scalar(data: pa.Array) -> pa.Scalar:
    return data[0]


def member(item: Value, values: tuple[str | int | float, ...]) -> Bools:
    """Whether each entry is among `values`; null is not. Raises Failure (MCD556)."""
    if isinstance(item, Nulls):
        return np.zeros(len(item.valid), np.bool_)
    strings = [value for value in values if isinstance(value, str)]
    numbers = [value for value in values if not isinstance(value, str)]
    if isinstance(item, Texts) and not numbers:
        found: Bools = pc.is_in(item.data, value_set=pa.array(strings, pa.string())).to_numpy(zero_copy_only=False)
        return found & item.valid
    if isinstance(item, Numbers) and not strings:
        return np.isin(item.data, numbers) & item.valid
    return mismatch(f"`in` looks for {item.word} in a list that holds {'a number' if numbers else 'a string'}")


def length(operand: Value) -> Value:
    """The length of each text in code points. Raises Failure (MCD556)."""
    if isinstance(operand, Nulls):
        return operand
    if not isinstance(operand, Texts):
        return mismatch(f"`length` takes a string and was given {operand.word}")
    counts = pc.utf8_length(operand.data).fill_null(0).to_numpy(zero_copy_only=False)
    return Numbers(counts.astype(np.int64), operand.valid)


def arithmetic(op: str, left: Value, right: Value) -> Value:
    """`left op right`; `/` gives float64, and null where it divides by zero. Raises Failure (MCD556)."""
    for side in (left, right):
        if not isinstance(side, Numbers | Nulls):
            return mismatch(f"`{op}` computes with numbers and was given {side.word}")
    if isinstance(left, Nulls) or isinstance(right, Nulls):
        return Nulls(left.valid & right.valid)
    assert isinstance(left, Numbers) and isinstance(right, Numbers)
    valid = left.valid & right.valid
    if op == "/":
        valid = valid & (right.data != 0)
        return Numbers(left.data / np.where(right.data == 0, 1, right.data), valid)
    return Numbers(_OPERATORS[op](left.data, right.data), valid)


def before(left: Value, right: Value) -> Bools:
    """`left.end <= right.start`, of two spans."""
    if not (isinstance(left, Places) and isinstance(right, Places)):
        return mismatch(f"`before` orders spans and was given {left.word} and {right.word}")
    return (left.end <= right.start) & left.valid & right.valid


def truth(value: Value) -> Bools:
    """A value as a condition; null is false. Raises Failure (MCD556)."""
    if isinstance(value, Flags):
        return value.data & value.valid
    if isinstance(value, Nulls):
        return np.zeros(len(value.valid), np.bool_)
    return mismatch(f"a condition is true or false and was given {value.word}")


def mismatch(message: str) -> NoReturn:
    """Raises Failure (MCD556). Whoever knows the condition's place and its source adds them."""
    raise Failure(CONDITION_TYPES.at(None, message))


def codes(left: Value, right: Value) -> tuple[Ints, Ints] | None:
    """Numbers from 0, equal where the entries of `left` and `right` are; entries that are null have any. None where no two
    can be equal. Raises Failure (MCD556)."""
    if isinstance(left, Nulls) or isinstance(right, Nulls):
        return None
    if isinstance(left, Numbers) and isinstance(right, Numbers):
        return dense(left.data, right.data)
    if isinstance(left, Flags) and isinstance(right, Flags):
        return left.data.astype(np.int64), right.data.astype(np.int64)
    if isinstance(left, Texts) and isinstance(right, Texts):
        return _text_codes(left, right)
    if isinstance(left, Places) and isinstance(right, Places):
        pairs = [dense(getattr(left, name), getattr(right, name)) for name in ("start", "end", "own")]
        return combine(pairs)
    return mismatch(f"`==` compares {left.word} with {right.word}")


def _text_codes(left: Texts, right: Texts) -> tuple[Ints, Ints]:
    indices = pa.concat_arrays([left.data, right.data]).dictionary_encode().indices
    flat = indices.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    if left.vocabulary is not None and right.vocabulary is not None:
        twins = np.concatenate([left.vocabulary, right.vocabulary])
        flat = np.where(twins >= 0, len(flat) + twins, flat)
    return flat[: len(left.data)], flat[len(left.data) :]


def dense(left: Column, right: Column) -> tuple[Ints, Ints]:
    """Numbers from 0 in the order of the entries, equal where the entries of `left` and `right` are."""
    both = np.concatenate([left, right])
    if len(both) and both.dtype == np.int64:
        low, high = int(both.min()), int(both.max())
        if high - low < 1 << 40:
            return left - low, right - low
    flat = np.unique(both, return_inverse=True)[1].astype(np.int64)
    return flat[: len(left)], flat[len(left) :]


def combine(pairs: list[tuple[Ints, Ints]]) -> tuple[Ints, Ints]:
    """One code for several: equal where all of `pairs` are equal, in their lexicographic order."""
    left, right = pairs[0]
    for one, other in pairs[1:]:
        width = 1 + max((int(side.max()) for side in (one, other) if len(side)), default=0)
        top = 1 + max((int(side.max()) for side in (left, right) if len(side)), default=0)
        if top > (1 << 62) // width:
            left, right = rankings(left, right)
            one, other = rankings(one, other)
            width = len(left) + len(right) + 1
        left, right = left * width + one, right * width + other
    return left, right


def rankings(left: Ints, right: Ints) -> tuple[Ints, Ints]:
    """The entries of both as ranks among all of them."""
    flat = np.unique(np.concatenate([left, right]), return_inverse=True)[1]
    return flat[: len(left)], flat[len(left) :]


_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
}
_ARROW: dict[str, Callable[[Any, Any], Any]] = {
    "==": pc.equal,
    "!=": pc.not_equal,
    "<": pc.less,
    ">": pc.greater,
    "<=": pc.less_equal,
    ">=": pc.greater_equal,
}
