"""The filters of templates, as Jinja has them; `tojson` as transformers has it. Each takes the run, the value, its arguments."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from .predicates import TESTS
from .traced import changed, cut, joined, recased, replaced, splitlines, stripped
from .values import MAX_TEXT, Refused, Run, Undefined, elements, item, number, written

Filter = Callable[..., Any]
SORTED = 4
"""Steps for an element that is put in order."""

# --- texts


def _trim(run: Run, value: Any, chars: str | None = None) -> str:
    return stripped(written(value), chars)


def _string(run: Run, value: Any) -> str:
    text = written(value)
    run.pay(len(text))
    return text


def _recase(change: Callable[[str], str]) -> Filter:
    def apply(run: Run, value: Any) -> str:
        text = written(value)
        run.pay(len(text))
        return recased(text, change(text))

    return apply


def _titled(text: str) -> str:
    """Words begin in upper case and go on in lower case, where a word begins after white space, `-` or an opening bracket."""
    small, after = text.lower(), True
    pieces: list[str] = []
    for char, lower in zip(text, small, strict=False):
        pieces.append(char.upper() if after else lower)
        after = char.isspace() or char in "-({[<"
    return "".join(pieces) if len(small) == len(text) else text.title()


def _replace(run: Run, value: Any, old: Any, new: Any, count: int | None = None) -> str:
    text, old, new = written(value), written(old), written(new)
    times = text.count(old) if count is None else min(count, text.count(old))
    run.pay(max(len(text) + times * (len(new) - len(old)), 0))
    return replaced(text, old, new, -1 if count is None else count)


def _indent(run: Run, value: Any, width: Any = 4, first: bool = False, blank: bool = False) -> str:
    space = width if isinstance(width, str) else " " * min(width, MAX_TEXT)
    lines = splitlines(joined([written(value), "\n"]))
    run.pay(len(value) + len(space) * len(lines))
    indented = [
        line if number == 0 or not (line or blank) else joined([space, line]) for number, line in enumerate(lines)
    ]
    found = joined(indented, "\n")
    return joined([space, found]) if first else found


def _tojson(
    run: Run,
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: Any = None,
    sort_keys: bool = False,
) -> str:
    if isinstance(indent, int) and not 0 <= indent <= 100:
        raise Refused(f"`tojson` cannot indent by {indent}")
    try:
        text = json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
    except (TypeError, ValueError) as error:
        raise Refused(f"`tojson`: {error}") from None
    run.pay(len(text))
    return changed(value, text, 1, len(text) - 1) if isinstance(value, str) else text


# --- numbers


def _int(run: Run, value: Any, default: Any = 0, base: int = 10) -> Any:
    try:
        return number(int(value, base) if isinstance(value, str) else int(value))
    except (TypeError, ValueError, OverflowError):
        try:
            return number(int(float(value)))
        except (TypeError, ValueError, OverflowError):
            return default


def _float(run: Run, value: Any, default: Any = 0.0) -> Any:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return default


def _round(run: Run, value: Any, precision: int = 0, method: str = "common") -> Any:
    if method == "common":
        return round(value, precision)
    if method not in ("ceil", "floor"):
        raise Refused(f"`round` has no method `{method}`")
    scale = 10.0**precision
    return (math.ceil if method == "ceil" else math.floor)(value * scale) / scale


def _sum(run: Run, value: Any, attribute: Any = None, start: Any = 0) -> Any:
    return number(sum(_each(run, value, attribute), start))


# --- lists


def _length(run: Run, value: Any) -> int:
    if isinstance(value, str | list | tuple | dict | range | Undefined):
        return len(value)
    raise Refused(f"`{written(value)}` has no length")


def _first(run: Run, value: Any) -> Any:
    if isinstance(value, str):
        return cut(value, 0, 1) if value else Undefined("first")
    found = elements(value, run)
    return found[0] if found else Undefined("first")


def _last(run: Run, value: Any) -> Any:
    if isinstance(value, str):
        return cut(value, len(value) - 1, len(value)) if value else Undefined("last")
    found = elements(value, run)
    return found[-1] if found else Undefined("last")


def _reverse(run: Run, value: Any) -> Any:
    if isinstance(value, str):
        return changed(value, value[::-1])
    return elements(value, run)[::-1]


def _join(run: Run, value: Any, d: Any = "", attribute: Any = None) -> str:
    parts = [written(each) for each in _each(run, value, attribute)]
    between = written(d)
    run.pay(sum(map(len, parts)) + len(between) * len(parts))
    return joined(parts, between)


def _items(run: Run, value: Any) -> list[Any]:
    if isinstance(value, Undefined):
        return []
    if not isinstance(value, dict):
        raise Refused("`items` takes an object")
    return [(key, value[key]) for key in elements(value, run)]


def _dictsort(run: Run, value: Any, case_sensitive: bool = False, by: str = "key", reverse: bool = False) -> list[Any]:
    if by not in ("key", "value"):
        raise Refused("`dictsort` sorts by `key` or `value`")
    at = 0 if by == "key" else 1
    pairs = _items(run, value)
    run.spend(SORTED * len(pairs))
    return sorted(pairs, key=lambda pair: _folded(pair[at], case_sensitive), reverse=reverse)


def _sort(
    run: Run, value: Any, reverse: bool = False, case_sensitive: bool = False, attribute: Any = None
) -> list[Any]:
    names = attribute.split(",") if isinstance(attribute, str) else [attribute]
    found = elements(value, run)
    run.spend(SORTED * len(found))
    return sorted(
        found, key=lambda each: [_folded(_reached(each, name), case_sensitive) for name in names], reverse=reverse
    )


def _unique(run: Run, value: Any, case_sensitive: bool = False, attribute: Any = None) -> list[Any]:
    run.spend(SORTED * _length(run, value))
    seen: set[Any] = set()
    found: list[Any] = []
    for each in elements(value, run):
        key = _folded(_reached(each, attribute), case_sensitive)
        if key not in seen:
            seen.add(key)
            found.append(each)
    return found


def _extreme(choose: Callable[..., Any]) -> Filter:
    def apply(run: Run, value: Any, case_sensitive: bool = False, attribute: Any = None) -> Any:
        found = elements(value, run)
        run.spend(SORTED * len(found))
        if not found:
            return Undefined("nothing")
        return choose(found, key=lambda each: _folded(_reached(each, attribute), case_sensitive))

    return apply


def _folded(value: Any, case_sensitive: bool) -> Any:
    return value.lower() if isinstance(value, str) and not case_sensitive else value


def _reached(value: Any, attribute: Any) -> Any:
    """`value`, or what a path as in `"function.name"` or `0` leads to."""
    if attribute is None:
        return value
    steps = attribute.split(".") if isinstance(attribute, str) else [attribute]
    for step in steps:
        value = item(value, int(step) if isinstance(step, str) and step.isdigit() else step)
    return value


def _each(run: Run, value: Any, attribute: Any) -> list[Any]:
    return [_reached(each, attribute) for each in elements(value, run)]


# --- filters of filters and tests


def _map(run: Run, value: Any, *arguments: Any, **named: Any) -> list[Any]:
    found = elements(value, run)
    run.spend(len(found))
    if not arguments and "attribute" in named:
        attribute, default = named.pop("attribute"), named.pop("default", None)
        if named:
            raise Refused(f"`map` has no argument `{next(iter(named))}`")
        reached = [_reached(each, attribute) for each in found]
        return reached if default is None else [default if isinstance(x, Undefined) else x for x in reached]
    if not arguments or arguments[0] not in FILTERS:
        raise Refused("`map` takes `attribute=`, or the name of a filter")
    apply = FILTERS[arguments[0]]
    return [apply(run, each, *arguments[1:], **named) for each in found]


def _chosen(wanted: bool, by_attribute: bool) -> Filter:
    def apply(run: Run, value: Any, *arguments: Any) -> list[Any]:
        found = elements(value, run)
        run.spend(len(found))
        attribute, rest = (arguments[0], arguments[1:]) if by_attribute else (None, arguments)
        if rest and rest[0] not in TESTS:
            raise Refused(f"there is no test `{written(rest[0])}`")
        test = TESTS[rest[0]] if rest else _truth
        return [each for each in found if bool(test(run, _reached(each, attribute), *rest[1:])) is wanted]

    return apply


def _truth(run: Run, value: Any) -> bool:
    return bool(value)


def _default(run: Run, value: Any, default_value: Any = "", boolean: bool = False) -> Any:
    return default_value if isinstance(value, Undefined) or (boolean and not value) else value


FILTERS: Mapping[str, Filter] = {
    "abs": lambda run, value: abs(value),
    "capitalize": _recase(str.capitalize),
    "count": _length,
    "d": _default,
    "default": _default,
    "dictsort": _dictsort,
    "first": _first,
    "float": _float,
    "indent": _indent,
    "int": _int,
    "items": _items,
    "join": _join,
    "last": _last,
    "length": _length,
    "list": lambda run, value: elements(value, run),
    "lower": _recase(str.lower),
    "map": _map,
    "max": _extreme(max),
    "min": _extreme(min),
    "reject": _chosen(False, False),
    "rejectattr": _chosen(False, True),
    "replace": _replace,
    "reverse": _reverse,
    "round": _round,
    "safe": _string,
    "select": _chosen(True, False),
    "selectattr": _chosen(True, True),
    "sort": _sort,
    "string": _string,
    "sum": _sum,
    "title": _recase(_titled),
    "tojson": _tojson,
    "trim": _trim,
    "unique": _unique,
    "upper": _recase(str.upper),
}
