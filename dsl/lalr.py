"""A parser by tables: the text of a declaration -> the node that a builder makes of it.

Runs the LALR(1) tables that `grammar/tables.json` has of the grammar. At each token only the terminals that may stand in the
state are tried, in the order that the tables give, so that a keyword is a name where a name stands. A node is built as soon
as its last token is known; nothing recurses.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

END = "$END"
"""The terminal at the end of the text."""

Matcher = Callable[[str, int], re.Match[str] | None]
Build = Callable[[list[Any]], Any]


class Token(str):
    """A token as typed, with its terminal, and its characters `[start_pos, end_pos)` in the text."""

    __slots__ = ("end_pos", "start_pos", "type")

    type: str
    start_pos: int
    end_pos: int

    def __new__(cls, type: str, text: str, start: int, end: int) -> Token:
        token = super().__new__(cls, text)
        token.type, token.start_pos, token.end_pos = type, start, end
        return token


class Unexpected(Exception):
    """The text does not go on as it could: a token of the wrong terminal, or characters that are none (`token` is empty)."""

    def __init__(self, token: Token) -> None:
        super().__init__(str(token))
        self.token = token


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of the grammar, and what makes a node of its children. `lists`: the children that are lists, whose items are the
    rule's own. `passed`: its only child stands for it; without `build` it is a list otherwise."""

    origin: str
    size: int
    build: Build | None
    passed: bool
    lists: tuple[int, ...]

    def reduce(self, children: list[Any]) -> Any:
        """The node of the rule, or its list."""
        if self.lists:
            children = self._flat(children)
        return children if self.build is None else self.build(children)

    def _flat(self, children: list[Any]) -> list[Any]:
        # A list that comes first grows in place: a rule with many items is built in linear time.
        found: list[Any] = children[0] if self.lists[0] == 0 else []
        for at, child in enumerate(children[found is children[0] :], found is children[0]):
            if at in self.lists:
                found.extend(child)
            else:
                found.append(child)
        return found


class Parser:
    """The tables, and the methods of a builder that their rules call."""

    def __init__(self, text: str, builder: object) -> None:
        tables = json.loads(text)
        self.grammar: str = tables["grammar"]
        self._actions: list[dict[str, int]] = tables["states"]
        self._rules = [
            Rule(
                origin,
                size,
                None if method is None else getattr(builder, method),
                method is None and not origin.startswith("_"),
                tuple(lists),
            )
            for origin, size, method, lists in tables["rules"]
        ]
        self._terminals: list[tuple[str, str]] = tables["terminals"]
        self._ignored: str = tables["ignored"]
        self._start: int = tables["start"]
        self._end: int = tables["end"]
        self._matchers: list[Matcher | None] = [None] * len(self._actions)
        self._by_accepted: dict[frozenset[str], Matcher] = {}

    def parse(self, text: str) -> Any:
        """The node of a whole text. Raises `Unexpected`, and what the builder raises."""
        state = self.state()
        for token in self._tokens(text, state):
            state.feed(token)
        return state.value

    def until(self, text: str, stop: int | None) -> State:
        """The state right before the token at `stop`, or before the end where that is None, as far as the text is right."""
        state = self.state()
        with suppress(Unexpected):
            for token in self._tokens(text, state):
                if token.type == END or token.start_pos == stop:
                    break
                state.feed(token)
        return state

    def state(self) -> State:
        """The state before any token."""
        return State(self._actions, self._rules, [self._start], [], self._end)

    def _tokens(self, text: str, state: State) -> Iterator[Token]:
        """The tokens of a text, each by what `state` accepts when it is asked for, then one behind the last."""
        at, last, size, ignored, states, matchers = 0, 0, len(text), self._ignored, state.states, self._matchers
        while at < size:
            match = (matchers[states[-1]] or self._matcher(states[-1]))(text, at)
            if match is None:
                raise Unexpected(self._stranger(text, at))
            kind, start, at = match.lastgroup, at, match.end()
            if kind != ignored:
                last = at
                yield Token(kind or "", match.group(), start, at)
        yield Token(END, "", last, last)

    def _matcher(self, state: int) -> Matcher:
        """What finds a token that a state accepts, or what stands between tokens."""
        accepted = frozenset(self._actions[state])
        found = self._by_accepted.get(accepted)
        if found is None:
            found = self._by_accepted[accepted] = self._compiled(accepted)
        self._matchers[state] = found
        return found

    def _compiled(self, accepted: frozenset[str]) -> Matcher:
        tried = [
            f"(?P<{name}>{pattern})" for name, pattern in self._terminals if name in accepted or name == self._ignored
        ]
        return re.compile("|".join(tried)).match

    def _stranger(self, text: str, at: int) -> Token:
        """The token at `at` by whatever terminal there is; empty where there is none."""
        match = self._compiled(frozenset(name for name, _ in self._terminals))(text, at)
        return Token("", "", at, at) if match is None else Token(match.lastgroup or "", match.group(), at, match.end())


@dataclass(slots=True)
class State:
    """What has been read: states of the automaton, and the tokens and nodes between them. `value` is the node of the whole text
    once the end was fed."""

    actions: list[dict[str, int]]
    rules: list[Rule]
    states: list[int]
    values: list[Any]
    end: int
    value: Any = None

    def feed(self, token: Token) -> None:
        """Read a token, and build every node that ends before it. Raises `Unexpected`."""
        states, values, kind = self.states, self.values, token.type
        while True:
            action = self.actions[states[-1]].get(kind)
            if action is None:
                raise Unexpected(token)
            if action >= 0:
                states.append(action)
                values.append(token)
                return
            rule = self.rules[-1 - action]
            if rule.passed:
                states[-1] = self.actions[states[-2]][rule.origin]
                continue
            children = values[len(values) - rule.size :]
            del values[len(values) - rule.size :], states[len(states) - rule.size :]
            values.append(rule.reduce(children))
            states.append(self.actions[states[-1]][rule.origin])
            if kind == END and states[-1] == self.end:
                self.value = values[-1]
                return

    def ended(self) -> Any:
        """The node of the whole text if it ended here; None where it cannot."""
        if not self._would_read(END):
            return None
        ended = State(self.actions, self.rules, self.states.copy(), self.values.copy(), self.end)
        ended.feed(Token(END, "", 0, 0))
        return ended.value

    def accepts(self) -> frozenset[str]:
        """The terminals that could be read next."""
        return frozenset(kind for kind in self.actions[self.states[-1]] if kind.isupper() and self._would_read(kind))

    def _would_read(self, kind: str) -> bool:
        states = self.states.copy()
        while True:
            action = self.actions[states[-1]].get(kind)
            if action is None or action >= 0:
                return action is not None
            rule = self.rules[-1 - action]
            del states[len(states) - rule.size :]
            states.append(self.actions[states[-1]][rule.origin])
            if kind == END and states[-1] == self.end:
                return True


def load(builder: object) -> Parser:
    """The parser of the language, which calls the methods of `builder`."""
    package = f"{__package__.rpartition('.')[0]}.grammar"
    return Parser(files(package).joinpath("tables.json").read_text("utf-8"), builder)
