"""What each selector builds from its arguments. A new one is an entry in `vocabulary.SELECTORS` and one here."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .. import ast, patterns
from .. import checked as c
from ..codes import model as model_codes
from ..codes import names as name_codes
from ..codes import values as codes
from ..diagnostics import did_you_mean
from ..source import Place
from .env import Env, on_trial
from .tokenizer import special_tokens
from .values import check_field

Builder = Callable[[Env, ast.Call, Mapping[str, Any]], c.SpanSet]


def _phrases(env: Env, call: ast.Call, given: Mapping[str, Any]) -> c.SpanSet:
    """Literal phrases, each once and sorted: their order says nothing."""
    found: set[str] = set()
    for phrase in given["phrases"]:
        if not phrase.value.strip():
            raise env.fail(codes.EMPTY_PHRASE.at(phrase.place, "a phrase has no character to match"))
        found.add(phrase.value)
    if given["file"] is not None:
        found.update(_phrase_file(env, call, given["file"]))
    elif not found:
        raise env.fail(name_codes.MISSING_ARGUMENT.at(call.place, "`phrases` lacks its phrases"))
    return c.Phrases(tuple(sorted(found)), given["ignore_case"], given["words"])


def _phrase_file(env: Env, call: ast.Call, path: Path) -> set[str]:
    """One phrase per line, without outer white space; blank lines say nothing."""
    env.state.read.add(path)
    place = _argument(call, "file").place
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise env.fail(name_codes.UNREADABLE_FILE.at(place, f"`{path.name}` is no UTF-8 text: {error}")) from None
    found = {line.strip() for line in lines if line.strip()}
    if not found:
        raise env.fail(codes.EMPTY_PHRASE.at(place, f"`{path.name}` has no phrase"))
    return found


def _regex(env: Env, call: ast.Call, given: Mapping[str, Any]) -> c.SpanSet:
    """A pattern that the linear-time engine takes. A match of no character is no span, so a pattern may match it."""
    pattern: ast.String = given["pattern"]
    if not pattern.value:
        raise env.fail(codes.BAD_PATTERN.at(pattern.place, "the pattern is empty"))
    try:
        patterns.compiled(pattern.value, given["ignore_case"])
    except patterns.PatternRefused as error:
        reason = str(error)
        help = "the engine is linear-time: it has no look-around and no back-references"
        message = f"the pattern is refused: {reason}"
        raise env.fail(
            codes.BAD_PATTERN.at(pattern.place, message, help=help if _BEYOND.search(reason) else None)
        ) from None
    return c.Regex(pattern.value, given["ignore_case"])


_BEYOND = re.compile(r"\(\?|escape")


def _offsets(env: Env, call: ast.Call, given: Mapping[str, Any]) -> c.SpanSet:
    """Spans by their offsets in a slot. Where a template is one field alone, `of` may be left out."""
    of: c.FieldPath | None = given["of"]
    check_field(env, given["path"], _argument(call, "path"))
    if of is not None:
        _check_slot(env, of, _argument(call, "of").place)
    else:
        of = _only_slot(env, call, given["path"])
    return c.Offsets(given["path"], of, given["rename"])


def _only_slot(env: Env, call: ast.Call, path: c.FieldPath) -> c.FieldPath | None:
    """The slot that offsets are counted in where none is given: None where every template is its one field and nothing else."""
    fields = env.state.fields
    applies = [source for source in _sources(env) if path[0] in fields.get(source.name, path)]
    _refuse_messages(env, call, applies)
    found = {source.text.slots for source in applies}
    many = next((source for source in applies if len(source.text.slots) > 1), None)
    if many is not None and (many.name in fields or all(len(paths) > 1 for paths in found)):
        message = f"`offsets` needs `of:`, since the template of `{many.name}` has several fields"
        choices = " or ".join(f"`of: {_written(path)}`" for path in dict.fromkeys(many.text.slots))
        raise env.fail(codes.OFFSETS_OF.at(call.place, message, help=f"say {choices}"))
    if all(isinstance(source.text, c.Template) and len(source.text.parts) == 1 for source in applies):
        return None
    if len(found) == 1:
        return next(iter(found))[0]
    message = "`offsets` needs `of:`, since sources render the field differently"
    help = "say `of: .name`, or which source it is about: `span NAME of SOURCE = ...`"
    raise env.fail(codes.OFFSETS_OF.at(call.place, message, help=help))


def _refuse_messages(env: Env, call: ast.Call, applies: list[c.Source]) -> None:
    """Fail where offsets would be counted in a rendered chat, of which nobody knows the coordinates."""
    for source in applies:
        if isinstance(source.text, c.Chat):
            message = f"`offsets` needs `of:`, since a chat template renders the messages of `{source.name}`"
            help = f"say `of: {_written(source.text.path)}`; entries name their `message` by its number"
            raise env.fail(codes.OFFSETS_OF.at(call.place, message, help=help))


def _slot(env: Env, call: ast.Call, given: Mapping[str, Any]) -> c.SpanSet:
    _check_slot(env, given["path"], _argument(call, "path").place)
    return c.Slot(given["path"])


def _markup(env: Env, call: ast.Call, given: Mapping[str, Any]) -> c.SpanSet:
    """A slot that is marked up, whoever reads the set: its marks leave the text."""
    path: c.FieldPath = given["path"]
    place = _argument(call, "path").place
    _check_slot(env, path, place)
    for source in _sources(env):
        if isinstance(source.text, c.Chat) and source.text.path == path:
            message = f"`{_written(path)}` of source `{source.name}` holds messages, and `markup` reads a text"
            raise env.fail(codes.WRONG_TYPE.at(place, message))
    if not on_trial(env.file):
        env.state.marked.add((env.of, path))
    return c.Markup(path)


def _special(env: Env, call: ast.Call, given: Mapping[str, Any]) -> c.SpanSet:
    """Tokens by the names that the tokenizer gives them, each once and sorted: their order says nothing."""
    names: tuple[ast.String, ...] = given["tokens"]
    if not names:
        raise env.fail(name_codes.MISSING_ARGUMENT.at(call.place, "`special` lacks the names of its tokens"))
    known = _special_tokens(env)
    for name in names:
        if known is not None and name.value not in known:
            message = f"the tokenizer has no special token `{name.value}`"
            raise env.fail(model_codes.NO_SUCH_TOKEN.at(name.place, message, help=did_you_mean(name.value, known)))
    return c.Special(tuple(sorted({name.value for name in names})))


def _special_tokens(env: Env) -> frozenset[str] | None:
    """The special tokens of the model's tokenizer, read once; None where they are not known."""
    if env.state.model is None:
        return None
    path = env.state.model.tokenizer
    if path not in env.state.special_tokens:
        env.state.special_tokens[path] = special_tokens(path)
    return env.state.special_tokens[path]


