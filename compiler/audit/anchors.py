"""Anchors: one for each that the plan names, of length 1."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...dsl.codes import shards as codes
from ...dsl.diagnostics import Diagnostic, Failure
from ..files.opening import read_anchors
from ..files.tensors import tensor_names
from ..manifest import ANCHORS_FILE
from .base import Check, at

AWAY = 1e-3
"""How far from 1 the length of an anchor may be: rounding, and no more."""


class Anchors(Check):
    """`anchors.safetensors` holds the plan's anchors and no other; each is a unit vector of the model's width."""

    def before(self) -> Iterator[Diagnostic]:
        listed = any(entry.path == ANCHORS_FILE for entry in self.dataset.manifest.files)
        if listed and ANCHORS_FILE not in self.dataset.sound:
            return
        try:
            found = read_anchors(self.dataset.directory, self.dataset.plan)
        except Failure as failure:
            yield from failure.diagnostics
            return
        for name, vector in found.items():
            length = float(np.linalg.norm(vector.astype(np.float64)))
            if abs(length - 1) > AWAY:
                yield at(codes.ANCHOR_VALUE, ANCHORS_FILE, f"anchor `{name}` has length {length:.4g}; 1 is expected")
        names = tensor_names(self.dataset.directory / ANCHORS_FILE) if found else ()
        for name in sorted(set(names) - found.keys()):
            yield at(
                codes.ANCHOR_VALUE, ANCHORS_FILE, f"`{ANCHORS_FILE}` holds `{name}`, which is no anchor of the plan"
            )
