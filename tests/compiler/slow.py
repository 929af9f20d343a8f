"""Span sets and joins as the language reference says them, in plain loops over the characters of one record."""

import operator
import re
import unicodedata
from dataclasses import dataclass, field, replace

from mcd.dsl import checked as c

from .helpers import token_id

ADDED = 0
"""The id of the token that helpers.batch adds in front of a text."""
SPECIAL = {"<s>": ADDED, "a": token_id("a"), " b": token_id(" b"), " ": token_id(" "), "none": None}


def is_word(char: str) -> bool:
    """A letter, digit or mark of any script, or the underscore."""
    return char == "_" or unicodedata.category(char)[0] in "LMN"


@dataclass(frozen=True)
class Span:
    start: int
    end: int
    index: int = 0
    token: int | None = None
    attributes: dict = field(default_factory=dict, hash=False)


class Slow:
    """One record."""

    def __init__(self, row, source="s"):
        self.row, self.text, self.source = row, row.text, source
        self.table = list(row.places())
        extents = [token[:2] for token in self.table]
        self.twin = [a == b or extents.count((a, b)) > 1 for a, b in extents]

    def spans(self, node):
        return getattr(self, type(node).__name__.lower())(node)

    # --- selectors

    def tokens(self, node=None):
        return [Span(a, b, i, i) for i, (a, b, _) in enumerate(self.table)]

    def record(self, node):
        return self.collect([Span(0, len(self.text))])

    def special(self, node):
        """Token -1 is the one that the tokenizer adds in front."""
        places = [
            (ADDED, Span(0, 0, token=-1)),
            *((id, Span(a, b, token=i)) for i, (a, b, id) in enumerate(self.table)),
        ]
        names = {SPECIAL[name]: name for name in node.names}
        return self.ranked([replace(s, attributes={"label": names[id]}) for id, s in places if id in names])

    def slot(self, node):
        return self.collect([Span(*self.row.slot)] if self.row.slot else [])

    def phrases(self, node):
        fold = self.fold if node.ignore_case else str
        text, phrases = fold(self.text), [fold(phrase) for phrase in node.phrases]
        return self.scan(
            lambda at: [
                at + len(phrase)
                for phrase in phrases
                if phrase and text.startswith(phrase, at) and (not node.words or self.whole(at, at + len(phrase)))
            ]
        )

    @staticmethod
    def fold(text):
        return "".join(
            x.lower() if len(x.lower().encode()) == len(x.encode()) and len(x.lower()) == 1 else x for x in text
        )

    def whole(self, start, end):
        word = [False, *(is_word(char) for char in self.text), False]
        return not (word[start] and word[start + 1]) and not (word[end] and word[end + 1])

    def regex(self, node):
        pattern = re.compile(node.pattern, re.IGNORECASE if node.ignore_case else 0)
        stops = range(len(self.text) + 1)
        return self.scan(lambda at: [end for end in stops if end > at and pattern.fullmatch(self.text, at, end)])

    def scan(self, ends):
        found, at = [], 0
        while at < len(self.text):
            longest = max(ends(at), default=None)
            if longest is not None:
                found.append(Span(at, longest))
            at = longest or at + 1
        return self.collect(found)

    def offsets(self, node):
        base = 0 if node.of is None else self.row.slot[0]
        found = []
        for entry in self.row.mentions or []:
            attributes = {k: v for k, v in entry.items() if k not in ("start", "end") and v is not None}
            found.append(Span(base + entry["start"], base + entry["end"], attributes=attributes))
        return self.collect(found)

    def collect(self, spans):
        """Outer white space off, ranked."""
        trimmed = []
        for span in spans:
            inner = self.text[span.start : span.end]
            start = span.start + len(inner) - len(inner.lstrip())
            if inner.strip():
                trimmed.append(replace(span, start=start, end=start + len(inner.strip())))
        return self.ranked(self.distinct(trimmed))

    def is_twin(self, token):
        return token is not None and (token < 0 or self.twin[token])

    def same(self, span):
        return (span.start, span.end, span.token if self.is_twin(span.token) else -1)

    def distinct(self, spans):
        found = {}
        for span in spans:
            old = found.setdefault(self.same(span), span)
            tokens = [t for t in (old.token, span.token) if t is not None]
            found[self.same(span)] = replace(
                old, token=max(tokens, default=None), attributes={**span.attributes, **old.attributes}
            )
        return [found[key] for key in sorted(found)]

    @staticmethod
    def ranked(spans):
        return [replace(span, index=i) for i, span in enumerate(spans)]

    # --- algebra

    def union(self, node):
        return self.distinct([*self.spans(node.left), *self.spans(node.right)])

    def shares(self, one, other):
        if one.start == one.end:
            return other.start == other.end and one.token == other.token
        both = range(max(one.start, other.start), min(one.end, other.end))
        return any(not self.text[i].isspace() for i in both)

    def intersection(self, node):
        right = self.spans(node.right)
        return [one for one in self.spans(node.left) if any(self.shares(one, other) for other in right)]

    def difference(self, node):
        right = self.spans(node.right)
        return [one for one in self.spans(node.left) if not any(self.shares(one, other) for other in right)]

    def within(self, node):
        outer = self.spans(node.outer)
        return [one for one in self.spans(node.inner) if any(self.inside(one, other) for other in outer)]

    def inside(self, one, other):
        if one.start == one.end:
            return other.start == other.end and one.token == other.token
        return other.start <= one.start and one.end <= other.end

    def take(self, node):
        spans = self.spans(node.base)
        return spans[: node.count] if node.end == "first" else spans[max(len(spans) - node.count, 0) :]

    def ofsource(self, node):
        return self.spans(node.base) if node.source == self.source else []

    def named(self, node):
        return self.ranked(self.spans(node.base))

    def filter(self, node):
        return [span for span in self.spans(node.base) if self.holds(node.condition, {"self": span})]

    # --- neighbours

    def step(self, span, side):
        """The token that a step gives, as a span; None where there is none."""
        if span is None:
            return None
        mine = [i for i, (a, b, _) in enumerate(self.table) if a < b and a < span.end and b > span.start]
        if span.token is not None:
            mine = [span.token]
        if not mine:
            return None
        at = {"first": mine[0], "last": mine[-1], "next": mine[-1] + 1, "previous": mine[0] - 1}[side]
        if at == -1 and side in ("first", "last"):
            return replace(span, index=0)
        if not 0 <= at < len(self.table):
            return None
        kept = span.attributes if side in ("first", "last") else {}
        return Span(*self.table[at][:2], at, at, kept)

    def edge(self, node):
        found = [self.step(span, node.end) for span in self.spans(node.base)]
        return self.ranked(self.distinct([span for span in found if span]))

    def neighbour(self, node):
        found = [self.step(span, node.side) for span in self.spans(node.base)]
        return self.ranked(self.distinct([span for span in found if span]))

    def predicting(self, node):
        spans = self.spans(node.base)
        found = []
        for i, token in enumerate(self.tokens()):
            if i and any(self.shares(token, span) if span.token is None else span.token == i for span in spans):
                found.append(self.tokens()[i - 1])
        return self.ranked(found)

    # --- conditions

    def value(self, node, spans):
        match node:
            case c.Literal_():
                return node.value
            case c.SpanRef():
                span = spans[node.role]
                for side in node.steps:
                    span = self.step(span, side)
                return span
            case c.Attr():
                span = self.value(node.span, spans)
                return None if span is None else self.attribute(span, node.name)
            case c.Length():
                text = self.value(node.operand, spans)
                return None if text is None else len(text if isinstance(text, str) else text[0])
            case c.Arithmetic():
                left, right = self.value(node.left, spans), self.value(node.right, spans)
                if left is None or right is None or (node.op == "/" and right == 0):
                    return None
                return {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}[node.op](
                    left, right
                )
        return self.holds(node, spans)

    def attribute(self, span, name):
        if name == "text":
            id = self.table[span.token][2] if span.token is not None and span.token >= 0 else ADDED
            return self.text[span.start : span.end], id if self.is_twin(span.token) else None
        return getattr(span, name) if name in ("start", "end", "index") else span.attributes.get(name)

    def holds(self, node, spans):
        match node:
            case c.And():
                return all(self.holds(operand, spans) for operand in node.operands)
            case c.Or():
                return any(self.holds(operand, spans) for operand in node.operands)
            case c.Not():
                return not self.holds(node.operand, spans)
            case c.Before():
                left, right = self.value(node.left, spans), self.value(node.right, spans)
                return left is not None and right is not None and left.end <= right.start
            case c.Linked():
                return self.weight(node, spans) is not None
            case c.Member():
                item = self.value(node.item, spans)
                return item is not None and (item[0] if isinstance(item, tuple) else item) in node.values
            case c.Compare():
                left, right = self.value(node.left, spans), self.value(node.right, spans)
                return left is not None and right is not None and self.compared(node.op, left, right)
        return bool(self.value(node, spans))

    def weight(self, node, spans):
        """The weight of the pair of spans, added up over the entries that list it; None where none with a weight above 0 does."""
        pair = [spans["query"].index, spans["key"].index]
        pair = pair if node.first == "query" else pair[::-1]
        weights = [entry[2] if len(entry) == 3 else 1 for entry in self.row.links or [] if entry[:2] == pair]
        return sum(weights) or None

    def compared(self, op, left, right):
        if isinstance(left, Span):
            left, right = self.same(left), self.same(right)
        elif isinstance(left, tuple) and isinstance(right, tuple) and op in ("==", "!="):
            left, right = ((id,) if id is not None else text for text, id in (left, right))
        else:
            left, right = (side[0] if isinstance(side, tuple) else side for side in (left, right))
        names = {"==": "eq", "!=": "ne", "<": "lt", ">": "gt", "<=": "le", ">=": "ge"}
        return getattr(operator, names[op])(left, right)

    # --- joins

    def join(self, node):
        """Edges as (query, key) places, and how many are left out."""
        queries, keys = self.spans(node.query), self.spans(node.key)
        found = []
        for q, query in enumerate(queries):
            mine = [
                k
                for k, key in enumerate(keys)
                if node.condition is None or self.holds(node.condition, {"query": query, "key": key})
            ]
            if mine and node.pick != "all":
                order = {
                    "first": lambda k: k,
                    "last": lambda k: -k,
                    "nearest": lambda k: (self.gap(query, keys[k]), -k),  # noqa: B023
                }
                mine = [min(mine, key=order[node.pick])]
            found += [(q, k) for k in mine]
        limit = node.max_edges * len(self.table)
        return found[:limit], max(len(found) - limit, 0)

    @staticmethod
    def gap(query, key):
        return max(0, query.start - key.end, key.start - query.end)
