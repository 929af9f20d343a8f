"""The token loss: cross-entropy of each token, given those before it, or given what masking left of its text."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from ..precision import widen


def token_losses(logits: Tensor, tokens: Tensor, causal: bool = True) -> Tensor:
    """-log softmax(logits)[token] in nats, in float32, at the token: [B, T], from logits [B, T, V] and tokens [B, T].

    In a causal model a token is predicted one row before it: the targets are moved rather than the logits, which are large.
    Nothing predicts a record's first token, whose loss is 0 here. In another model it is predicted at its own row, and
    `tokens` are those that masking replaced.

    Source: Bengio et al. 2003, "A Neural Probabilistic Language Model", https://www.jmlr.org/papers/v3/bengio03a.html; of masked
    tokens: Devlin et al. 2019, "BERT", https://arxiv.org/abs/1810.04805.
    """
    if not causal:
        return cross_entropies(logits.flatten(0, 1), tokens.flatten()).view_as(tokens)
    target = functional.pad(tokens[:, 1:], (0, 1))
    loss = cross_entropies(logits.flatten(0, 1), target.flatten())
    return functional.pad(loss.view_as(target)[:, :-1], (1, 0))


def cross_entropies(logits: Tensor, target: Tensor) -> Tensor:
    """-log softmax(logits)[target] in nats, in float32: [N], from logits [N, V] and targets [N]."""
    return functional.cross_entropy(widen(logits), target, reduction="none")
