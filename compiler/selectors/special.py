"""`special("<s>")`: tokens by their name, those that the tokenizer adds too. No other set holds added tokens."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa

from ...dsl import checked
from ..batch import Spans
from .base import Context


def special(node: checked.Special, context: Context) -> Spans:
    """The tokens of these names, wherever they come from; `label` is the name."""
    table = context.batch.tokens
    by_id = {id: name for name in node.names if (id := context.token_id(name)) is not None}
    rows = np.flatnonzero(np.isin(table.ids, list(by_id)))
    labels = pa.array(map(by_id.__getitem__, table.ids[rows].tolist()), pa.string())
    return replace(context.tokens.spans(rows), attributes={"label": labels})
