"""What templates compute with: JSON data, traced strings, and the few objects of Jinja. And what stops a template.

Every operation is one of ours. No attribute of a Python object is ever looked up by a name that a template or a record gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ...dsl.chat.words import DICT_METHODS, LIST_METHODS, LOOP_METHODS, STRING_METHODS
from .traced import cut

MAX_STEPS = 10_000_000
"""What one record may cost: a step for each part of the template that is looked at and each element that is gone through, and
one for 64 characters."""
MAX_TEXT = 1 << 24
"""Characters of any string that a template makes, the rendered text included."""
MAX_CALLS = 40
"""Macros that may be at work in each other at once."""
LARGEST = 1 << 63


class Stopped(Exception):
    """The template ends before its end."""

    def __init__(self, fact: str) -> None:
        super().__init__(fact)
        self.fact = fact


class Refused(Stopped):
    """The template refuses the record, or fails on it."""


class Exhausted(Stopped):
    """The template goes beyond a limit."""


class Dated(Stopped):
    """The template asks for the date."""


@dataclass(slots=True)
class Run:
    """One record's way through a template: what it may still spend, how deep in macros it is, at which line, and how many
    characters it has written."""

    steps: int = MAX_STEPS
    calls: int = 0
    line: int = 1
    size: int = 0

    def spend(self, steps: int) -> None:
        self.steps -= steps
        if self.steps < 0:
            raise Exhausted(f"it takes more than {MAX_STEPS:,} steps")

    def wrote(self, size: int) -> None:
        """Count and pay for `size` characters that are written."""
        self.size += size
        self.pay(self.size if self.size > MAX_TEXT else size)

    def pay(self, size: int) -> None:
        """Pay for `size` characters or elements, before they are made where they may be many."""
        if size > MAX_TEXT:
            raise Exhausted(f"it makes more than {MAX_TEXT:,} characters")
        self.spend(size >> 6)


class Undefined:
    """What a name, a key or a place stands for where there is nothing: an empty text, false, without elements."""

    __slots__ = ("name",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, name: str) -> None:
        self.name = name

    def __eq__(self, other: object) -> bool:
        return type(other) is Undefined

    def __bool__(self) -> bool:
        return False

    def __len__(self) -> int:
        return 0

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __str__(self) -> str:
        return ""


@dataclass(eq=False, slots=True)
class Namespace:
    """`namespace(...)`: values that a `set` inside a loop may change."""

    values: dict[str, Any]


@dataclass(eq=False, slots=True)
class Loop:
    """`loop`, of a `for` over `items` that is at `index0`."""

    items: list[Any]
    index0: int = 0

    def get(self, name: str) -> Any:
        """An attribute."""
        count, at = len(self.items), self.index0
        match name:
            case "index0":
                return at
            case "index":
                return at + 1
            case "first":
                return at == 0
            case "last":
                return at == count - 1
            case "length":
                return count
            case "revindex":
                return count - at
            case "revindex0":
                return count - at - 1
            case "previtem":
                return self.items[at - 1] if at else Undefined("loop.previtem")
            case "nextitem":
                return self.items[at + 1] if at + 1 < count else Undefined("loop.nextitem")
        return Bound(self, name) if name in LOOP_METHODS else Undefined(f"loop.{name}")


@dataclass(eq=False, slots=True)
class Bound:
    """A method of a value, not called yet."""

    owner: Any
    name: str


@dataclass(eq=False, slots=True)
class Macro:
    """A macro, called with the run, arguments and named arguments."""

    name: str
    call: Callable[[Run, list[Any], dict[str, Any]], Any]


@dataclass(slots=True)
class Frame:
    """A scope: its names, the scope around it, what is written in it so far, and the run."""

    values: dict[str, Any]
    above: Frame | None
    out: list[str]
    run: Run

    def find(self, name: str) -> Any:
        """What a name stands for."""
        frame: Frame | None = self
        while frame is not None:
            if name in frame.values:
                return frame.values[name]
            frame = frame.above
        return Undefined(name)

    def inner(self, out: list[str] | None = None) -> Frame:
        """A scope in this one."""
        return Frame({}, self, self.out if out is None else out, self.run)


def attribute(value: Any, name: str) -> Any:
    """`value.name`: a method of the value, or else its key."""
    if type(value) is dict:
        if name in DICT_METHODS:
            return Bound(value, name)
        return value[name] if name in value else Undefined(name)
    if isinstance(value, str):
        return Bound(value, name) if name in STRING_METHODS else Undefined(name)
    if isinstance(value, Loop):
        return value.get(name)
    if isinstance(value, Namespace):
        return value.values.get(name, Undefined(name))
    if isinstance(value, list | tuple) and name in LIST_METHODS:
        return Bound(value, name)
    if isinstance(value, Undefined):
        raise Refused(f"`{value.name}` is undefined, and `.{name}` of it is asked for")
    return Undefined(name)


def item(value: Any, key: Any) -> Any:
    """`value[key]`: its key or its element, or else a method."""
    if isinstance(value, Undefined):
        raise Refused(f"`{value.name}` is undefined, and an element of it is asked for")
    if type(value) is dict:
        try:
            return value[key]
        except (KeyError, TypeError):
            pass
    elif isinstance(value, str | list | tuple) and isinstance(key, int):
        size = len(value)
        if not -size <= key < size:
            return Undefined(str(key))
        if isinstance(value, str):
            key %= size
            return cut(value, key, key + 1)
        return value[key]
    return attribute(value, str(key)) if isinstance(key, str) else Undefined(written(key))


def elements(value: Any, run: Run) -> list[Any]:
    """What a loop over a value goes through, or `|list` gives."""
    if isinstance(value, str):
        run.spend(len(value))
        return [cut(value, at, at + 1) for at in range(len(value))]
    if isinstance(value, list | tuple | dict | range):
        run.spend(len(value))
        return list(value)
    if isinstance(value, Undefined):
        return []
    raise Refused(f"{kind(value)} is no list")


def written(value: Any) -> str:
    """A value as it stands in the text."""
    if isinstance(value, str):
        return value
    if isinstance(value, Namespace | Loop | Bound | Macro):
        raise Refused(f"{kind(value)} stands for no text")
    try:
        return str(value)
    except (ValueError, RecursionError) as error:  # a number of thousands of digits
        raise Refused(str(error)) from None


def number(value: Any) -> Any:
    """A number that was just computed, of a sensible size."""
    if isinstance(value, int) and not -LARGEST <= value <= LARGEST:
        raise Refused("a number is too large")
    return value


def kind(value: Any) -> str:
    """A value in the words of a message."""
    names = {bool: "a boolean", int: "a number", float: "a number", dict: "an object", list: "a list", tuple: "a list"}
    if value is None:
        return "none"
    if isinstance(value, str):
        return "a string"
    if isinstance(value, Undefined):
        return f"`{value.name}`, which is undefined,"
    return names.get(type(value), f"a {type(value).__name__.lower()}")
