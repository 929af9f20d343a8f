"""The footer of a Parquet file: what it says of row groups and where they lie.

It is read here since pyarrow aborts the process where a footer that it took lacks what a column chunk must have. A footer is a
struct in Thrift's compact protocol: fields with a type and a number, integers of variable length.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import pyarrow as pa

from ..plan import Digest
from .base import DEPTH, Beyond, check_columns
from .digests import shortened

MAGIC = b"PAR1"
_DEEPEST = 16

_TRUE, _FALSE = 1, 2
_LIST, _MAP, _STRUCT = 9, 11, 12
"""Types of values, the others of which stand in `value`."""

_SCHEMA, _GROUPS, _CREATED_BY = 2, 4, 6
_CHUNKS, _BYTES, _ROWS = 1, 2, 3
_FILE, _CHUNK = 1, 3
_CHILDREN = 5
_PATH = 3
_SIZE, _PAGES, _INDEX, _DICTIONARY = 7, 9, 10, 11
_PLACES = (_PAGES, _INDEX, _DICTIONARY)
_SAYS_NOTHING = {12, 14, 15, 16, 17}
"""Of a chunk: statistics of three kinds, and where a Bloom filter lies."""

_OLD = b"parquet-mr version 1."
_SLACK = 100
"""Old files of parquet-mr count fewer bytes than a chunk has, for which readers make up by that many."""

_PAGE_HEADER, _DICTIONARY_PAGE = 1 << 16, 2
MOST_OF_A_PAGE = 256 << 20
_BROKEN = (ValueError, IndexError, KeyError, TypeError, AttributeError)


@dataclass(frozen=True, slots=True)
class Group:
    """A row group: its rows, its bytes when decoded, the bytes `[start, stop)` of the file that it takes, and a digest of what
    the footer says of its chunks, their places relative to `start`. `chunks`: the column of each, and
    its bytes."""

    rows: int
    bytes: int
    start: int
    stop: int
    said: Digest
    chunks: tuple[tuple[str, int, int], ...]


@dataclass(frozen=True, slots=True)
class Footer:
    """What a footer says, the schema as it is written."""

    groups: tuple[Group, ...]
    schema: bytes


def footer(data: pa.NativeFile) -> Footer:
    """The footer of a file. Raises pa.ArrowInvalid where there is none, or where it speaks of bytes that the file lacks."""
    size, tail = data.size(), len(MAGIC) + 4
    data.seek(max(size - tail, 0))
    end = data.read(tail)
    if not end.endswith(MAGIC):
        raise pa.ArrowInvalid("no Parquet file, or one with an encrypted footer")
    length = int.from_bytes(end[:4], "little")
    if length > size - tail:
        raise pa.ArrowInvalid("the footer is longer than the file")
    data.seek(size - tail - length)
    try:
        return _parsed(data.read(length), size)
    except _BROKEN as error:
        raise pa.ArrowInvalid("the footer is broken") from error


@lru_cache(maxsize=2)
def _parsed(text: bytes, size: int) -> Footer:
    """Kept from one task of a file to the next: a wide file's footer takes longer to read than its rows."""
    reader = _Reader(text)
    schema, groups, created = (0, 0), list[Group](), None
    for field, kind in reader.fields():
        begin = reader.at
        if field == _GROUPS and kind == _LIST:
            groups = [_group(group, size) for group in reader.elements()]
            continue
        if field == _SCHEMA and kind == _LIST:
            _check_schema(reader.elements())
            schema = begin, reader.at
            continue
        value = reader.value(kind)
        if field == _CREATED_BY:
            created = value
    if isinstance(created, bytes) and created.startswith(_OLD):
        groups = [replace(group, stop=min(group.stop + _SLACK, size)) for group in groups]
    return Footer(tuple(groups), text[slice(*schema)])


def _check_schema(elements: Iterator[Mapping[int, Any]]) -> None:
    """Raises Beyond where pyarrow, which follows the tree by calls in calls, would come to the end of its stack."""
    columns, left = 0, list[int]()
    for element in elements:
        children = element.get(_CHILDREN, 0)
        columns += not children
        check_columns(columns)
        while left and left[-1] <= 0:
            left.pop()
        if left:
            left[-1] -= 1
        if children:
            left.append(children)
        if len(left) > 2 * DEPTH:
            raise Beyond(f"types nested deeper than {DEPTH}")


