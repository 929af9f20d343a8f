"""Concept anchors: unit vectors in the hidden space, written to anchors.safetensors.

Orthonormal anchors are rows of a DCT-II basis with the signs of its columns flipped by a fixed pattern: exactly orthonormal
up to rounding, dense, and the same on every machine, which a QR decomposition of random numbers is not (its last bits depend
on the linear algebra library). A concept's row is chosen by a digest of its name, so that adding a concept moves none of
the others unless they collide.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import ParamSpec, TypeVar

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import save
from tokenizers import Tokenizer

from ...dsl import checked as c
from ...dsl.codes import model as codes
from ...dsl.diagnostics import Failure
from . import disk
from .tensors import read_tensor, tensor_names

Vector = npt.NDArray[np.float32]

EMBEDDING_SUFFIXES = ("embed_tokens.weight", "wte.weight", "word_embeddings.weight", "embed_in.weight")


def anchors(concepts: Iterable[c.Concept], model: c.Model) -> dict[str, Vector]:
    """The anchor of each concept by name, without learned ones and means: float32 of shape [model.hidden], of length 1.

    Raises Failure for a vector that cannot be read, has another width, or is zero.
    """
    chosen = sorted(concepts, key=lambda concept: concept.name)
    rows = _rows([concept.name for concept in chosen if isinstance(concept.anchor, c.Orthonormal)], model.hidden)
    found: dict[str, Vector] = {}
    for concept in chosen:
        match concept.anchor:
            case c.Orthonormal():
                found[concept.name] = _basis_row(rows[concept.name], model.hidden)
            case c.VectorAnchor(file, key):
                found[concept.name] = _unit(_read(concept, read_tensor, file, key), concept)
            case c.EmbeddingAnchor(text):
                found[concept.name] = _unit(_embedding(text, model, concept), concept)
            case c.LearnedAnchor() | c.CentroidAnchor():
                pass  # the runtime makes and trains the one, and computes the other from a teacher
            case None:
                raise ValueError(f"concept {concept.name} has no anchor")
    return found


def write_anchors(path: Path, vectors: dict[str, Vector]) -> None:
    """Write anchors to a safetensors file, by concept name."""
    disk.write(path, save(dict(sorted(vectors.items()))))


def _rows(names: list[str], width: int) -> dict[str, int]:
    """A row of the basis for each name: the digest's choice, or the next free one."""
    if len(names) > width:
        raise ValueError(f"{len(names)} orthonormal anchors in {width} dimensions")
    taken: dict[int, str] = {}
    for name in names:
        row = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % width
        while row in taken:
            row = (row + 1) % width
        taken[row] = name
    return {name: row for row, name in taken.items()}


def _basis_row(row: int, width: int) -> Vector:
    """Row `row` of the orthonormal DCT-II matrix of `width` columns, with column signs flipped."""
    columns = np.arange(width)
    scale = np.sqrt((1.0 if row == 0 else 2.0) / width)
    signs = np.array([1 - 2 * (digest & 1) for digest in hashlib.shake_256(b"mcd anchors").digest(width)])
    vector: Vector = (scale * np.cos(np.pi * (columns + 0.5) * row / width) * signs).astype(np.float32)
    return vector


def _embedding(text: str, model: c.Model, concept: c.Concept) -> npt.NDArray[np.float32]:
    """Mean of the input embeddings of the tokens of `text`, [hidden], without added tokens."""
    assert model.weights is not None, "the checker requires weights for embedding anchors"
    ids = Tokenizer.from_file(str(model.tokenizer)).encode(text, add_special_tokens=False).ids
    if not ids:
        raise _unreadable(concept, f"`{text}` has no token, so it has no embedding")
    tables = [name for name in _read(concept, tensor_names, model.weights) if name.endswith(EMBEDDING_SUFFIXES)]
    if not tables:
        raise _unreadable(
            concept, f"`{model.weights.name}` has no input embedding (a tensor `...{EMBEDDING_SUFFIXES[0]}`)"
        )
    rows = _read(concept, read_tensor, model.weights, tables[0], ids)
    mean: Vector = rows.mean(axis=0)
    return mean


P = ParamSpec("P")
T = TypeVar("T")


def _read(concept: c.Concept, reader: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a reader of `tensors`, its errors turned into a finding at the concept that asks."""
    try:
        return reader(*args, **kwargs)
    except (OSError, SafetensorError, KeyError, IndexError, ValueError) as error:
        raise _unreadable(concept, f"the anchor of `{concept.name}` cannot be read: {error}") from None


def _unit(vector: npt.NDArray[np.float32], concept: c.Concept) -> Vector:
    flat = vector.astype(np.float64).reshape(-1)
    norm = float(np.linalg.norm(flat))
    if not np.isfinite(norm) or norm == 0.0:
        raise _unreadable(concept, f"the anchor of `{concept.name}` has length {norm:g}; a direction needs one above 0")
    return (flat / norm).astype(np.float32)


def _unreadable(concept: c.Concept, message: str) -> Failure:
    return Failure(codes.VECTOR_UNREADABLE.at(concept.place, message))
