"""What a spec says of gradients. In the root file alone; layers are counted against the model."""

from __future__ import annotations

from contextlib import suppress

from .. import ast
from .. import checked as c
from ..codes import model as model_codes
from ..codes import values as codes
from ..diagnostics import Related
from ..vocabulary import Entry, Type
from .blocks import Given, read_block
from .common import attempt
from .declare import keyword_place
from .env import Env, Reported
from .values import mismatch, read, reads


def check_gradient(env: Env) -> c.Gradient | None:
    """The declaration `gradient`; None where there is none, or it is wrong."""
    item = next((item for item in env.file.spec.items if isinstance(item, ast.Gradient)), None)
    if item is None:
        return None
    given = read_block(env, "gradient", item.block.attributes, keyword_place(item))
    stop = attempt(lambda: _stop(env, given))
    with suppress(Reported):
        scale, conflicts = given["scale"], given["conflicts"]
        return None if stop is None else c.Gradient(scale, stop, conflicts)
    return None


def _stop(env: Env, given: Given) -> tuple[int, ...]:
    """The layers of `stop`: nothing lies above `final` to be stopped but the head."""
    layers: c.Layers | None = given["stop"]
    if layers is None:
        return ()
    if "final" in layers.resolved:
        top = env.state.contract.layers if env.state.contract else 0
        message = f"`stop` takes layers 0..{top} of the model `{env.state.model_name}`, found final"
        raise env.fail(model_codes.NO_SUCH_LAYER.at(given.place("stop"), message))
    return tuple(layer for layer in layers.resolved if layer != "final")


@reads(Type.SCALES)
def _scales(env: Env, expr: ast.Expr, entry: Entry) -> tuple[tuple[c.Layer, float], ...]:
    """`{0..2: 0.1, final: 0.5}` as a factor per layer, in order."""
    if not isinstance(expr, ast.Map):
        raise mismatch(env, expr, entry, help="write `{0..2: 0.1}`")
    found: dict[c.Layer, float] = {}
    keys: dict[c.Layer, ast.Expr] = {}
    failed = False
    for key, value in expr.entries:
        try:
            layers: c.Layers = read(env, key, Entry(entry.name, Type.LAYERS))
            factor: float = read(env, value, Entry(entry.name, Type.NUMBER, bounds=entry.bounds))
            _check_apart(env, key, layers, keys)
        except Reported:
            failed = True
            continue
        found.update(dict.fromkeys(layers.resolved, factor))
        keys.update(dict.fromkeys(layers.resolved, key))
    if failed:
        raise Reported
    return tuple((layer, found[layer]) for layer in sorted(found, key=lambda one: (one == "final", one)))


def _check_apart(env: Env, key: ast.Expr, layers: c.Layers, keys: dict[c.Layer, ast.Expr]) -> None:
    """Fail where a layer has a factor already, showing both places."""
    twice = next((layer for layer in layers.resolved if layer in keys), None)
    if twice is not None:
        related = Related(keys[twice].place, "first scaled here")
        raise env.fail(codes.LISTED_TWICE.at(key.place, f"layer {twice} is scaled twice", related=[related]))
