"""Teachers: other models, each with a contract of its own that its layers are counted against.

A teacher is in this file what `model` is in `model.py`. What is read of one, `NAME.hidden(layer: k)`, `NAME.logits` or
`centroid(NAME, layer: k)`, is read here as well, so that all of them say the same about a teacher that cannot give it.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from .. import ast
from .. import checked as c
from ..codes import model as codes
from ..codes import names as name_codes
from ..contract import Contract, read_contract
from ..diagnostics import Diagnostic, Failure
from ..load import near_files
from ..source import Place
from ..vocabulary import HIDDEN, Entry, Type
from .blocks import Given, read_block, read_call
from .common import clash
from .env import Declaration, Env, Reported, State, shown
from .layers import layers
from .values import describe, mismatch, reads

WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
"""What a folder of weights holds one of."""

READ = ("hidden", "logits")
"""What can be read of a teacher."""


def check_teachers(state: State) -> None:
    """Fill the state's teachers. Takes the model as read, or as failed."""
    for found in [found for names in state.names.values() for found in names.values()]:
        if isinstance(found.item, ast.Teacher):
            state.teachers[found] = None
            with suppress(Reported):
                state.teachers[found] = _teacher(Env(state, found.file), found, found.item)


def _teacher(env: Env, found: Declaration, item: ast.Teacher) -> c.Teacher:
    given = read_block(env, "teacher", item.block.attributes, item.name.place)
    model = env.state.model
    folder: Path | None = given["weights"]
    if model is None or env.state.contract is None:
        raise Reported
    if folder is None:
        return _start(env, found, given, model, env.state.contract)
    contract = _contract(env, given, folder)
    tokenizer: Path = given["tokenizer"] or _own_tokenizer(folder) or model.tokenizer
    teacher = c.Teacher(
        name=found.qualified,
        **{name: getattr(contract, name) for name in _NUMBERS},
        config=given["config"] or folder / "config.json",
        weights=folder,
        tokenizer=tokenizer,
        same_tokenizer=_same(tokenizer, model.tokenizer),
        run=given["run"] or "cached",
        place=item.name.place,
    )
    _check_tokens(env, given, teacher, model)
    return teacher


_NUMBERS = tuple(field.name for field in fields(Contract) if field.name != "windows")


def _start(env: Env, found: Declaration, given: Given, model: c.Model, contract: Contract) -> c.Teacher:
    """The model itself before training: its numbers, and nothing that a block could add."""
    for name in ("config", "tokenizer"):
        if name in given:
            raise clash(
                env, given.written[name].name_place, f"`{name}` cannot stand with `start`, which is the model itself"
            )
    if given["run"] == "cached":
        message = (
            "`start` cannot be cached: the weights that training starts from are not known when the spec is compiled"
        )
        raise env.fail(codes.TEACHER_START.at(given.place("run"), message, help="write `run = online`"))
    numbers = {name: getattr(contract, name) for name in _NUMBERS}
    return c.Teacher(
        name=found.qualified,
        **numbers,
        config=None,
        weights=None,
        tokenizer=model.tokenizer,
        same_tokenizer=True,
        run="online",
        place=found.ident.place,
    )


def _contract(env: Env, given: Given, folder: Path) -> Contract:
    config: Path = given["config"] or folder / "config.json"
    written = given.written["config" if "config" in given else "weights"].value
    if not config.is_file():
        message = f"no file `config.json` in `{folder.name}`"
        raise env.fail(name_codes.NO_FILE.at(written.place, message, help="give the teacher a `config`"))
    try:
        env.state.read.add(config)
        said = written.value if isinstance(written, ast.String) and "config" in given else f"{folder.name}/config.json"
        return read_contract(config, written.place, said)
    except Failure as failure:
        for diagnostic in failure.diagnostics:
            env.report(diagnostic)
        raise Reported from None


def _own_tokenizer(folder: Path) -> Path | None:
    """The tokenizer that lies beside the weights."""
    found = folder / "tokenizer.json"
    return found if found.is_file() else None


def _check_tokens(env: Env, given: Given, teacher: c.Teacher, model: c.Model) -> None:
    """Fail where the teacher cannot read the tokens that it has to."""
    if teacher.run == "online" and not teacher.same_tokenizer:
        message = (
            f"teacher `{teacher.name}` has a tokenizer of its own, and one that runs online reads the model's tokens"
        )
        place = given.place("run")
        raise env.fail(codes.TEACHER_TOKENIZER.at(place, message, help="write `run = cached`"))
    if teacher.same_tokenizer and teacher.positions is not None and teacher.positions < model.context:
        has = f"teacher `{teacher.name}` has {teacher.positions} positions"
        message = f"{has}, the model `{model.name}` a context of {model.context}"
        raise env.fail(codes.TEACHER_POSITIONS.at(teacher.place, message))


def _same(one: Path, other: Path) -> bool:
    """Whether two tokenizer files cut a text alike: they say the same but for truncation and padding, which nobody applies."""
    if one == other:
        return True
    with suppress(OSError, ValueError, RecursionError):
        first, second = (json.loads(path.read_bytes()) for path in (one, other))
        if isinstance(first, dict) and isinstance(second, dict):
            return _cutting(first) == _cutting(second)
    return False


def _cutting(content: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in content.items() if key not in ("truncation", "padding", "version")}


