"""The grammar -> its parse tables, as `tables.json` beside it has them: what `dsl/lalr.py` runs, so that reading a spec needs no
parser generator.

`python -m docs.generate` writes the file, and compares it with `--check`. lark builds the tables; nothing else of it is kept.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from lark import Lark
from lark.grammar import Rule
from lark.parsers.lalr_analysis import Shift

START = "piece"


def grammar() -> str:
    """The text of the grammar."""
    return files(__package__).joinpath("mcd.lark").read_text("utf-8")


def tables(text: str) -> str:
    """The tables of a grammar, as JSON.

    `terminals`: names and patterns, in the order in which they are tried. `ignored`: the terminal between tokens. `rules`:
    origin, length, the method that builds a node of it (null: it is its only child, or a list of its children), and which
    children are lists that it takes in. `states`: by symbol, the state to shift to, or `-1 - rule` to reduce by it. `start` and
    `end` are states.
    """
    lark = Lark(text, parser="lalr", lexer="contextual", start=START, keep_all_tokens=True, maybe_placeholders=False)
    table: Any = lark.parser.parser._parse_table
    order = sorted(lark.terminals, key=lambda t: (-t.priority, -t.pattern.max_width, -len(t.pattern.value), t.name))
    reduced = {arg for row in table.states.values() for action, arg in row.values() if action is not Shift}
    rules = sorted(reduced, key=lambda rule: (rule.origin.name, [symbol.name for symbol in rule.expansion]))
    numbers = {rule: number for number, rule in enumerate(rules)}
    order_of = _in_order(table.states, table.start_states[START])
    states = [
        {
            symbol: order_of[arg] if action is Shift else -1 - numbers[arg]
            for symbol, (action, arg) in sorted(table.states[at].items())
        }
        for at in order_of
    ]
    (ignored,) = lark.lexer_conf.ignore
    found = {
        "grammar": digest(text),
        "terminals": [[terminal.name, terminal.pattern.to_regexp()] for terminal in order],
        "ignored": ignored,
        "rules": [_rule(rule) for rule in rules],
        "states": states,
        "start": order_of[table.start_states[START]],
        "end": order_of[table.end_states[START]],
    }
    lines = [f"{json.dumps(name)}: {_written(value)}" for name, value in found.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def digest(text: str) -> str:
    """What tells one text of the grammar from another."""
    return hashlib.sha256(text.encode()).hexdigest()


def _in_order(states: Mapping[int, Mapping[str, tuple[Any, Any]]], start: int) -> dict[int, int]:
    """The numbers of the states as they are reached from the start, since lark's own differ from run to run."""
    found, pending = {start: 0}, deque([start])
    while pending:
        for _, (action, arg) in sorted(states[pending.popleft()].items()):
            if action is Shift and arg not in found:
                found[arg] = len(found)
                pending.append(arg)
    return found


def _rule(rule: Rule) -> list[Any]:
    origin: str = rule.origin.name
    lists = [at for at, symbol in enumerate(rule.expansion) if not symbol.is_term and symbol.name.startswith("_")]
    passed = rule.options.expand1 and rule.alias is None and len(rule.expansion) == 1
    method = None if passed or origin.startswith("_") else (rule.alias or origin)
    return [origin, len(rule.expansion), method, lists]


def _written(value: Any) -> str:
    """JSON with a line per rule, terminal and state, so that a change of the grammar shows where it is."""
    if not isinstance(value, list):
        return json.dumps(value)
    rows = ",\n".join("  " + json.dumps(row, separators=(",", ":")) for row in value)
    return f"[\n{rows}\n]"
