"""How a claim compares what is found with its number."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping

COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    ">": operator.gt,
    "<=": operator.le,
    "<": operator.lt,
    "==": operator.eq,
    "!=": operator.ne,
}