@reads(Type.MODEL_FOLDER)
def _folder(env: Env, expr: ast.Expr, entry: Entry) -> Path | None:
    """A folder that holds weights, None for `start`."""
    if isinstance(expr, ast.Name) and expr.name == "start":
        return None
    if not isinstance(expr, ast.String):
        raise mismatch(env, expr, entry)
    found = env.locate(expr.value, expr.place, folders=True)
    if found.is_file():
        message = f"`{expr.value}` is a file, expected a folder with `config.json` and `{WEIGHTS[0]}`"
        raise env.fail(name_codes.NO_FILE.at(expr.place, message))
    if not any((found / name).is_file() for name in WEIGHTS):
        message = f"no file `{WEIGHTS[0]}` in `{found.name}`"
        raise env.fail(name_codes.NO_FILE.at(expr.place, message, help=near_files(found / WEIGHTS[0])))
    for file in sorted(found.iterdir()):
        if file.name.endswith((".json", ".safetensors")):
            env.locate(f"{expr.value}/{file.name}", expr.place)  # which a link may lead out of the project
    return found


# --- what is read of a teacher ---------------------------------------------------------------------------------------


def named(env: Env, expr: ast.Expr) -> ast.Expr | None:
    """The name in `NAME.hidden(...)`, `NAME.logits` and the like, where it is one of a teacher, or of nothing, before a word that
    only a teacher has."""
    member = expr.callee if isinstance(expr, ast.Call) else expr
    if not isinstance(member, ast.Member) or not isinstance(member.base, ast.Name | ast.Member):
        return None
    found = env.lookup(member.base)
    if found is None:
        return member.base if member.name in READ else None
    return member.base if isinstance(found.item, ast.Teacher) else None


def hidden(env: Env, expr: ast.Expr, name: ast.Expr) -> c.Hidden:
    """`NAME.hidden(layer: k)`."""
    found = teacher(env, name)
    match expr:
        case ast.Call(ast.Member(_, "hidden")):
            return c.Hidden(found, _at(found, *read_call(env, expr, "hidden", HIDDEN)["layer"]))
    raise _no_such(env, expr, found, f"{shown(name)}.hidden(layer: {found.layers})")


def logits(env: Env, expr: ast.Expr, name: ast.Expr) -> c.Teacher:
    """`NAME.logits`."""
    found = teacher(env, name)
    if not isinstance(expr, ast.Member) or expr.name != "logits":
        raise _no_such(env, expr, found, f"{shown(name)}.logits")
    if finding := _without_logits(env, found, expr.place):
        raise env.fail(finding)
    return found


def _no_such(env: Env, expr: ast.Expr, found: c.Teacher, write: str) -> Reported:
    message = f"{describe(env, expr)} is nothing that can be read here of teacher `{found.name}`"
    return env.fail(name_codes.UNKNOWN_FUNCTION.at(expr.place, message, help=f"write `{write}`"))


def _without_logits(env: Env, found: c.Teacher, place: Place) -> Diagnostic | None:
    """Why a teacher gives no logits, if it gives none."""
    contract = env.state.contract
    if found.run == "cached":
        message = f"teacher `{found.name}` is cached, and logits of a whole vocabulary are never stored"
        return codes.TEACHER_LOGITS.at(place, message, help="write `run = online`")
    if not found.causal:
        return codes.TEACHER_LOGITS.at(place, f"teacher `{found.name}` is no causal model, and predicts no next token")
    if contract is not None and found.vocab != contract.vocab:
        message = (
            f"teacher `{found.name}` predicts {found.vocab} tokens, the model `{env.state.model_name}` {contract.vocab}"
        )
        return codes.TEACHER_VOCABULARY.at(place, message)
    return None


def centroid(env: Env, expr: ast.Call, teacher: c.Teacher, layer: tuple[Env, ast.Expr]) -> c.CentroidAnchor:
    """`centroid(NAME, layer: k)`: fails on a teacher that cannot be run while compiling, or has another width."""
    contract = env.state.contract
    if teacher.weights is None:
        message = (
            f"`{shown(expr)}` is computed while compiling, where the weights that training starts from are not known"
        )
        raise env.fail(codes.TEACHER_START.at(expr.place, message))
    if contract is not None and teacher.hidden != contract.hidden:
        wants = f"an anchor has {contract.hidden}, the width of model `{env.state.model_name}`"
        message = f"teacher `{teacher.name}` has a width of {teacher.hidden}, and {wants}"
        raise env.fail(codes.TEACHER_WIDTH.at(expr.place, message))
    return c.CentroidAnchor(teacher, _at(teacher, *layer))


@reads(Type.TEACHER)
def _named_teacher(env: Env, expr: ast.Expr, entry: Entry) -> c.Teacher:
    if not isinstance(expr, ast.Name | ast.Member):
        raise mismatch(env, expr, entry)
    return teacher(env, expr)


@reads(Type.LAYER)
def _layer(env: Env, expr: ast.Expr, entry: Entry) -> tuple[Env, ast.Expr]:
    """As written: it is counted once its teacher is known."""
    return env, expr


def teacher(env: Env, expr: ast.Expr) -> c.Teacher:
    """The teacher that `expr` names."""
    assert isinstance(expr, ast.Name | ast.Member)
    found = env.state.teachers.get(env.find(expr, "teacher"))
    if found is None:
        raise Reported
    return found


def _at(teacher: c.Teacher, env: Env, expr: ast.Expr) -> c.Layer:
    """The one layer that `expr` is, counted in the teacher."""
    contract = Contract(**{name: getattr(teacher, name) for name in _NUMBERS})
    view = replace(env, state=replace(env.state, contract=contract, model_name=teacher.name))
    found = layers(view, expr, Entry("layer", Type.LAYERS)).resolved
    if len(found) != 1:
        raise mismatch(env, expr, Entry("layer", Type.LAYER), help="one layer is `4`, `-1`, `50%` or `final`")
    return found[0]
