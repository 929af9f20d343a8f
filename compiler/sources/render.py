"""Text templates: columns of slot values -> one buffer of rendered texts, with the byte range of every slot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...dsl.checked import Chat, FieldPath, Template
from ..batch import Ints, Marks, Messages
from ..tokens.text import Bytes, string_bytes


@dataclass(frozen=True, eq=False)
class Rendered:
    """Rendered texts: `texts[n]`, the same as bytes of `buffer` cut by `bounds[n + 1]`, and for every slot its byte range in
    `buffer`. A slot that a template has twice is where it stands first. `marks`: what is marked up in slots; `messages`: those
    that a chat template rendered."""

    texts: pa.StringArray
    buffer: Bytes
    bounds: Ints
    slots: Mapping[FieldPath, tuple[Ints, Ints]]
    marks: Mapping[FieldPath, Marks] = field(default_factory=dict)
    messages: Messages | None = None


def slots_of(text: Template | Chat) -> tuple[FieldPath, ...]:
    """The fields that a text is made of, in the order in which they stand first."""
    return tuple(dict.fromkeys(text.slots))


def render(template: Template, values: Mapping[FieldPath, pa.StringArray], count: int) -> Rendered:
    """The texts of `count` records; `values` holds their slot values, without nulls, which stand in the text as they are."""
    pieces = [part if isinstance(part, str) else values[part] for part in template.parts]
    texts = _join(pieces, count)
    buffer, bounds = string_bytes(texts)
    slots: dict[FieldPath, tuple[Ints, Ints]] = {}
    position = bounds[:-1]
    for part, piece in zip(template.parts, pieces, strict=True):
        if isinstance(part, str):
            position = position + len(part.encode())
            continue
        end = position + np.diff(string_bytes(piece)[1])
        slots.setdefault(part, (position, end))
        position = end
    return Rendered(texts, buffer, bounds, slots)


def _join(pieces: list[str | pa.StringArray], count: int) -> pa.StringArray:
    if len(pieces) == 1 and not isinstance(pieces[0], str):
        return pieces[0]
    if all(isinstance(piece, str) for piece in pieces):
        return pa.array(["".join(map(str, pieces))] * count, pa.string())
    return pc.binary_join_element_wise(*pieces, pa.scalar("", pa.string()))
