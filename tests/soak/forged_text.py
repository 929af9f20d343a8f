"""JSON and anchors that an attacker wrote: like those of a dataset, and not theirs."""

from __future__ import annotations

import json
import struct
from random import Random
from typing import Any

from .forged import DEEP, WORDS, anywhere, moved

ODD: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 2**31, 2**63, 10**400, -(10**30), 0.5, 1e308, -0.0, "", "x", "\0", "../x", "/etc/passwd"),
    *(
        "a/../../b",
        "final",
        "tokens",
        "x" * 10_000,
        [],
        {},
        [[]],
        [None],
        [0, 0],
        {"": None},
        {"a": {"a": {}}},
        ["a", "b"],
    ),
)
"""Values to put into JSON."""


def other_json(data: bytes, random: Random) -> bytes:
    """A value replaced, left out or added, anywhere; or text that nests deep."""
    found = json.loads(data)
    if random.random() < 0.03:
        return random.choice(
            (DEEP, '{"format": 1, "x": ' + DEEP + "}", "[]", "", "null", '{"format": 1}', "\ufeff{}")
        ).encode()
    for _ in range(random.choice((1, 1, 2, 3))):
        holder, key = random.choice(list(_places(found)))
        way = random.random()
        if way < 0.15:
            del holder[key]
        elif way < 0.3 and isinstance(holder, dict):
            holder[random.choice((str(key) + "x", "format", "path", ""))] = random.choice(ODD)
        elif way < 0.45 and isinstance(holder[key], list) and holder[key]:
            holder[key] = holder[key] * random.choice((2, 3))
        else:
            alike = [value for value in ODD if type(value) is type(holder[key])]
            holder[key] = random.choice(alike if alike and random.random() < 0.7 else ODD)
        if not found:
            break
    if b'"checksum"' in data:
        found["checksum"] = None
    return (json.dumps(found, indent=1, sort_keys=True) + "\n").encode()


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every holder in a JSON value, with each of its keys."""
    places, left = [], [value]
    while left:
        holder = left.pop()
        keys = list(holder) if isinstance(holder, dict) else range(len(holder)) if isinstance(holder, list) else []
        places += [(holder, key) for key in keys]
        left += [holder[key] for key in keys if isinstance(holder[key], dict | list)]
    return places


def other_tensors(data: bytes, random: Random) -> bytes:
    """Another header of a safetensors file: its length, its names, types, shapes and places; or other numbers."""
    (length,) = struct.unpack_from("<Q", data)
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    way = random.randrange(5)
    if way == 0:
        return struct.pack("<Q", random.choice(WORDS) % 2**64) + data[8:]
    if way == 1:
        return anywhere(data, random)
    if way == 2:
        return moved(data, random)
    if way == 3:
        many = random.choice((1000, 300_000))
        header |= {f"x{n}": {"dtype": "F32", "shape": [0], "data_offsets": [len(body), len(body)]} for n in range(many)}
    else:
        name = random.choice([key for key in header if key != "__metadata__"])
        key = random.choice(("dtype", "shape", "data_offsets"))
        choices = {"dtype": ("F64", "F16", "BF16", "I8", "BOOL", "X"), "shape": ([], [2, 4], [2**62, 4], [-1], [0])}
        header[name][key] = random.choice(choices.get(key, ([0, 2**63], [8, 0], [-4, 28], [0, 0], [4, 36])))
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body
