"""Frames: each `use` becomes an expansion, which the passes after this one read like an imported file.

Two steps. Frames are checked by themselves: what may stand in one, whether every parameter is of a type and of use, that they do
not use each other in a circle, and how much they write out; all this is known without expanding any. Then every `use` of a frame
that passed is expanded, in the order in which it is written, and its arguments become the values of the parameters. A frame
that nothing uses is expanded once on trial, with parameters of unknown value, for what is wrong in it all the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

from .. import ast
from ..codes import names as codes
from ..codes import values as value_codes
from ..diagnostics import Diagnostic, Findings, Related
from ..load import File
from ..vocabulary import PARAMETER_TYPES, REQUIRED, Entry, Table, Type
from .blocks import parameter
from .constants import check_type_name
from .declare import RULES, declare_file, keyword_place
from .env import Declaration, Env, Expansion, Reported, State, Value, on_trial, shown, uses, walk
from .order import declared, sorted_definitions

MAX_NESTING = 100
MAX_SIZE = 10_000
"""How many frames may be written out in each other, and how many declarations those of a spec may be written out to."""

MAX_SHOWN = 4
"""How many uses of a frame a finding shows."""

IN_FRAMES = (*RULES, ast.SpanDecl, ast.Concept, ast.Let, ast.Use)


def expand(state: State) -> None:
    """Fill the state's files, expansions included, with the names of expansions and the values of parameters."""
    sizes = _check_frames(state)
    room = MAX_SIZE - _check_uses(state, sizes)
    expander = _Expander(state, sizes if room >= 0 else {})
    for file in state.loaded.files:
        state.files.append(file)
        expander.follow(file)
    for frame in reversed(sizes):
        if frame not in expander.expanded and sizes[frame] < room:
            room -= sizes[frame]
            expander.open(frame, f"{frame.qualified}.", (), {}, trial=True)


# --- frames by themselves --------------------------------------------------------------------------------------------


def _check_frames(state: State) -> dict[Declaration, int]:
    """The frames that can be expanded, each after those it uses, and how many declarations each is written out to."""
    frames = [found for found in declared(state) if isinstance(found.item, ast.Frame)]
    for found in frames:
        _check_frame(Env(state, found.file), _frame(found))
    sizes: dict[Declaration, int] = {}
    depths: dict[Declaration, int] = {}
    beyond: set[Declaration] = set()
    for found in sorted_definitions(state, frames, lambda frame: _used(state, frame)):
        used = list(_used(state, found))
        inner = [frame for frame in used if frame in sizes]
        depth = 1 + max((depths[frame] for frame in inner), default=0)
        size = 1 + len(_items(found)) + sum(sizes[frame] for frame in inner)
        if depth <= MAX_NESTING and size <= MAX_SIZE and beyond.isdisjoint(used):
            sizes[found], depths[found] = size, depth
            continue
        if beyond.isdisjoint(used):
            _report_beyond(Env(state, found.file), found, depth, size)
        beyond.add(found)
    return sizes


def _report_beyond(env: Env, found: Declaration, depth: int, size: int) -> None:
    place, name = found.ident.place, found.ident.name
    if depth > MAX_NESTING:
        message = f"with frame `{name}`, frames are nested {depth} deep, the limit is {MAX_NESTING}"
        env.report(value_codes.NESTED_TOO_DEEP.at(place, message))
    else:
        message = f"frame `{name}` is written out to {size} declarations, the limit is {MAX_SIZE}"
        env.report(value_codes.TOO_LARGE.at(place, message))


def _check_frame(env: Env, frame: ast.Frame) -> None:
    for item in frame.items:
        kind = type(item).__name__.lower()
        if not isinstance(item, IN_FRAMES):
            message = (
                f"`{kind}` has no meaning in a frame, which holds rules, spans, concepts, constants and uses of frames"
            )
            env.report(codes.NOT_IN_FRAME.at(keyword_place(item), message))
        if isinstance(item, ast.SpanDecl) and item.of is not None:
            message = "`of` has no meaning in a frame, which knows no source"
            help = "restrict a span outside, and pass it"
            env.report(codes.NOT_IN_FRAME.at(item.of.place, message, help=help))
    named = {node.name for node, _ in walk(frame.items) if isinstance(node, ast.Param)}
    for one in frame.parameters:
        check_type_name(env, one.type, "parameter", PARAMETER_TYPES)
        if one.name.name not in named:
            message = f"nothing in frame `{frame.name.name}` names its parameter `${one.name.name}`"
            env.report(codes.UNUSED_PARAMETER.at(one.name.place, message))


def _frame(found: Declaration) -> ast.Frame:
    assert isinstance(found.item, ast.Frame)
    return found.item


def _items(found: Declaration) -> tuple[ast.Item, ...]:
    """What an expansion of a frame declares."""
    return tuple(item for item in _frame(found).items if isinstance(item, IN_FRAMES))


def _used(state: State, found: Declaration) -> Iterator[Declaration]:
    """The frames that a frame uses, as often as it does."""
    return (used for _, used in _uses(Env(state, found.file), _items(found)))


