"""Sources: where records come from, which split each is in, and the text it renders to. They stand in the root file alone."""

from __future__ import annotations

import glob
import json
import math
import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, Literal, cast

from .. import ast
from .. import checked as c
from ..codes import names as name_codes
from ..codes import values as codes
from ..diagnostics import did_you_mean
from ..load import MAX_FILES, confine, near_files
from ..vocabulary import FORMAT_TEXTS, FORMATS, Entry, Type
from .blocks import Given, read_block, read_call
from .env import Env, Reported, header, shown
from .values import choice, describe, field_path, listed_once, mismatch, reads, text_of

MAX_DATA_FILES = 100 * MAX_FILES
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
    form, files, records = _value(env, item)
    if form == "inline":
        keys = frozenset[str]().union(*(json.loads(record) for record in records))
        env.state.fields[item.name.name] = keys
    split = given["split"] or c.ConstantSplit("train")
    text = _text(env, item, form, given)
    return c.Source(item.name.name, form, files, records, given["id"], split, text, item.name.place)


def read_without_block(env: Env, item: ast.Source) -> c.Source | None:
    """A source by its value alone, for who wants its records while the block is not written yet; None without a good value."""
    with suppress(Reported):
        form, files, records = _value(env, item)
        return c.Source(
            item.name.name, form, files, records, None, c.ConstantSplit("train"), c.Template(()), item.name.place
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


def _value(env: Env, item: ast.Source) -> tuple[Format, tuple[Path, ...], tuple[str, ...]]:
    """Format, files and inline records of a source."""
    env, expr = env.unwrap(item.value)
    match expr:
        case ast.List(records):
            if not records:
                raise env.fail(name_codes.NO_MATCH.at(expr.place, f"source `{item.name.name}` has no records"))
            return "inline", (), tuple(_record(env, record) for record in records)
        case ast.Call(ast.Name(name) as callee):
            if name not in FORMATS:
                near = did_you_mean(name, FORMATS)
                raise env.fail(
                    name_codes.UNKNOWN_FUNCTION.at(callee.place, f"no format `{name}` of a source", help=near)
                )
            patterns = read_call(env, expr, name, FORMATS[name])["files"]
            if not patterns:
                raise env.fail(name_codes.MISSING_ARGUMENT.at(expr.place, f"`{name}` lacks the files to read"))
            return cast(Format, name), _files(env, patterns), ()
    known = choice([f"{name}(...)" for name in FORMATS])
    message = f"expected {known} or a list of records, found {describe(env, expr)}"
    raise env.fail(codes.WRONG_TYPE.at(expr.place, message))


# --- files -----------------------------------------------------------------------------------------------------------


def _files(env: Env, patterns: tuple[ast.String, ...]) -> tuple[Path, ...]:
    """Every file that a pattern matches, resolved, each once, sorted."""
    found: set[Path] = set()
    for pattern in patterns:
        found.update(_matches(env, pattern))
    return tuple(sorted(found))


def _matches(env: Env, pattern: ast.String) -> list[Path]:
    """The files of one pattern. Both the folder it starts from and each match must lie below the root."""
    root, folder, findings = env.state.loaded.root, env.file.path.parent, env.state.findings
    fixed = Path(*_before_wildcard(pattern.value))
    varying = Path(pattern.value).parts[len(fixed.parts) :]
    if ".." in varying:
        raise env.fail(name_codes.OUTSIDE_ROOT.at(pattern.place, f"`{pattern.value}` goes up after a wildcard"))
    if any("**" in part and part != "**" for part in varying):
        alone = "`**` stands for any folders, alone between two `/`"
        raise env.fail(name_codes.NO_MATCH.at(pattern.place, f"`{pattern.value}` matches no file", help=alone))
    start = confine(str(fixed), pattern.place, folder, root, findings)
    if start is None:
        raise Reported
    if start.is_file():
        return [start]
    paths = start.glob("/".join(varying)) if varying and start.is_dir() else ()
    found = list(islice((path for path in paths if path.is_file()), MAX_DATA_FILES + 1))
    if len(found) > MAX_DATA_FILES:
        message = f"`{pattern.value}` matches more than {MAX_DATA_FILES} files"
        raise env.fail(name_codes.TOO_MANY_FILES.at(pattern.place, message))
    if not found:
        help = None if varying else near_files(start)
        raise env.fail(name_codes.NO_MATCH.at(pattern.place, f"`{pattern.value}` matches no file", help=help))
    resolved = [confine(str(path), pattern.place, folder, root, findings) for path in found]
    if None in resolved:
        raise Reported
    return [path for path in resolved if path is not None]


def _before_wildcard(pattern: str) -> Iterator[str]:
    """The parts of a pattern in front of its first wildcard."""
    for part in Path(pattern).parts:
        if glob.has_magic(part):
            return
        yield part


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
