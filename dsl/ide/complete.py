"""What could be typed at a cursor: words of the language, names of the spec, fields and attributes of the data, paths."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .. import ast
from .. import checked as c
from ..check.concepts import ANCHOR_KINDS
from ..check.env import Declaration, Env, Expansion
from ..check.order import stated_type
from ..load import File
from ..vocabulary import (
    BLOCKS,
    BUILT_INS,
    CONDITIONS,
    FORMATS,
    HEAD_WORDS,
    LET_TYPES,
    MAPS,
    OVERFLOWS,
    PARAMETER_TYPES,
    PRELUDE_SETS,
    RELATIONS,
    SELECTORS,
    STEPS,
    Entry,
    Type,
)
from .context import Arguments, Attribute, Condition, Context, Declare, Slot, Value, Word, context
from .data import Data, Samples, sources_of
from .items import Item, ItemKind, declarations, function
from .project import Analysis
from .words import KEYWORDS as MEANINGS
from .words import attribute_doc, described

MOST_PATHS = 500
NUMBERED = 100
"""The most layers or heads that are listed one by one."""


@dataclass(frozen=True, slots=True)
class Proposals:
    """What could stand for the characters from `start` to the cursor."""

    start: int
    items: tuple[Item, ...]


def complete(analysis: Analysis, path: Path, text: str, offset: int, samples: Samples) -> Proposals:
    """Proposals for a cursor at `offset` of the file at `path`, whose text is `text`."""
    where = context(text, offset)
    file = analysis.file(path)
    if analysis.state is None or file is None:
        return Proposals(where.start, ())
    items = _Completer(analysis, _view(analysis, file, offset), where, samples).items()
    best: dict[str, Item] = {}
    for item in items:
        if item.label not in best or item.rank < best[item.label].rank:
            best[item.label] = item
    return Proposals(where.start, tuple(sorted(best.values(), key=lambda item: (item.rank, item.label))))


def _view(analysis: Analysis, file: File, offset: int) -> Env:
    """The names that are known at `offset`: those of the file, or of the frame around it."""
    assert analysis.state is not None
    for each in analysis.state.files:
        if isinstance(each, Expansion) and each.path == file.path:
            place = each.frame.item.place
            if place.start < offset <= place.end:
                return Env(analysis.state, each)
    return Env(analysis.state, file)


class _Completer:
    """Gives the proposals of one context."""

    def __init__(self, analysis: Analysis, env: Env, where: Context, samples: Samples) -> None:
        assert analysis.state is not None
        self._state = analysis.state
        self._env = env
        self._where = where
        sources = sources_of(self._state)
        own = sources.get(where.owner) if where.head == "source" else None
        self._data = Data([own] if own is not None else list(sources.values()), samples)

    def items(self) -> Iterator[Item]:
        slot, where = self._where.slot, self._where
        if where.string is not None:
            yield from self._in_string(where.string, slot)
        elif where.base:
            yield from self._after_dot(where.base, slot)
        else:
            yield from self._at(slot)

    def _at(self, slot: Slot) -> Iterator[Item]:
        match slot:
            case Declare(frame):
                yield from declarations(frame)
            case Attribute(kind, given):
                yield from self._attributes(kind, given)
            case Value(entry, _):
                yield from self._values(entry)
            case Arguments():
                yield from self._arguments(slot)
            case Condition():
                yield from self._conditions(slot)
            case Word(what):
                yield from self._words(what)

    # --- the words of the language ---

    def _attributes(self, kind: str, given: frozenset[str]) -> Iterator[Item]:
        for name, entry in BLOCKS[kind].entries.items():
            if name not in given:
                doc = attribute_doc(kind, name)
                yield Item(name, "attribute", entry.type.one, doc, f"{name} = ", 0 if entry.required else 1)
        if kind == "curriculum":
            yield Item("stage", "keyword", doc=MEANINGS["stage"])
        if kind == "stage":
            for item in self._named("rule"):
                yield Item(
                    f"{item.label}.factor", "attribute", "a number or a ramp", None, f"{item.label}.factor = ", 2
                )

    def _words(self, what: str) -> Iterator[Item]:
        match what:
            case "type":
                kinds = PARAMETER_TYPES if self._where.head == "frame" else LET_TYPES
                yield from (Item(name, "word", kind.one) for name, kind in kinds.items())
            case "relation":
                yield from (Item(word, "word") for word in RELATIONS)
                yield Item("->", "keyword", doc=MEANINGS["like"])
            case "as":
                yield Item("as", "keyword", doc=MEANINGS["as"])
            case "frame" | "source":
                yield from self._named(what)
            case "format":
                yield from (function(name) for name in FORMATS)
            case "claim":
                yield function("coverage")
                yield Item("trained", "keyword", doc=MEANINGS["trained"])

    def _arguments(self, slot: Arguments) -> Iterator[Item]:
        entries = dict(slot.table.entries) if slot.table is not None else {}
        if slot.table is None and self._where.head == "use":
            yield from self._parameters(slot)
            return
        for name, entry in entries.items():
            if name not in slot.given and not entry.variadic:
                yield Item(
                    f"{name}:", "attribute", entry.type.one, described(entry), f"{name}: ", 0 if entry.keyword else 2
                )
        if slot.entry is not None:
            yield from self._values(slot.entry)

    def _parameters(self, slot: Arguments) -> Iterator[Item]:
        found = self._env.lookup(_chain(slot.callee.split("."), self._env.file))
        if found is not None and isinstance(found.item, ast.Frame):
            for one in found.item.parameters:
                if one.name.name not in slot.given:
                    yield Item(f"{one.name.name}:", "attribute", one.type.name, None, f"{one.name.name}: ")
        yield from self._named("span", "concept", "constant")

    def _values(self, entry: Entry) -> Iterator[Item]:
        yield from (Item(word, "word") for word in entry.words)
        yield from self._constants(entry.type)
        match entry.type:
            case Type.BOOL:
                yield from (Item(word, "word") for word in ("true", "false"))
            case Type.SPAN:
                yield from self._spans()
            case Type.CONCEPT:
                yield from self._named("concept")
            case Type.RULE | Type.RULES:
                yield from self._named("rule")
            case Type.LAYERS | Type.DEPTH:
                yield from self._layers()
            case Type.HEADS:
                yield from (Item(word, "word") for word in HEAD_WORDS)
                yield from self._numbered(0, self._state.contract.heads if self._state.contract else 0, "head")
            case Type.PAIRS:
                yield function("heads")
            case Type.ANCHOR:
                yield from (function(name) for name in ANCHOR_KINDS)
            case Type.OVERFLOW:
                yield from (Item(word, "word") for word in OVERFLOWS)
            case Type.SPLIT:
                yield function("hash")
            case Type.TARGET:
                yield from (
                    Item(f"{item.label}.anchor", "concept", item.detail, item.doc) for item in self._named("concept")
                )
            case Type.MAP:
                yield from (function(name) for name in MAPS)
            case Type.TOKEN:
                yield function("next")
            case Type.RAMP:
                yield function("ramp")
            case Type.SCORE | Type.ORDER | Type.FACTOR:
                yield function("measure")
                if entry.type is not Type.ORDER:
                    yield Item("live.loss", "word", "the training model's own", rank=1)
            case Type.MIX:
                yield from self._named("source")
            case Type.LABEL:
                yield from self._data_attributes((self._where.owner,) if self._where.owner else ())
        if entry.type in READ:
            yield from self._fields(())

    # --- the names of the spec ---

    def _named(self, *nouns: str) -> Iterator[Item]:
        for name, found in self._env.declarations(*nouns):
            kind = KINDS.get(found.noun, "name")
            yield Item(name, kind, found.noun, getattr(found.item, "doc", None), rank=0 if "." not in name else 1)

    def _spans(self) -> Iterator[Item]:
        yield from self._named("span")
        for item in self._named("concept"):
            found = self._env.lookup(_chain(item.label.split("."), self._env.file))
            if (
                found is not None
                and (concept := self._state.concepts.get(found)) is not None
                and concept.spans is not None
            ):
                yield item
        yield from (Item(name, "span", "prelude", MEANINGS[name], rank=1) for name in PRELUDE_SETS)
        yield from (function(name, rank=2) for name in SELECTORS)

    def _constants(self, kind: Type | None) -> Iterator[Item]:
        for name, found in self._env.declarations("constant", "parameter"):
            stated = stated_type(found)
            if kind is None or stated is None or stated is kind:
                value = self._state.value(found)
                shown = " ".join(value.expr.place.text.split()) if value is not None else "parameter"
                yield Item(f"${name}", "constant", shown[:60], getattr(found.item, "doc", None), rank=1)
        yield from (Item(f"${name}", "constant", "parameter", rank=2) for name in self._where.parameters)

    def _layers(self) -> Iterator[Item]:
        contract = self._state.contract
        top = contract.layers if contract is not None else 0
        for share in (25, 50, 75, 100):
            detail = f"layer {max(1, int(share * top / 100 + 0.5))}" if top else ""
            yield Item(f"{share}%", "value", detail)
        yield Item("-1", "value", "the last block")
        yield Item("final", "word", "after the final norm", MEANINGS["final"])
        yield from self._numbered(0, top + 1, "layer")

    def _numbered(self, start: int, stop: int, noun: str) -> Iterator[Item]:
        model = self._state.model_name or "the model"
        for number in range(start, min(stop, NUMBERED)):
            yield Item(str(number), "value", f"{noun} of {model}", rank=3)

    # --- conditions ---

    def _conditions(self, slot: Condition) -> Iterator[Item]:
        if slot.join:
            yield from (Item(name, "word", "the span", MEANINGS[name]) for name in ("query", "key"))
        else:
            yield from (Item(name, "attribute", "built in") for name in (*BUILT_INS, *STEPS))
            yield from self._data_attributes(slot.named)
        yield from (function(name, rank=2) for name in CONDITIONS)
        yield from self._constants(None)
        yield from (
            Item(word, "keyword", doc=MEANINGS[word], rank=3) for word in ("and", "or", "not", "in", "before", "after")
        )

    def _data_attributes(self, names: Iterable[str]) -> Iterator[Item]:
        """The attributes that the spans of some names have by the data."""
        sets = [spans for name in names if (spans := self._spans_of(name)) is not None]
        found = {key for spans in sets for key in self._data.attributes(spans)}
        yield from (Item(key, "attribute", "of the data") for key in sorted(found))

    def _spans_of(self, name: str) -> c.SpanSet | None:
        found = self._env.lookup(_chain(name.lstrip("$").split("."), self._env.file))
        if found is None:
            return None
        if (spans := self._state.spans.get(found)) is not None:
            return spans
        if (concept := self._state.concepts.get(found)) is not None:
            return concept.spans
        if isinstance(found.item, ast.Attend | ast.Signal | ast.Weigh | ast.Keep):
            subject = found.item.query if isinstance(found.item, ast.Attend) else found.item.subject
            return self._spans_of(subject.name) if isinstance(subject, ast.Name) else None
        known: c.SpanSet | None = self._state.known.get((found, Type.SPAN))
        return known

    def _fields(self, path: Sequence[str], dot: str = ".") -> Iterator[Item]:
        """The fields of the records, or of what `path` leads to in them."""
        for key, value in self._data.fields(path).items():
            label = key if key.isidentifier() else f'"{key}"'
            yield Item(f"{dot}{label}", "field", _shown(value), rank=1)

    # --- behind a dot ---

    def _after_dot(self, base: tuple[str, ...], slot: Slot) -> Iterator[Item]:
        if base[0].startswith("."):
            steps = [name.removeprefix(".").strip('"') for name in base if name != "."]
            yield from self._fields(steps, dot="")
            return
        names = [name.removeprefix(".") for name in base if name != "."]
        if isinstance(slot, Condition) and slot.join and names[0] in ("query", "key"):
            yield from (Item(name, "attribute", "built in") for name in (*BUILT_INS, *STEPS))
            yield from self._data_attributes(slot.query if names[0] == "query" else slot.key)
            return
        if isinstance(slot, Attribute) and slot.kind == "stage":
            yield Item("factor", "attribute", "a number or a ramp", None, "factor = ")
        expr = _chain(names, self._env.file)
        opened = self._env.opened(expr)
        if opened is not None:
            for name, found in self._state.names[opened].items():
                if not name.startswith("_") and _fits(found, slot):
                    yield Item(name, KINDS.get(found.noun, "name"), found.noun, getattr(found.item, "doc", None))
            return
        named = self._env.lookup(expr)
        if named is not None and named.noun == "concept":
            yield Item("anchor", "attribute", "its direction in the hidden space")
        yield from (Item(step, "attribute", "tokens of a span") for step in STEPS)

    # --- in a string ---

    def _in_string(self, typed: str, slot: Slot) -> Iterator[Item]:
        if self._where.head == "import":
            yield from self._paths(typed, (".mcd",))
        entry = slot.entry if isinstance(slot, Value | Arguments) else None
        if entry is None:
            return
        if entry.type is Type.TEMPLATE and typed.rfind("{") > typed.rfind("}"):
            yield from self._fields((), dot=f"{typed[: typed.rfind('{') + 1]}.")
        elif entry.type in (Type.PATH, Type.WEIGHTS) or (isinstance(slot, Arguments) and slot.callee in FORMATS):
            yield from self._paths(typed, ())

    def _paths(self, typed: str, suffixes: tuple[str, ...]) -> Iterator[Item]:
        """Files and folders that start with what is typed, below the project root."""
        lead = typed[: typed.rfind("/") + 1]
        folder = Path(os.path.realpath(self._env.file.path.parent / lead))
        if "\0" in typed or not folder.is_relative_to(self._state.loaded.root) or not folder.is_dir():
            return
        with suppress(OSError), os.scandir(folder) as entries:
            for _, entry in zip(range(MOST_PATHS), entries, strict=False):
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    yield Item(f"{lead}{entry.name}/", "folder", rank=1)
                elif not suffixes or entry.name.endswith(suffixes):
                    yield Item(f"{lead}{entry.name}", "file")


READ = (Type.FIELD, Type.TEMPLATE, Type.SPLIT, Type.TARGET, Type.LABEL, Type.FACTOR, Type.TOKEN)
"""Types of which a field of the record is a value."""

KINDS: Mapping[str, ItemKind] = {
    "span": "span",
    "concept": "concept",
    "rule": "rule",
    "constant": "constant",
    "parameter": "constant",
}


def _fits(found: Declaration, slot: Slot) -> bool:
    """Whether a name may stand in a slot, as far as that is known."""
    kind = slot.entry.type if isinstance(slot, Value | Arguments) and slot.entry is not None else None
    wanted = {
        Type.SPAN: ("span", "concept"),
        Type.CONCEPT: ("concept",),
        Type.TARGET: ("concept",),
        Type.RULES: ("rule",),
    }
    nouns = (
        wanted.get(kind)
        if kind is not None
        else ("frame",)
        if isinstance(slot, Word) and slot.what == "frame"
        else None
    )
    return nouns is None or found.noun in (*nouns, "used frame")


def _chain(names: Sequence[str], file: File) -> ast.Name | ast.Member:
    """`alias.name` as an expression that stands nowhere."""
    expr: ast.Name | ast.Member = ast.Name(names[0].lstrip("$"), file.spec.place)
    for name in names[1:]:
        expr = ast.Member(expr, name, file.spec.place)
    return expr


def _shown(value: object) -> str:
    """What a field holds, in a few characters."""
    text = "".join(f"{value!r}"[:60].splitlines())
    return text if len(text) < 60 else f"{text[:57]}..."
