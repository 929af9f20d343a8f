"""Sources: where records come from, which split each is in, and the text it renders to. They stand in the root file alone."""

from __future__ import annotations

import json
import math
import re
from contextlib import suppress
from typing import Any, Literal, cast

from .. import ast
from .. import checked as c
from ..codes import names as name_codes
from ..codes import values as codes
from ..diagnostics import did_you_mean
from ..vocabulary import FORMAT_TEXTS, FORMATS, Entry, Type
from .blocks import Given, read_block, read_call
from .env import Env, Reported, header, shown
from .files import Files, matching
from .values import choice, describe, field_path, listed_once, mismatch, reads, text_of

_SPLIT_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_CONSTANTS = {"true": True, "false": False, "null": None}


def check_sources(env: Env) -> None:
    """Fill the state's sources from the root file."""
    items = [item for item in env.file.spec.items if isinstance(item, ast.Source)]
    for item in items:
        with suppress(Reported):
            env.state.sources[item.name.name] = _source(env, item)
    env.state.sources_failed = not items or len(env.state.sources) < len(items) or env.file.broken
    if not (items or env.file.broken or env.state.module):
        place = header(env.file)
        message = "the spec has no source"
        env.report(
            name_codes.MISSING_DECLARATION.at(
                place, message, help='write `source NAME = jsonl("data.jsonl") { text = .text }`'
            )
        )


def _source(env: Env, item: ast.Source) -> c.Source:
    given = read_block(env, "source", item.block.attributes if item.block else (), item.name.place)
    form, found, records = _value(env, item)
    if form == "inline":
        keys = frozenset[str]().union(*(json.loads(record) for record in records))
        env.state.fields[item.name.name] = keys
    split = given["split"] or c.ConstantSplit("train")
    text = _text(env, item, form, given)
    return c.Source(
        item.name.name,
        form,
        found.paths,
        records,
        given["id"],
        split,
        text,
        item.name.place,
        patterns=found.patterns,
    )


def read_without_block(env: Env, item: ast.Source) -> c.Source | None:
    """A source by its value alone, for who wants its records while the block is not written yet; None without a good value."""
    with suppress(Reported):
        form, found, records = _value(env, item)
        return c.Source(
            item.name.name, form, found.paths, records, None, c.ConstantSplit("train"), c.Template(()), item.name.place
        )
    return None


Format = Literal["jsonl", "parquet", "csv", "arrow", "conllu", "inline"]


def _text(env: Env, item: ast.Source, form: Format, given: Given) -> c.Template | c.Chat:
    """The text of a source: its template, its messages, or a field that records of its format always have."""
    if "chat" not in given:
        if given["text"] is None and form not in FORMAT_TEXTS:
            raise env.fail(name_codes.MISSING_ATTRIBUTE.at(item.name.place, "this `source` lacks `text` or `chat`"))
        return given["text"] or c.Template((FORMAT_TEXTS[form],))
    if "text" in given:
        message = "`text` cannot stand with `chat`, which says what the text is"
        raise env.fail(codes.ATTRIBUTES_CLASH.at(given.written["text"].name_place, message))
    if env.state.chat is None:
        if env.state.chat_failed:
            raise Reported
        message = f"source `{item.name.name}` holds messages, and no model names a chat template"
        help = 'write `chat = "tokenizer_config.json"` in `model`'
        raise env.fail(codes.NO_CHAT_TEMPLATE.at(given.written["chat"].name_place, message, help=help))
    return c.Chat(given["chat"], env.state.chat)