def _check_slot(env: Env, path: c.FieldPath, place: Place) -> None:
    """Fail on a slot that no template has, or that one has twice."""
    sources = _sources(env)
    known = [slot for source in sources for slot in source.text.slots]
    written = _written(path)
    if sources and path not in known:
        near = did_you_mean(written, map(_written, known))
        whose = f"the template of `{env.of}` has" if env.of else "no template has"
        raise env.fail(
            name_codes.UNKNOWN_FIELD.at(place, f"{whose} {'no' if env.of else 'a'} slot `{written}`", help=near)
        )
    twice = next((source for source in sources if source.text.slots.count(path) > 1), None)
    if twice is not None:
        message = f"`{written}` stands twice in the template of `{twice.name}`, so that it names no one place"
        raise env.fail(codes.LISTED_TWICE.at(place, message))


def _argument(call: ast.Call, name: str) -> ast.Expr:
    """The argument called `name`; the first one, where it has no label."""
    return next((given.value for given in call.arguments if given.label == name), call.arguments[0].value)


def _sources(env: Env) -> list[c.Source]:
    """The sources that a declaration applies to; empty where one of them failed, so that nothing can be said."""
    if env.state.sources_failed:
        return []
    return [source for source in env.state.sources.values() if env.of in (None, source.name)]


def _written(path: c.FieldPath) -> str:
    return "".join(f".{step}" if step.isidentifier() else f'."{step}"' for step in path)


def _take(end: Any) -> Builder:
    def build(env: Env, call: ast.Call, given: Mapping[str, Any]) -> c.SpanSet:
        return c.Take(given["spans"], end, given["count"])

    return build


def _predicting(env: Env, call: ast.Call, given: Mapping[str, Any]) -> c.SpanSet:
    return c.Predicting(given["spans"])


BUILDERS: Mapping[str, Builder] = {
    "phrases": _phrases,
    "regex": _regex,
    "offsets": _offsets,
    "slot": _slot,
    "markup": _markup,
    "special": _special,
    "first": _take("first"),
    "last": _take("last"),
    "predicting": _predicting,
}
