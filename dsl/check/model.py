"""The model contract: the numbers that layers, heads and widths are checked against, and what tokenises the text.

Two steps. The *contract* comes from a config.json, from inline numbers, or from another model's config that the command line
gives; everything that is counted is counted against it. The *model* adds what the block says about the text.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from .. import ast
from .. import checked as c
from ..codes import model as codes
from ..codes import names as name_codes
from ..codes import values as value_codes
from ..contract import Contract, is_two_stacks, read_contract
from ..diagnostics import Failure, did_you_mean
from ..load import near_files
from ..source import DataPlace
from ..vocabulary import MODEL_NUMBERS, OVERFLOWS, SPLIT_STRIDE, Entry, Type
from ..windows import felt
from .blocks import Given, read_block, read_call
from .env import Env, Reported, header
from .values import choice, mismatch, reads


def check_model(env: Env, override: Path | None) -> None:
    """Fill the state's contract and model from the root file, as far as they can be read.

    `override` is a config that replaces the model's own numbers.
    """
    item = next((item for item in env.file.spec.items if isinstance(item, ast.Model)), None)
    if item is None:
        if not (env.file.broken or env.state.module):
            message = "the spec has no model"
            env.report(name_codes.MISSING_DECLARATION.at(header(env.file), message, help="write `model NAME { ... }`"))
        return
    env.state.model_name = item.name.name
    given = read_block(env, "model", item.block.attributes, item.name.place)
    env.state.chat_failed = "chat" in given
    with suppress(Reported):
        env.state.chat = given["chat"]
    contract = env.state.contract = _contract(env, item, given, override)
    context = _context(env, given, contract)
    env.state.model = c.Model(
        name=item.name.name,
        architecture=contract.architecture,
        layers=contract.layers,
        heads=contract.heads,
        hidden=contract.hidden,
        vocab=contract.vocab,
        causal=contract.causal,
        tokenizer=given["tokenizer"],
        context=context,
        overflow=_fitting(env, given, context),
        weights=given["weights"],
        lost=given["lost"],
        place=item.name.place,
        chat=given["chat"],
        windows=felt(contract.windows, context),
    )


def _contract(env: Env, item: ast.Model, given: Given, override: Path | None) -> Contract:
    inline = [name for name in MODEL_NUMBERS if name in given]
    if "config" in given and inline and not (inline == ["causal"] and is_two_stacks(override or given["config"])):
        message = f"{choice(inline)} cannot stand beside `config`, which gives them all"
        raise env.fail(codes.CONFIG_AND_NUMBERS.at(given.written[inline[0]].name_place, message))
    if override is None and "config" not in given:
        return _inline(env, item, given)
    try:
        if override is not None:
            return read_contract(override, DataPlace(str(override)), override.name, given["causal"])
        env.state.read.add(given["config"])
        written = given.written["config"].value
        shown = written.value if isinstance(written, ast.String) else given["config"].name
        return read_contract(given["config"], written.place, shown, given["causal"])
    except Failure as failure:
        env.state.findings.items.extend(failure.diagnostics)
        raise Reported from None


def _inline(env: Env, item: ast.Model, given: Given) -> Contract:
    missing = [name for name in MODEL_NUMBERS if name not in given]
    if missing:
        everything = len(missing) == len(MODEL_NUMBERS)
        lacks = (
            "a `config`, or the numbers " + ", ".join(f"`{name}`" for name in missing)
            if everything
            else choice(missing)
        )
        raise env.fail(codes.NO_MODEL.at(item.name.place, f"model `{item.name.name}` lacks {lacks}"))
    return Contract(None, given["layers"], given["heads"], given["hidden"], given["vocab"], given["causal"])


def _context(env: Env, given: Given, contract: Contract) -> int:
    context: int = given["context"]
    if contract.positions is not None and context > contract.positions:
        message = (
            f"a context of {context} tokens, but the model `{env.state.model_name}` has {contract.positions} positions"
        )
        env.report(codes.CONTEXT_TOO_LONG.at(given.place("context"), message))
    return context


def _fitting(env: Env, given: Given, context: int) -> c.Overflow:
    overflow: c.Overflow = given["overflow"] or c.Overflow()
    if overflow.stride >= context:
        message = f"`stride` must be below the context of {context} tokens, found {overflow.stride}"
        env.report(value_codes.OUT_OF_BOUNDS.at(given.place("overflow"), message))
    return overflow


@reads(Type.WEIGHTS)
def _weights(env: Env, expr: ast.Expr, entry: Entry) -> Path:
    """A safetensors file, also where its folder is named."""
    if not isinstance(expr, ast.String):
        raise mismatch(env, expr, entry)
    found = env.locate(expr.value, expr.place, folders=True)
    inside = found / "model.safetensors"
    if found.is_file() or inside.is_file():
        return found if found.is_file() else inside
    message = f"no file `model.safetensors` in `{found.name}`"
    raise env.fail(name_codes.NO_FILE.at(expr.place, message, help=near_files(inside)))


@reads(Type.OVERFLOW)
def _overflow(env: Env, expr: ast.Expr, entry: Entry) -> c.Overflow:
    """`truncate`, `split(stride: 64)`, `drop` or `error`."""
    match expr:
        case ast.Name("truncate" | "split" | "drop" | "error" as how):
            return c.Overflow(how)
        case ast.Name(word):
            message = f"`overflow` is {choice(OVERFLOWS)}, found `{word}`"
            raise env.fail(value_codes.UNKNOWN_WORD.at(expr.place, message, help=did_you_mean(word, OVERFLOWS)))
        case ast.Call(ast.Name("split")):
            return replace(c.Overflow("split"), **read_call(env, expr, "split", SPLIT_STRIDE))
    raise mismatch(env, expr, entry, help=f"write {choice(('truncate', 'split(stride: 64)', 'drop', 'error'))}")
