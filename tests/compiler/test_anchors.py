"""Anchors: orthonormal, the same everywhere, read from any float type; what cannot be read is said at the concept."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers

from mcd.compiler.files.anchors import anchors
from mcd.dsl import checked as c
from mcd.dsl.diagnostics import Failure
from mcd.dsl.source import Place, SourceText

SPEC = SourceText("spec.mcd", "concept a {}\n")
PLACE = Place(SPEC, 0, 12)


def concept(name: str, anchor: c.Anchor) -> c.Concept:
    return c.Concept(name, None, anchor, PLACE)


def model(tmp_path, hidden: int = 8, weights=None) -> c.Model:
    tokenizer = Tokenizer(models.WordLevel({"red": 0, "blue": 1, "[UNK]": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return c.Model(
        name="m",
        architecture=None,
        layers=2,
        heads=2,
        hidden=hidden,
        vocab=3,
        causal=True,
        tokenizer=tmp_path / "tokenizer.json",
        context=16,
        overflow=c.Overflow(),
        weights=weights,
        lost="warn",
        place=PLACE,
    )


def test_orthonormal_anchors_are_orthonormal_up_to_a_full_basis(tmp_path):
    names = [f"concept{i}" for i in range(8)]
    found = anchors([concept(name, c.Orthonormal()) for name in names], model(tmp_path))
    matrix = np.stack([found[name] for name in names])
    assert matrix.dtype == np.float32
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(8), atol=1e-6)


def test_another_concept_moves_no_anchor_unless_they_collide(tmp_path):
    """In 4,096 dimensions these digests differ, so the first two stay where they were."""
    wide = model(tmp_path, hidden=4096)
    two = anchors([concept("cat", c.Orthonormal()), concept("dog", c.Orthonormal())], wide)
    three = anchors([concept(name, c.Orthonormal()) for name in ("ant", "dog", "cat")], wide)
    np.testing.assert_array_equal(two["cat"], three["cat"])
    np.testing.assert_array_equal(two["dog"], three["dog"])


def test_the_first_row_of_the_basis_is_flat_but_for_signs(tmp_path):
    """Row 0 of the orthonormal DCT-II is 1/sqrt(width) everywhere: 0.4472136 in 5 dimensions. Of 5, one has row 0."""
    found = anchors([concept(name, c.Orthonormal()) for name in "abcde"], model(tmp_path, hidden=5))
    assert sum(np.allclose(np.abs(vector), 0.4472136, atol=1e-6) for vector in found.values()) == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_a_vector_of_any_float_type_is_scaled_to_length_1(tmp_path, dtype):
    """(3, 4, 0, ...) has length 5: (0.6, 0.8, 0, ...)."""
    vector = torch.zeros(8, dtype=dtype)
    vector[0], vector[1] = 3.0, 4.0
    save_file({"other": torch.ones(3), "axis": vector}, tmp_path / "v.safetensors")
    found = anchors([concept("x", c.VectorAnchor(tmp_path / "v.safetensors", "axis"))], model(tmp_path))
    np.testing.assert_allclose(found["x"], [0.6, 0.8, 0, 0, 0, 0, 0, 0], atol=1e-7)


def test_an_embedding_anchor_is_the_mean_of_its_tokens_rows(tmp_path):
    """Rows (2, 0) and (0, 0.5) have the mean (1, 0.25), of length sqrt(1.0625)."""
    table = torch.tensor([[2.0, 0.0], [0.0, 0.5], [9.0, 9.0]], dtype=torch.bfloat16)
    save_file({"model.embed_tokens.weight": table}, tmp_path / "model.safetensors")
    contract = model(tmp_path, hidden=2, weights=tmp_path / "model.safetensors")
    found = anchors([concept("x", c.EmbeddingAnchor("red blue"))], contract)
    np.testing.assert_allclose(found["x"], np.array([1.0, 0.25]) / np.sqrt(1.0625), atol=1e-7)


@pytest.mark.parametrize(
    ("vector", "said"),
    [(torch.zeros(8), "has length 0"), (torch.ones(8, dtype=torch.int64), "type I64"), (None, "cannot be read")],
)
def test_a_vector_that_is_no_direction_is_a_finding_at_its_concept(tmp_path, vector, said):
    path = tmp_path / "v.safetensors"
    if vector is None:
        path.write_bytes(b"no tensors here")
    else:
        save_file({"axis": vector}, path)
    with pytest.raises(Failure) as failure:
        anchors([concept("x", c.VectorAnchor(path, "axis"))], model(tmp_path))
    (found,) = failure.value.diagnostics
    assert (found.code.id, found.place) == ("MCD411", PLACE)
    assert said in found.message
