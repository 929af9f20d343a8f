"""A saved position: plain values under a digest, and what is asked of one that is taken up."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

from ...dsl.codes import runtime as codes
from ...dsl.diagnostics import Code, Failure
from .walk import Position

FORMAT = 1
"""Raised by every change of the order that the same settings give, or of what a state holds."""
_NUMBERS = ("epoch", "window", "place", "done", "seed")
AGAIN = "resume with the dataset and the settings of the run"


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a position depends on. `rows`: a digest of the shards; `settings`: what decides the order beside the seed."""

    rows: str
    settings: dict[str, Any]


def saved(at: Position, seed: int, meaning: Meaning) -> dict[str, Any]:
    """The state of a loader. The same on every rank."""
    state = {"format": FORMAT, "rows": meaning.rows, "settings": meaning.settings, "seed": seed, **asdict(at)}
    return {**state, "digest": _digest(state)}


def read(state: Any, meaning: Meaning, seed: int | None) -> tuple[Position, int]:
    """The position and the seed of a state. Raises Failure where it is not one of this order; `seed`: None for any."""
    if not isinstance(state, dict) or type(state.get("format")) is not int:
        raise _refused(codes.STATE_BROKEN, "what is to be resumed is no state of a loader", "`state_dict` gives one")
    if state["format"] != FORMAT:
        message = f"the state of the loader has format {state['format']}; this version reads {FORMAT}"
        raise _refused(codes.STATE_FORMAT, message, "resume with the version that saved it, or begin an epoch")
    content = {key: value for key, value in state.items() if key != "digest"}
    if state.get("digest") != _digest(content):
        message = "the state of the loader is not what was saved: its digest differs"
        raise _refused(codes.STATE_BROKEN, message, "resume from a checkpoint as it was written")
    if content["rows"] != meaning.rows:
        message = "the state of the loader is one of other rows: those of another dataset, or of another split"
        raise _refused(codes.STATE_ROWS, message, AGAIN)
    _same_settings(content["settings"], meaning.settings)
    if seed is not None and content["seed"] != seed:
        message = f"the state of the loader has seed {content['seed']}, and the loader has seed {seed}"
        raise _refused(codes.STATE_SEED, message, "leave `seed` out: the state brings its own")
    epoch, window, place, done, found = (content[name] for name in _NUMBERS)
    return Position(epoch, window, place, done), found


def _same_settings(was: dict[str, Any], now: dict[str, Any]) -> None:
    other = [name for name in {**was, **now} if was.get(name) != now.get(name)]
    if other:
        name = other[0]
        found, expected = (json.dumps(settings.get(name)) for settings in (was, now))
        message = (
            f"the state of the loader is one of another order: its `{name}` is {found}, and the loader's {expected}"
        )
        raise _refused(codes.POSITION, message, AGAIN)


def _digest(content: dict[str, Any]) -> str:
    try:
        text = json.dumps(content, sort_keys=True)
    except (TypeError, ValueError):
        return ""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _refused(code: Code, message: str, help: str) -> Failure:
    return Failure(code.at(None, message, help=help))
