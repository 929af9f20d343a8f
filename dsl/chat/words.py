"""The part of Jinja that chat templates may use here, by name. What each word does is in `compiler/chat/`."""

from __future__ import annotations

# fmt: off
FILTERS = frozenset(
    (
        "abs", "capitalize", "count", "d", "default", "dictsort", "first", "float", "indent", "int", "items", "join",
        "last", "length", "list", "lower", "map", "max", "min", "reject", "rejectattr", "replace", "reverse", "round",
        "safe", "select", "selectattr", "sort", "string", "sum", "title", "tojson", "trim", "unique", "upper"
    )
)
TESTS = frozenset(
    (
        "!=", "<", "<=", "==", ">", ">=", "boolean", "callable", "defined", "divisibleby", "eq", "equalto", "even",
        "false", "float", "ge", "greaterthan", "gt", "in", "integer", "iterable", "le", "lessthan", "lower", "lt",
        "mapping", "ne", "none", "number", "odd", "sameas", "sequence", "string", "true", "undefined", "upper"
    )
)
FUNCTIONS = frozenset(("dict", "namespace", "raise_exception", "range", "strftime_now"))
STRING_METHODS = frozenset(
    (
        "capitalize", "count", "endswith", "find", "index", "isalnum", "isalpha", "isdigit", "islower", "isspace",
        "istitle", "isupper", "join", "lower", "lstrip", "removeprefix", "removesuffix", "replace", "rfind", "rsplit",
        "rstrip", "split", "splitlines", "startswith", "strip", "title", "upper"
    )
)
LIST_METHODS = frozenset(("count", "index"))
DICT_METHODS = frozenset(("copy", "get", "items", "keys", "values"))
LOOP_METHODS = frozenset(("cycle",))
# fmt: on
METHODS = STRING_METHODS | LIST_METHODS | DICT_METHODS | LOOP_METHODS

GIVEN = frozenset(("add_generation_prompt", "documents", "loop", "messages", "tools"))
"""Variables that every template has, and `loop`."""