def _uses(env: Env, items: Iterable[ast.Item]) -> Iterator[tuple[ast.Use, Declaration]]:
    """The uses among `items`, with their frames where these are declared."""
    for item in items:
        if isinstance(item, ast.Use):
            used = env.lookup(_target(item))
            if used is not None and isinstance(used.item, ast.Frame):
                yield item, used


def _check_uses(state: State, sizes: Mapping[Declaration, int]) -> int:
    """How many declarations all frames of the spec are written out to; reports the `use` that goes beyond the limit."""
    written = 0
    for file in state.loaded.files:
        env = Env(state, file)
        for item, frame in _uses(env, file.spec.items):
            before, written = written, written + sizes.get(frame, 0)
            if before <= MAX_SIZE < written:
                message = f"up to here, frames are written out to {written} declarations, the limit is {MAX_SIZE}"
                env.report(value_codes.TOO_LARGE.at(item.target.place, message))
    return written


def _target(use: ast.Use) -> ast.Expr:
    """The name of the frame that a `use` names."""
    return use.target.callee if isinstance(use.target, ast.Call) else use.target


# --- expansion -------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Expander:
    """Expands uses. `sizes`: the frames that can be expanded. `expanded`: those that were."""

    state: State
    sizes: dict[Declaration, int]
    expanded: set[Declaration] = field(default_factory=set)

    def follow(self, file: File) -> None:
        """Expand the uses of a file, each with those in it."""
        for item in file.spec.items:
            if isinstance(item, ast.Use) and self.state.names[file][item.alias.name].item is item:
                with suppress(Reported):
                    self._use(Env(self.state, file), item)

    def _use(self, env: Env, item: ast.Use) -> None:
        target = _target(item)
        if not isinstance(target, ast.Name | ast.Param | ast.Member):
            raise Reported
        frame = env.find(target, "frame")
        if frame not in self.sizes:
            raise Reported  # where the frame is declared
        arguments = self._arguments(env, item, frame)
        note = Related(item.target.place, f"`{shown(target)}` is used here")
        chain = (note, *uses(env.file))
        if len(chain) > MAX_SHOWN:
            chain = (*chain[: MAX_SHOWN - 1], chain[-1])
        prefix = f"{env.file.prefix}{item.alias.name}."
        expansion = self.open(frame, prefix, chain, arguments, trial=on_trial(env.file))
        self.state.opened[self.state.names[env.file][item.alias.name]] = expansion

    def open(
        self, frame: Declaration, prefix: str, used: tuple[Related, ...], given: Mapping[str, Value], *, trial: bool
    ) -> Expansion:
        """The expansion of a frame with its names, the values of its parameters, and the expansions in it."""
        self.expanded.add(frame)
        file, item = frame.file, _frame(frame)
        expansion = Expansion(
            path=file.path,
            prefix=prefix,
            source=file.source,
            spec=ast.Spec(file.spec.edition, _items(frame), item.place),
            broken=file.broken,
            frame=frame,
            uses=used,
            trial=trial,
        )
        self.state.files.append(expansion)
        declare_file(self.state, expansion, item.parameters)
        for one in item.parameters:
            default = None if one.default is None else Value(file, one.default)
            value, found = given.get(one.name.name, default), self.state.names[expansion][one.name.name]
            if value is not None and found.item is one:
                self.state.given[found] = value
        self.follow(expansion)
        return expansion

    def _arguments(self, env: Env, use: ast.Use, frame: Declaration) -> dict[str, Value]:
        """The arguments of a `use` by parameter; what is unknown or missing is reported, and shows the frame."""
        parameters, name = _frame(frame).parameters, shown(_target(use))
        table = Table({entry.name: entry for entry in map(_entry, parameters)})
        declared = Env(env.state, env.file, related=(Related(frame.ident.place, f"`{name}` is declared here"),))
        found: dict[str, Value] = {}
        complete = True
        for argument in use.target.arguments if isinstance(use.target, ast.Call) else ():
            try:
                entry = parameter(declared, argument, name, table, list(table.entries.values()), set(found))
                found[entry.name] = Value(env.file, argument.value)
            except Reported:
                complete = False
        for one in parameters if complete else ():
            if one.default is None and one.name.name not in found:
                message = f"`{name}` lacks its argument `{one.name.name}`, {_entry(one).type.one}"
                related = [Related(one.place, f"parameter `{one.name.name}` has no default")]
                env.report(codes.MISSING_ARGUMENT.at(use.target.place, message, related=related))
        return found


def _entry(one: ast.Parameter) -> Entry:
    kind = PARAMETER_TYPES.get(one.type.name, Type.WORD)
    return Entry(one.name.name, kind, REQUIRED if one.default is None else None)


def merge_alike(findings: Findings) -> None:
    """Let what several expansions of a frame find at one place be one finding, which shows where the frame is used."""
    merged: dict[tuple[object, ...], Diagnostic] = {}
    for found in findings.items:
        key = (found.code.id, found.message, found.place)
        first = merged.setdefault(key, found)
        if first is not found:
            related = tuple(dict.fromkeys((*first.related, *found.related)))
            merged[key] = replace(first, related=related[: max(len(first.related), MAX_SHOWN)])
    findings.items[:] = merged.values()