def _value(env: Env, item: ast.Source) -> tuple[Format, Files, tuple[str, ...]]:
    """Format, files and inline records of a source."""
    env, expr = env.unwrap(item.value)
    match expr:
        case ast.List(records):
            if not records:
                raise env.fail(name_codes.NO_MATCH.at(expr.place, f"source `{item.name.name}` has no records"))
            return "inline", Files(), tuple(_record(env, record) for record in records)
        case ast.Call(ast.Name(name) as callee):
            if name not in FORMATS:
                near = did_you_mean(name, FORMATS)
                raise env.fail(
                    name_codes.UNKNOWN_FUNCTION.at(callee.place, f"no format `{name}` of a source", help=near)
                )
            patterns = read_call(env, expr, name, FORMATS[name])["files"]
            if not patterns:
                raise env.fail(name_codes.MISSING_ARGUMENT.at(expr.place, f"`{name}` lacks the files to read"))
            return cast(Format, name), matching(env, patterns), ()
    known = choice([f"{name}(...)" for name in FORMATS])
    message = f"expected {known} or a list of records, found {describe(env, expr)}"
    raise env.fail(codes.WRONG_TYPE.at(expr.place, message))


# --- inline records --------------------------------------------------------------------------------------------------


def _record(env: Env, expr: ast.Expr) -> str:
    """An inline record as JSON."""
    env, expr = env.unwrap(expr)
    if not isinstance(expr, ast.Map):
        message = f'expected a record like `{{text: "..."}}`, found {describe(env, expr)}'
        raise env.fail(codes.WRONG_TYPE.at(expr.place, message))
    return json.dumps(_json(env, expr), ensure_ascii=False, separators=(",", ":"))


def _json(env: Env, expr: ast.Expr) -> Any:
    env, expr = env.unwrap(expr)
    match expr:
        case ast.String(value):
            return value
        case ast.Number(value):
            return value
        case ast.Unary("-", ast.Number(value)):
            return -value
        case ast.Name(name) if name in _CONSTANTS:
            return _CONSTANTS[name]
        case ast.List(items):
            return [_json(env, item) for item in items]
        case ast.Map(entries):
            return _object(env, entries)
    message = f"expected a string, a number, a list or a map in a record, found {describe(env, expr)}"
    raise env.fail(codes.WRONG_TYPE.at(expr.place, message))


def _object(env: Env, entries: tuple[tuple[ast.Expr, ast.Expr], ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in entries:
        name = text_of(key)
        if name is None:
            raise env.fail(
                codes.WRONG_TYPE.at(key.place, f"expected a name or a string as a key, found {describe(env, key)}")
            )
        listed_once(env, key, name, found)
        found[name] = _json(env, value)
    return found


# --- splits ----------------------------------------------------------------------------------------------------------


@reads(Type.SPLIT)
def _split(env: Env, expr: ast.Expr, entry: Entry) -> c.Split:
    """`hash(train: 90%, valid: 10%)`, a field, or a name in quotes."""
    path = field_path(expr)
    if path is not None:
        return c.FieldSplit(path)
    match expr:
        case ast.String(value):
            if not _SPLIT_NAME.fullmatch(value):
                message = f"`{value}` cannot name a split: letters, digits, `_`, `-` and `.` can"
                raise env.fail(codes.OUT_OF_BOUNDS.at(expr.place, message))
            return c.ConstantSplit(value)
        case ast.Call(ast.Name("hash")):
            return c.HashSplit(_shares(env, expr))
    raise mismatch(env, expr, entry, help='write `hash(train: 90%, valid: 10%)`, `.field` or `"train"`')


def _shares(env: Env, call: ast.Call) -> tuple[tuple[str, float], ...]:
    shares: dict[str, float] = {}
    for argument in call.arguments:
        view, value = env.unwrap(argument.value)
        if argument.label is None or not isinstance(value, ast.Percent):
            message = f"expected `NAME: SHARE%` because `hash` takes shares of splits, found {describe(view, value)}"
            raise env.fail(codes.WRONG_TYPE.at(argument.place, message))
        if value.value <= 0:
            raise env.fail(codes.OUT_OF_BOUNDS.at(value.place, f"a share must be above 0%, found `{shown(value)}`"))
        listed_once(env, argument.value, argument.label, shares)
        shares[argument.label] = value.value / 100
    total = math.fsum(shares.values())
    if abs(total - 1) > 1e-9:
        raise env.fail(codes.BAD_SHARES.at(call.place, f"the shares add up to {total * 100:g}%, expected 100%"))
    return tuple(shares.items())
