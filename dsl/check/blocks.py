"""Reading a block or a call by its table: names are known, given once, and complete; values have their types."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from .. import ast
from ..codes import names as codes
from ..codes import values as value_codes
from ..diagnostics import Edit, Fix, Related, did_you_mean
from ..source import Place
from ..vocabulary import BLOCKS, Entry, Table
from .env import Env, Reported
from .values import choice, read


@dataclass(frozen=True, slots=True)
class Given:
    """The values of a block, defaults included, and the attributes that were written.

    Asking for a value that could not be read, or is missing, raises `Reported`.
    """

    values: Mapping[str, Any]
    written: Mapping[str, ast.Attribute]

    def __getitem__(self, name: str) -> Any:
        if name not in self.values:
            raise Reported
        return self.values[name]

    def __contains__(self, name: str) -> bool:
        return name in self.written

    def place(self, name: str) -> Place:
        """Where the value of an attribute stands."""
        return self.written[name].value.place


def read_block(
    env: Env, kind: str, attributes: tuple[ast.Attribute, ...], owner: Place, table: Table | None = None
) -> Given:
    """The values of a block of `kind`, whose table another may replace. `owner` is where a missing attribute is reported."""
    table = BLOCKS[kind] if table is None else table
    values: dict[str, Any] = {entry.name: entry.default for entry in table.entries.values() if not entry.required}
    written: dict[str, ast.Attribute] = {}
    for attribute in attributes:
        with suppress(Reported):
            entry = _known(env, table, kind, attribute, written)
            written[entry.name] = attribute
            values.pop(entry.name, None)
            values[entry.name] = read(env, attribute.value, entry)
    _check_complete(env, table, kind, written, owner)
    return Given(values, written)


def _known(env: Env, table: Table, kind: str, attribute: ast.Attribute, written: Mapping[str, ast.Attribute]) -> Entry:
    """The entry of an attribute; fails on one that is repeated or unknown."""
    name = ".".join(attribute.path)
    if name not in table.entries:
        near = did_you_mean(name, table.entries)
        raise env.fail(
            codes.UNKNOWN_ATTRIBUTE.at(attribute.name_place, f"`{kind}` has no attribute `{name}`", help=near)
        )
    once(env, name, attribute, written)
    return table.entries[name]


def once(env: Env, name: str, attribute: ast.Attribute, written: Mapping[str, ast.Attribute]) -> None:
    """Fail on an attribute that was `written` before, showing both."""
    if name in written:
        first = Related(written[name].name_place, "first given here")
        message = f"`{name}` is given twice"
        fixes = [_removal(attribute)] if attribute.value == written[name].value else []
        place = attribute.name_place
        raise env.fail(codes.REPEATED_ATTRIBUTE.at(place, message, related=[first], fixes=fixes))


def _removal(attribute: ast.Attribute) -> Fix:
    """Takes out an attribute with the blanks before it, and its line where it stands there alone."""
    text, start, end = attribute.place.source.text, attribute.place.start, attribute.place.end
    while start > 0 and text[start - 1] in " \t":
        start -= 1
    alone = start > 0 and text[start - 1] == "\n" and text[end : end + 1] in ("\n", "")
    place = Place(attribute.place.source, start - alone, end)
    return Fix(f"remove the second `{'.'.join(attribute.path)}`", (Edit(place, ""),))


def _check_complete(env: Env, table: Table, kind: str, written: Mapping[str, ast.Attribute], owner: Place) -> None:
    """Report required attributes that are missing, and those that stand without one that they belong to."""
    for entry in table.entries.values():
        if entry.gives_way in written:
            if entry.name in written:
                message = f"`{entry.name}` cannot stand with `{entry.gives_way}`, which says both"
                env.report(value_codes.ATTRIBUTES_CLASH.at(written[entry.name].name_place, message))
        elif entry.required and entry.name not in written:
            env.report(codes.MISSING_ATTRIBUTE.at(owner, f"this `{kind}` lacks `{entry.name}`"))
        if entry.name in written and entry.needs and not any(name in written for name in entry.needs):
            message = f"`{entry.name}` belongs to {choice(entry.needs)}, which this `{kind}` lacks"
            env.report(value_codes.ATTRIBUTES_CLASH.at(written[entry.name].name_place, message))


def read_call(env: Env, call: ast.Call, name: str, table: Table) -> dict[str, Any]:
    """The arguments of a call by parameter, defaults included."""
    values: dict[str, Any] = {entry.name: () if entry.variadic else entry.default for entry in table.entries.values()}
    positional = [entry for entry in table.entries.values() if not entry.keyword]
    given: set[str] = set()
    complete = True
    for argument in call.arguments:
        with suppress(Reported):
            entry = parameter(env, argument, name, table, positional, given)
            given.add(entry.name)
            value = read(env, argument.value, entry)
            values[entry.name] = (*values[entry.name], value) if entry.variadic else value
            continue
        complete = False
    for entry in table.entries.values():
        if entry.required and entry.name not in given and complete:
            env.report(
                codes.MISSING_ARGUMENT.at(call.place, f"`{name}` lacks its argument `{entry.name}`, {entry.type.one}")
            )
            complete = False
    if not complete:
        raise Reported
    return values


def parameter(
    env: Env, argument: ast.Argument, name: str, table: Table, positional: list[Entry], given: set[str]
) -> Entry:
    """The entry that an argument of `name` is for; `given` are those that have one."""
    place = argument.place
    if argument.label is None:
        entry = next((entry for entry in positional if entry.variadic or entry.name not in given), None)
        if entry is None:
            count = (
                f"{len(positional)} argument{'s' * (len(positional) != 1)} without a label"
                if positional
                else "labelled arguments alone"
            )
            raise env.fail(codes.UNKNOWN_ARGUMENT.at(place, f"`{name}` takes {count}"))
        return entry
    entry = table.entries.get(argument.label)
    if entry is None or entry.variadic:
        near = did_you_mean(argument.label, table.entries)
        raise env.fail(codes.UNKNOWN_ARGUMENT.at(place, f"`{name}` has no argument `{argument.label}`", help=near))
    if entry.name in given:
        raise env.fail(codes.UNKNOWN_ARGUMENT.at(place, f"`{argument.label}` is given twice"))
    return entry
