"""The tests of templates (`x is defined`), as Jinja has them. Each takes the run, the value and its arguments."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

from .values import Bound, Macro, Refused, Run, Undefined, kind, written

Test = Callable[..., bool]


def compared(run: Run, compare: Callable[[Any, Any], Any], left: Any, right: Any) -> bool:
    """Whether two values compare so. Long texts are paid for."""
    if isinstance(left, str) and len(left) > 64:
        run.pay(len(left))
    try:
        return bool(compare(left, right))
    except TypeError:
        raise Refused(f"{kind(left)} and {kind(right)} cannot be compared") from None


def contains(run: Run, element: Any, whole: Any) -> bool:
    """`element in whole`."""
    if isinstance(whole, str):
        if not isinstance(element, str):
            raise Refused(f"{kind(element)} is looked for in a string")
        run.pay(len(whole))
        return element in whole
    if isinstance(whole, list | tuple | range):
        run.pay(len(whole))
        return element in whole
    if isinstance(whole, dict):
        return isinstance(element, str | int | float | bool | None) and element in whole
    if isinstance(whole, Undefined):
        return False
    raise Refused(f"{kind(element)} is looked for in {kind(whole)}")


def _compare(compare: Callable[[Any, Any], Any]) -> Test:
    return lambda run, value, other: compared(run, compare, value, other)


def _divisible(run: Run, value: Any, by: Any) -> bool:
    if by == 0:
        raise Refused("a number is divided by zero")
    return bool(value % by == 0)


def _integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_EQUAL, _UNEQUAL = _compare(operator.eq), _compare(operator.ne)
_LESS, _AT_MOST = _compare(operator.lt), _compare(operator.le)
_GREATER, _AT_LEAST = _compare(operator.gt), _compare(operator.ge)

TESTS: Mapping[str, Test] = {
    "!=": _UNEQUAL,
    "<": _LESS,
    "<=": _AT_MOST,
    "==": _EQUAL,
    ">": _GREATER,
    ">=": _AT_LEAST,
    "boolean": lambda run, value: isinstance(value, bool),
    "callable": lambda run, value: isinstance(value, Bound | Macro),
    "defined": lambda run, value: not isinstance(value, Undefined),
    "divisibleby": _divisible,
    "eq": _EQUAL,
    "equalto": _EQUAL,
    "even": lambda run, value: _divisible(run, value, 2),
    "false": lambda run, value: value is False,
    "float": lambda run, value: isinstance(value, float),
    "ge": _AT_LEAST,
    "greaterthan": _GREATER,
    "gt": _GREATER,
    "in": lambda run, value, whole: contains(run, value, whole),
    "integer": lambda run, value: _integer(value),
    "iterable": lambda run, value: isinstance(value, str | list | tuple | dict | range | Undefined),
    "le": _AT_MOST,
    "lessthan": _LESS,
    "lower": lambda run, value: written(value).islower(),
    "lt": _LESS,
    "mapping": lambda run, value: isinstance(value, dict),
    "ne": _UNEQUAL,
    "none": lambda run, value: value is None,
    "number": lambda run, value: isinstance(value, int | float),
    "odd": lambda run, value: not _divisible(run, value, 2),
    "sameas": lambda run, value, other: value is other,
    "sequence": lambda run, value: isinstance(value, str | list | tuple | dict | range | Undefined),
    "string": lambda run, value: isinstance(value, str),
    "true": lambda run, value: value is True,
    "undefined": lambda run, value: isinstance(value, Undefined),
    "upper": lambda run, value: written(value).isupper(),
}