def _group(group: Mapping[int, Any], size: int) -> Group:
    chunks = [(chunk.get(_FILE, b""), chunk[_CHUNK]) for chunk in group[_CHUNKS]]
    bounds = [_bounds(chunk) for _, chunk in chunks] or [(0, 0)]
    start, stop = min(first for first, _ in bounds), max(last for _, last in bounds)
    if any(not 0 <= first <= last <= size for first, last in bounds):
        raise pa.ArrowInvalid("a column chunk lies outside the file")
    rows, bytes = group[_ROWS], group[_BYTES]
    if rows < 0 or bytes < 0:
        raise pa.ArrowInvalid("a row group has less than no rows")
    said = repr((rows, [(file, _said(chunk, start)) for file, chunk in chunks]))
    names = [chunk[_PATH][0].decode() for _, chunk in chunks]
    placed = tuple((name, first, last) for name, (first, last) in zip(names, bounds, strict=False))
    return Group(rows, bytes, start, stop, shortened(hashlib.sha256(said.encode())), placed)


def largest_dictionary(data: pa.NativeFile, chunks: Iterable[tuple[int, int]]) -> int:
    """The bytes of the largest dictionary in some chunks, when decoded. Raises Beyond where a page is too long to be decoded."""
    largest = 1
    for start, stop in chunks:
        while start < stop:
            data.seek(start)
            reader = _Reader(data.read(_PAGE_HEADER))
            try:
                header = reader.value(_STRUCT)
                kind, decoded, length = (int(header[field]) for field in (1, 2, 3))
                start += reader.at + max(0, length)
            except _BROKEN:  # pyarrow will say so, unless the column is encrypted
                break
            if decoded > MOST_OF_A_PAGE:
                raise Beyond(f"a page of {decoded} bytes, where {MOST_OF_A_PAGE >> 20} MiB are the limit")
            largest = max(largest, decoded) if kind == _DICTIONARY_PAGE else largest
    return largest


def _bounds(chunk: Mapping[int, Any]) -> tuple[int, int]:
    """Where a chunk begins, as readers find it, and where it ends."""
    pages, dictionary = chunk[_PAGES], chunk.get(_DICTIONARY, 0)
    start = dictionary if 0 < dictionary < pages else pages
    return start, start + chunk[_SIZE]


def _said(chunk: Mapping[int, Any], start: int) -> Sequence[tuple[int, Any]]:
    return [
        (field, value - start if field in _PLACES else value)
        for field, value in sorted(chunk.items())
        if field not in _SAYS_NOTHING
    ]


class _Reader:
    """Reads values of Thrift's compact protocol, structs as mappings of field numbers. `at`: where it is. Raises IndexError
    and ValueError where the text is none."""

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._depth = 0
        self.at = 0

    def fields(self) -> Iterator[tuple[int, int]]:
        """The fields of a struct, number and type, each to be followed by a call of `value`."""
        number = 0
        while head := self._byte():
            delta, kind = head >> 4, head & 15
            number = number + delta if delta else self._integer()
            yield number, kind

    def value(self, kind: int) -> Any:
        match kind:
            case 1 | 2:  # a field whose type is its value
                return kind == _TRUE
            case 3:
                return self._byte()
            case 4 | 5 | 6:
                return self._integer()
            case 7:  # a float64
                return self._bytes(8)
            case 8:
                return self._bytes(self._size())
            case 9 | 10 | 11 | 12:
                return self._nested(kind)
        raise ValueError("an unknown type")

    def _nested(self, kind: int) -> Any:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ValueError("structs in structs")
        found = self._struct() if kind == _STRUCT else self._map() if kind == _MAP else self._list()
        self._depth -= 1
        return found

    def _struct(self) -> dict[int, Any]:
        return {number: self.value(kind) for number, kind in self.fields()}

    def _map(self) -> list[Any]:
        count = self._size()
        kinds = self._byte() if count else 0
        return [(self._element(kinds >> 4), self._element(kinds & 15)) for _ in range(count)]

    def _list(self) -> list[Any]:
        return list(self.elements())

    def elements(self) -> Iterator[Any]:
        """The elements of a list or a set, one after another."""
        head = self._byte()
        count = self._size() if head >> 4 == 15 else head >> 4
        for _ in range(count):
            yield self._element(head & 15)

    def _element(self, kind: int) -> Any:
        return self._byte() if kind in (_TRUE, _FALSE) else self.value(kind)

    def _byte(self) -> int:
        self.at += 1
        return self._text[self.at - 1]

    def _bytes(self, count: int) -> bytes:
        found = self._text[self.at : self.at + count]
        self.at += count
        if len(found) < count:
            raise IndexError("the text ends before")
        return found

    def _size(self) -> int:
        """A number without a sign."""
        value = shift = 0
        while shift < 70:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
        raise ValueError("a number beyond 64 bits")

    def _integer(self) -> int:
        value = self._size()
        return (value >> 1) ^ -(value & 1)
