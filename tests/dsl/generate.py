"""Random specs by the grammar: every construct, every operator, keywords as names, odd spacing, comments between any two tokens.

They parse without a finding; whether they check is another matter. `spec(seed, items)` is a plain function of two numbers, fast
enough for long fuzzing; `specs()` is a hypothesis strategy over it, which shrinks towards few declarations.
"""

from __future__ import annotations

from itertools import pairwise
from random import Random

from hypothesis import strategies as st

from mcd.dsl.cut import INNER, KEYWORDS

NAMES = ("a", "tokens", "query", "key", "x1", "_private", "a_rather_long_name", "in_", "r", "orthonormal", "mcd")
KEYWORD_NAMES = (*KEYWORDS, *INNER)
FIELDS = (".id", ".text", ".where", ".model", '."odd-name"', '."a # b"', r'."\u{e9} \" x"', ".next", "._x1")
NUMBERS = ("0", "4", "007", "0.5", "12.25", "1e-3", "2E+2", "3.5e10")
PERCENTS = ("0%", "50%", "12.5%")
STRINGS = (
    '""',
    '"because"',
    '"a # b"',
    r'"\n \t \" \\ \u{1F642}"',
    r'r"\d+\"[#]"',
    'r"("',
    '"日本語 🙂 {.a} {{"',
    '"' + "quite a long string, " * 4 + '"',
    '"' + "x" * 110 + '"',
)
COMMENTS = (
    "# note",
    "#",
    "## said of what follows",
    "#! MCD301 `x`",
    "# }, ) ] { \" 'quote",
    "# " + "long " * 25,
    "#\tüñ",
)

CHAINS = {1: ("or",), 2: ("and",), 5: ("|",), 6: ("&",), 7: ("in",), 9: ("+", "-"), 10: ("*", "/")}
PAIRS = {4: ("==", "!=", "<", ">", "<=", ">=", "before", "after"), 8: ("..",)}
PREFIXES = {3: "not", 11: "-"}
WHERE, OR, POSTFIX = 0, 1, 12
"""Rungs of the ladder of expressions, from loose to tight."""


def spec(seed: int, items: int) -> str:
    """The text of a spec with `items` declarations, the same for the same arguments."""
    random = Random(seed)
    return _written(random, [Grammar(random).item(depth=3) for _ in range(items)])


def specs(most: int = 6) -> st.SearchStrategy[str]:
    """Specs of at most `most` declarations."""
    return st.builds(spec, st.integers(0, 2**32), st.integers(0, most))


