"""What hover says of a concept, for every kind of anchor."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast, get_args

import pytest

from mcd.cli.lsp.hover import _concept
from mcd.dsl import checked as c
from mcd.dsl.checked.rules import CentroidAnchor
from mcd.dsl.source import Place, SourceText

PLACE = Place(SourceText("spec.mcd", "concept a {}\n"), 0, 7)
TEACHER = c.Teacher(
    "big", "llama", 8, 2, 16, 64, True, None, Path("c.json"), Path("w"), Path("t.json"), True, "cached", PLACE
)
ANCHORS: list[tuple[Any, str]] = [
    (c.Orthonormal(), "orthogonal"),
    (c.VectorAnchor(Path("v.safetensors"), "cause"), "`cause` of `v.safetensors`"),
    (c.EmbeddingAnchor("because"), "`because`"),
    (c.LearnedAnchor(), "trained along"),
    (CentroidAnchor(TEACHER, 2), "`centroid(big, layer: 2)`"),
]


@pytest.mark.parametrize(("anchor", "said"), ANCHORS, ids=[type(anchor).__name__ for anchor, _ in ANCHORS])
def test_every_anchor_is_named(anchor: Any, said: str) -> None:
    concept = replace(c.Concept("a", None, None, PLACE), anchor=anchor)
    (line,) = _concept(cast(Any, None), concept)
    assert line.startswith("Anchor: ") and said in line


def test_there_are_no_others() -> None:
    assert {type(anchor) for anchor, _ in ANCHORS} == set(get_args(c.Anchor))
