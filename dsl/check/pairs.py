"""Heads one by one: `at = [[2, 0], [3, 1]]`, or `at = heads("found.json")`.

A file of heads is JSON: a list of `[layer, head]`, or an object `{"format": 1, "heads": [[layer, head], ...]}` whose other keys
say nothing here. Layers count from 1, heads from 0.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from .. import ast
from .. import checked as c
from ..codes import model as codes
from ..codes import names as name_codes
from ..vocabulary import HEADS_FILE, Entry, Type
from .blocks import read_call
from .env import Env, Reported, shown
from .layers import head_number, layer_number
from .values import listed_once, mismatch, reads

FORMAT: Final = 1
"""Raised by every change that an older reader would misread."""
MAX_BYTES: Final = 1 << 20

HELP = 'write `[[2, 0], [3, 1]]`, layers and heads, or `heads("FILE.json")`'


@reads(Type.PAIRS)
def _pairs(env: Env, expr: ast.Expr, entry: Entry) -> c.Pairs:
    """Pairs of a layer and a head, in order, each once."""
    match expr:
        case ast.List(items) if items:
            return _ordered(env, expr, [_pair(*env.unwrap(item), entry) for item in items])
        case ast.Call(ast.Name("heads")):
            return _ordered(env, expr, _from_file(env, expr, **read_call(env, expr, "heads", HEADS_FILE)))
    raise mismatch(env, expr, entry, help=HELP)


def _ordered(env: Env, expr: ast.Expr, found: Iterable[c.Pair]) -> c.Pairs:
    seen: set[c.Pair] = set()
    for pair in found:
        listed_once(env, expr, pair, seen)
        seen.add(pair)
    return tuple(sorted(seen))


def _pair(env: Env, expr: ast.Expr, entry: Entry) -> c.Pair:
    if not isinstance(expr, ast.List) or len(expr.items) != 2:
        raise mismatch(env, expr, entry, help=HELP)
    layer, head = (env.unwrap(item) for item in expr.items)
    number = layer_number(*layer, entry)
    if number == 0:
        raise _no_layer(env, expr, shown(expr.items[0]))
    return number, head_number(*head, entry)


def _no_layer(env: Env, expr: ast.Expr, found: object) -> Reported:
    top = env.state.contract.layers if env.state.contract else 0
    message = f"attention has layers 1..{top} of the model `{env.state.model_name}`, found {found}"
    return env.fail(codes.NO_SUCH_LAYER.at(expr.place, message))


# --- files -----------------------------------------------------------------------------------------------------------


def _from_file(env: Env, call: ast.Call, file: Path) -> list[c.Pair]:
    """The pairs of a file, held against the contract."""
    env.state.read.add(file)
    found = _listed(env, call, file, _json(env, call, file))
    contract = env.state.contract
    for layer, head in found:
        if contract and not 1 <= layer <= contract.layers:
            raise _no_layer(env, call, f"{layer} in `{file.name}`")
        if contract and not 0 <= head < contract.heads:
            message = (
                f"no head {head}, which `{file.name}` names: the model `{env.state.model_name}` has"
                f" heads 0..{contract.heads - 1}"
            )
            raise env.fail(codes.NO_SUCH_HEAD.at(call.place, message))
    return found


def _json(env: Env, call: ast.Call, file: Path) -> Any:
    try:
        if file.stat().st_size > MAX_BYTES:
            raise _malformed(env, call, file, f"is larger than {MAX_BYTES} bytes")
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise env.fail(name_codes.UNREADABLE_FILE.at(call.place, f"`{file.name}` is no UTF-8 text: {error}")) from None
    except (ValueError, RecursionError) as error:
        raise _malformed(env, call, file, f"is no JSON: {error}") from None


def _listed(env: Env, call: ast.Call, file: Path, value: Any) -> list[c.Pair]:
    if isinstance(value, dict):
        version = value.get("format", FORMAT)
        if version != FORMAT:
            raise _malformed(env, call, file, f"has format {json.dumps(version)[:40]}; this version reads {FORMAT}")
        value = value.get("heads")
    if not isinstance(value, list) or not value:
        raise _malformed(env, call, file, "holds no list of heads")
    for item in value:
        if not isinstance(item, list) or len(item) != 2 or not all(type(number) is int for number in item):
            raise _malformed(env, call, file, f"holds {json.dumps(item)[:40]}, which is no [layer, head]")
    return [(layer, head) for layer, head in value]


def _malformed(env: Env, call: ast.Call, file: Path, fact: str) -> Reported:
    help = 'a file of heads is `[[2, 0], [3, 1]]` or `{"format": 1, "heads": [[2, 0], [3, 1]]}`'
    return env.fail(codes.HEADS_FILE.at(call.place, f"`{file.name}` {fact}", help=help))