class Grammar:
    """Draws constructs as lists of chunks. What a chunk holds stands together; between chunks anything blank may stand."""

    def __init__(self, random: Random) -> None:
        self.random = random

    def _chance(self, share: float) -> bool:
        return self.random.random() < share

    def _few(self, most: int) -> range:
        return range(self.random.randint(0, most))

    def name(self) -> str:
        return self.random.choice(KEYWORD_NAMES if self._chance(0.15) else NAMES)

    def label(self) -> list[str]:
        return [self.name() + self.random.choice((":", " :"))]

    # --- expressions

    def expr(self, depth: int, rung: int = WHERE) -> list[str]:
        if depth <= 0:
            return self.atom(0)
        while rung < POSTFIX and not self._chance(0.12):
            rung += 1
        depth -= 1
        if rung == WHERE:
            return self._spread([["where"]], 3, lambda: self.expr(depth, OR))
        if rung in CHAINS:
            return self._spread([[op] for op in CHAINS[rung]], 4, lambda: self.expr(depth, rung + 1))
        if rung in PAIRS:
            return [*self.expr(depth, rung + 1), self.random.choice(PAIRS[rung]), *self.expr(depth, rung + 1)]
        if rung in PREFIXES:
            return [PREFIXES[rung], *self.expr(depth, rung)]
        return self.postfix(depth)

    def _spread(self, between, most, draw) -> list[str]:
        found = draw()
        for _ in range(self.random.randint(1, most)):
            found += self.random.choice(between) + draw()
        return found

    def postfix(self, depth: int) -> list[str]:
        found = self.atom(depth)
        for _ in self._few(3):
            if self._chance(0.5):
                found = [*found[:-1], found[-1] + self.random.choice(FIELDS)]
            else:
                found += self._items("(", ")", lambda: self.argument(depth))
        return found

    def atom(self, depth: int) -> list[str]:
        if depth > 0 and self._chance(0.4):
            kind = self.random.randrange(3)
            if kind == 0:
                return ["(", *self.expr(depth), ")"]
            if kind == 1:
                return self._items("[", "]", lambda: self.expr(depth - 1))
            return self._items("{", "}", lambda: [*self.expr(depth - 1), ":", *self.expr(depth - 1)])
        pool = self.random.choice((NAMES, KEYWORD_NAMES, FIELDS, NUMBERS, PERCENTS, STRINGS, ("$a", "$middle")))
        return [self.random.choice(pool)]

    def argument(self, depth: int) -> list[str]:
        return [*(self.label() if self._chance(0.4) else ()), *self.expr(depth - 1)]

    def _items(self, opening, closing, draw, most=4) -> list[str]:
        found = [opening]
        count = len(self._few(most))
        for i in range(count):
            found += draw()
            if i < count - 1 or self._chance(0.3):
                found.append(",")
        return [*found, closing]

    def reference(self) -> list[str]:
        fields = "".join(self.random.choice(FIELDS) for _ in self._few(2))
        return [self.random.choice((self.name(), "$a")) + fields]

    # --- declarations

    def attribute(self, depth: int) -> list[str]:
        fields = "".join(self.random.choice(FIELDS) for _ in self._few(1))
        return [f"{self.name()}{fields}{self.random.choice(('', ' ', '   '))}=", *self.expr(depth)]

    def block(self, depth: int) -> list[str]:
        return ["{", *(chunk for _ in self._few(4) for chunk in self.attribute(depth)), "}"]

    def item(self, depth: int) -> list[str]:
        kind = self.random.choice(KEYWORDS)
        return [kind, *getattr(self, f"_{kind}")(depth)]

    def _import(self, depth: int) -> list[str]:
        return [self.random.choice(STRINGS), "as", self.name()]

    def _let(self, depth: int) -> list[str]:
        kind = [":", self.name()] if self._chance(0.5) else []
        return [self.name(), *kind, "=", *self.expr(depth)]

    def _named(self, depth: int) -> list[str]:
        return [self.name(), *self.block(depth)]

    _model = _teacher = _concept = _named

    def _source(self, depth: int) -> list[str]:
        return [self.name(), "=", *self.expr(depth), *(self.block(depth) if self._chance(0.8) else ())]

    def _span(self, depth: int) -> list[str]:
        of = ["of", self.name()] if self._chance(0.2) else []
        return [self.name(), *of, "=", *self.expr(depth)]

    def _maybe_label(self) -> list[str]:
        return self.label() if self._chance(0.6) else []

    def _relate(self, depth: int) -> list[str]:
        ends = [*self.reference(), "->", *self.reference(), "like", *self.reference(), "->", *self.reference()]
        plain = [*self.reference(), self.random.choice(NAMES), *self.reference()]
        return [*self._maybe_label(), *(ends if self._chance(0.3) else plain), *self.block(depth)]

    def _attend(self, depth: int) -> list[str]:
        wheres = [chunk for _ in self._few(3) for chunk in ("where", *self.expr(depth, OR))]
        return [*self._maybe_label(), *self.expr(depth), "->", *self.expr(depth, OR), *wheres, *self.block(depth)]

    def _subject(self, depth: int) -> list[str]:
        return [*self._maybe_label(), *self.expr(depth), *self.block(depth)]

    _signal = _weigh = _keep = _subject

    def _gradient(self, depth: int) -> list[str]:
        return self.block(depth)

    def _curriculum(self, depth: int) -> list[str]:
        found = ["{"]
        for _ in self._few(4):
            stage = ["stage", self.name(), self.random.choice(PERCENTS), *self.block(depth)]
            found += stage if self._chance(0.6) else self.attribute(depth)
        return [*found, "}"]

    def _parameter(self, depth: int) -> list[str]:
        return [self.name(), ":", self.name(), *(("=", *self.expr(depth)) if self._chance(0.3) else ())]

    def _frame(self, depth: int) -> list[str]:
        items = [chunk for _ in self._few(3 if depth > 1 else 0) for chunk in self.item(depth - 1)]
        return [self.name(), *self._items("(", ")", lambda: self._parameter(1), 3), "{", *items, "}"]

    def _use(self, depth: int) -> list[str]:
        arguments = self._items("(", ")", lambda: self.argument(depth)) if self._chance(0.7) else []
        return [*self.reference(), *arguments, "as", self.name()]

    def _expect(self, depth: int) -> list[str]:
        if self._chance(0.5):
            return ["trained", *self.expr(depth)]
        claim = self.expr(depth)
        return ["(", *claim, ")"] if claim[0] == "trained" else claim  # which would be the keyword


def _written(random: Random, items: list[list[str]]) -> str:
    """The chunks as text, spaced in a way of its own: tidy, mostly on long lines, or with breaks and comments anywhere."""
    mess = random.choice((0.0, 0.0, 0.05, 0.4))
    parts: list[str] = []
    for item in (["mcd", "1"], *items):
        parts.append(item[0])
        for before, chunk in pairwise(item):
            parts += [_between(random, before, chunk, mess), chunk]
        parts.append(_after(random))
    text = random.choice(("", "", "# first\n", "\n\n")) + "".join(parts)
    return text.replace("\n", "\r\n") if random.random() < 0.1 else text


def _between(random: Random, before: str, chunk: str, mess: float) -> str:
    if random.random() >= mess:
        tight = before[-1] in "([{" or chunk[0] in ")]},"
        return "" if tight and random.random() < 0.7 else " "
    blank = random.choice(
        ("  ", "\t", "\n ", "\n    ", "\n\n\t", "{}  ", " {}\n  {}\n ", "\n{}\n\n  {}\n  ", "\n  {} \n ")
    )
    return _commented(random, blank)


def _after(random: Random) -> str:
    end = random.choice(
        ("\n", "\n", "\n", "\n\n", "\n\n\n\n", " {}\n", "  {}\n", "\n{}\n", "\n\n{}\n", " {}\n\n  {}\n{}\n")
    )
    return _commented(random, end)


def _commented(random: Random, blank: str) -> str:
    """The text with comments in its gaps, each of which ends its line."""
    first, *others = blank.split("{}")
    return first + "".join(
        random.choice(COMMENTS) + (other if other.lstrip(" \t\r").startswith("\n") else "\n " + other)
        for other in others
    )
