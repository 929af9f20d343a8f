"""The methods of strings, lists and objects, and the functions that templates may call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .traced import cut, joined, recased, replaced, rsplit, split, splitlines, stripped
from .values import Bound, Dated, Loop, Namespace, Refused, Run, elements, kind, written

MAX_RANGE = 100_000
"""Numbers of a `range`."""

Method = Callable[..., Any]


def call_method(run: Run, bound: Bound, arguments: list[Any], named: dict[str, Any]) -> Any:
    """What a method gives."""
    owner = bound.owner
    table = STRINGS if isinstance(owner, str) else DICTS if isinstance(owner, dict) else LISTS
    if isinstance(owner, Loop):
        table = LOOPS
    elif isinstance(owner, str):
        run.pay(len(owner))
    return table[bound.name](run, owner, *arguments, **named)


def _plain(name: str) -> Method:
    """A method of strings that makes no string."""
    method = getattr(str, name)
    return lambda run, text, *arguments: method(text, *(tuple(x) if isinstance(x, list) else x for x in arguments))


def _recase(change: Callable[[str], str]) -> Method:
    return lambda run, text: recased(text, change(text))


def _replace(run: Run, text: str, old: str, new: str, count: int = -1) -> str:
    times = text.count(old) if count < 0 else min(count, text.count(old))
    run.pay(max(len(text) + times * (len(new) - len(old)), 0))
    return replaced(text, old, new, count)


def _join(run: Run, text: str, parts: Any) -> str:
    found = elements(parts, run)
    wrong = next((part for part in found if not isinstance(part, str)), None)
    if wrong is not None:
        raise Refused(f"{kind(wrong)} stands among the strings to join")
    run.pay(sum(map(len, found)) + len(text) * len(found))
    return joined(found, text)


def _without(text: str, prefix: str, suffix: str) -> str:
    start = len(prefix) if prefix and text.startswith(prefix) else 0
    stop = len(text) - len(suffix) if suffix and text.endswith(suffix) else len(text)
    return cut(text, start, stop)


STRINGS: Mapping[str, Method] = {
    **{name: _plain(name) for name in ("count", "endswith", "find", "index", "rfind", "startswith")},
    **{name: _plain(name) for name in ("isalnum", "isalpha", "isdigit", "islower", "isspace", "istitle", "isupper")},
    "capitalize": _recase(str.capitalize),
    "join": _join,
    "lower": _recase(str.lower),
    "lstrip": lambda run, text, chars=None: stripped(text, chars, right=False),
    "removeprefix": lambda run, text, prefix: _without(text, prefix, ""),
    "removesuffix": lambda run, text, suffix: _without(text, "", suffix),
    "replace": _replace,
    "rsplit": lambda run, text, sep=None, maxsplit=-1: rsplit(text, sep, maxsplit),
    "rstrip": lambda run, text, chars=None: stripped(text, chars, left=False),
    "split": lambda run, text, sep=None, maxsplit=-1: split(text, sep, maxsplit),
    "splitlines": lambda run, text, keepends=False: splitlines(text, keepends),
    "strip": lambda run, text, chars=None: stripped(text, chars),
    "title": _recase(str.title),
    "upper": _recase(str.upper),
}
LISTS: Mapping[str, Method] = {
    "count": lambda run, values, value: values.count(value),
    "index": lambda run, values, value: values.index(value),
}
DICTS: Mapping[str, Method] = {
    "copy": lambda run, values: dict(values),
    "get": lambda run, values, key, default=None: values.get(key, default),
    "items": lambda run, values: list(values.items()),
    "keys": lambda run, values: list(values),
    "values": lambda run, values: list(values.values()),
}


def _cycle(run: Run, loop: Loop, *values: Any) -> Any:
    if not values:
        raise Refused("`loop.cycle` takes values")
    return values[loop.index0 % len(values)]


LOOPS: Mapping[str, Method] = {"cycle": _cycle}


def _raise(run: Run, message: Any = "") -> Any:
    raise Refused(written(message) or "it says no reason")


def _date(run: Run, *arguments: Any) -> Any:
    raise Dated("it asks for the date by `strftime_now`, and a compiled text is the same on every day")


def _range(run: Run, *arguments: int) -> range:
    found = range(*arguments)
    if len(found) > MAX_RANGE:
        raise Refused(f"a `range` has more than {MAX_RANGE:,} numbers")
    return found


def _dict(run: Run, *arguments: Any, **named: Any) -> dict[Any, Any]:
    return dict(*arguments, **named)


def _namespace(run: Run, *arguments: Any, **named: Any) -> Namespace:
    return Namespace(dict(*arguments, **named))


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "dict": _dict,
    "namespace": _namespace,
    "raise_exception": _raise,
    "range": _range,
    "strftime_now": _date,
}
UNDEFINED = frozenset(("strftime_now",))
"""Functions of which a template is told that they are not defined, so that it takes the way of those without."""
