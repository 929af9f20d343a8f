"""Spans and concepts: the definitions that rules refer to, each checked once, after those that it names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from .. import ast
from .. import checked as c
from ..codes import model as model_codes
from ..codes import names as name_codes
from ..codes import values as codes
from ..diagnostics import did_you_mean
from ..vocabulary import ANCHOR_WORDS, ANCHORS, Entry, Type
from .blocks import read_block, read_call
from .constants import check_constant
from .env import Declaration, Env, Expansion, Reported, State, on_trial
from .order import definitions
from .spans import bound, subject
from .teachers import centroid
from .tensors import Unreadable, shapes
from .values import mismatch, reads

ANCHOR_KINDS = (*ANCHOR_WORDS, *ANCHORS)


def check_definitions(state: State) -> None:
    """Fill the state's spans and concepts."""
    for found in definitions(state):
        env = Env(state, found.file)
        with suppress(Reported):
            match found.item:
                case ast.SpanDecl():
                    state.spans[found] = _span(env, found, found.item)
                case ast.Concept():
                    state.concepts[found] = _concept(env, found, found.item)
                case ast.Let() | ast.Parameter():
                    check_constant(state, found)
    _check_room(state)


def _span(env: Env, found: Declaration, item: ast.SpanDecl) -> c.Named:
    if item.of is None:
        return c.Named(subject(env, item.value, "span"), found.qualified, item.name.place)
    if isinstance(env.file, Expansion):
        raise Reported  # where the frame is declared
    source = env.find(ast.Name(item.of.name, item.of.place), "source")
    if source.file.prefix:
        message = (
            f"no source `{item.of.name}`: the one of `{source.file.source.path}` counts where that is the root alone"
        )
        raise env.fail(name_codes.UNKNOWN_NAME.at(item.of.place, message))
    if source.ident.name not in env.state.sources:
        raise Reported
    spans = subject(replace(env, of=source.ident.name), item.value, "span")
    return c.Named(c.OfSource(spans, source.ident.name), found.qualified, item.name.place)


def _concept(env: Env, found: Declaration, item: ast.Concept) -> c.Concept:
    given = read_block(env, "concept", item.block.attributes, item.name.place)
    spans = given["spans"]
    if spans is not None and not isinstance(spans, c.Named):
        spans = c.Named(spans, found.qualified, item.name.place)
    if spans is not None:
        bound(env, spans, given.place("spans"))
    elif isinstance(given["anchor"], c.CentroidAnchor):
        message = f"the anchor of `{found.qualified}` is a mean over its spans, and it has none"
        raise env.fail(model_codes.NO_ANCHOR.at(given.place("anchor"), message))
    return c.Concept(found.qualified, spans, given["anchor"], item.name.place)


@reads(Type.ANCHOR)
def _anchor(env: Env, expr: ast.Expr, entry: Entry) -> c.Anchor:
    """`orthonormal`, `learned`, `vector("file", "key")`, `embedding("text")` or `centroid(teacher, layer: k)`."""
    word = expr.callee if isinstance(expr, ast.Call) else expr
    if not isinstance(word, ast.Name):
        raise mismatch(env, expr, entry)
    if word.name not in ANCHOR_KINDS:
        near = did_you_mean(word.name, ANCHOR_KINDS)
        raise env.fail(name_codes.UNKNOWN_FUNCTION.at(word.place, f"no anchor `{word.name}`", help=near))
    match expr:
        case ast.Name("orthonormal"):
            return c.Orthonormal()
        case ast.Name("learned"):
            return c.LearnedAnchor()
        case ast.Call() if word.name in ANCHORS:
            given = read_call(env, expr, word.name, ANCHORS[word.name])
            return CALLED[word.name](env, expr, **given)
    raise mismatch(env, expr, entry, help=f"write `{WRITTEN.get(word.name, word.name)}`")


def _vector(env: Env, expr: ast.Expr, file: Path, key: ast.String) -> c.VectorAnchor:
    try:
        found = env.state.tensors[file] if file in env.state.tensors else shapes(file)
    except Unreadable as error:
        raise env.fail(
            model_codes.VECTOR_UNREADABLE.at(expr.place, f"`{file.name}` is no safetensors file: {error}")
        ) from None
    env.state.tensors[file] = found
    if key.value not in found:
        near = did_you_mean(key.value, found)
        raise env.fail(
            model_codes.NO_SUCH_TENSOR.at(key.place, f"`{file.name}` has no tensor `{key.value}`", help=near)
        )
    contract = env.state.contract
    if contract is not None and found[key.value] != (contract.hidden,):
        has = " x ".join(map(str, found[key.value])) or "no"
        message = f"tensor `{key.value}` has {has} numbers, the model `{env.state.model_name}` has a width of {contract.hidden}"
        raise env.fail(model_codes.VECTOR_WIDTH.at(expr.place, message))
    return c.VectorAnchor(file, key.value)


def _embedding(env: Env, expr: ast.Expr, text: ast.String) -> c.EmbeddingAnchor:
    if not text.value.strip():
        raise env.fail(codes.EMPTY_PHRASE.at(text.place, "the text has no character to embed"))
    if env.state.model is not None and env.state.model.weights is None:
        message = f"`embedding` needs `weights` of the model `{env.state.model_name}`, which it does not give"
        raise env.fail(model_codes.NEEDS_WEIGHTS.at(expr.place, message))
    return c.EmbeddingAnchor(text.value)


CALLED: Mapping[str, Callable[..., c.Anchor]] = {"vector": _vector, "embedding": _embedding, "centroid": centroid}
WRITTEN = {"vector": 'vector("...")', "embedding": 'embedding("...")', "centroid": "centroid(TEACHER, layer: 8)"}
"""How an anchor that is a call looks."""


def _check_room(state: State) -> None:
    """Report the first orthonormal anchor that the hidden state has no dimension left for."""
    contract = state.contract
    anchored = [
        (found, concept)
        for found, concept in state.concepts.items()
        if concept and isinstance(concept.anchor, c.Orthonormal) and not on_trial(found.file)
    ]
    if contract is not None and len(anchored) > contract.hidden:
        message = (
            f"{len(anchored)} orthonormal anchors, but the model `{state.model_name}` has a width of {contract.hidden}"
        )
        found, concept = anchored[contract.hidden]
        Env(state, found.file).report(model_codes.TOO_MANY_ANCHORS.at(concept.place, message))
