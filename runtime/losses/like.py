"""`relate a -> b like c -> d`: parallel offsets.

That relations are offsets, compared by their cosine: Mikolov, Yih and Zweig, "Linguistic Regularities in Continuous Space Word
Representations" (2013). That the offset may be a vector of its own, trained along: Bordes et al., "Translating Embeddings
for Modeling Multi-relational Data" (2013), there with a distance.
"""

from __future__ import annotations

from torch import Tensor

from .cosine import cosine_similarity


def like(offset: Tensor, target: Tensor, margin: Tensor) -> Tensor:
    """max(0, margin - cos(offset, target)): [R], of offsets [R, d] and margins [R]. With margin 1 it is 1 - cos.

    Source: this project, after Mikolov et al. 2013, https://aclanthology.org/N13-1090.
    """
    return (margin - cosine_similarity(offset, target)).clamp(min=0)
