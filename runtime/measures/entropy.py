"""`entropy`: how undecided a model is about a token before it sees it."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from ..precision import widen


def entropy(logits: Tensor) -> Tensor:
    """-sum over v of p(v) log p(v) in nats, in float32, of the distribution from which the token is predicted: [B, T].

    `logits` [B, T, V]. It stands at the token, and was computed one row before it; a record's first token has 0 here. A logit
    of -inf is a token that cannot come, and adds nothing.
    """
    log_p = widen(logits[:, :-1]).log_softmax(-1)
    found = -(log_p.exp() * log_p.clamp(min=-1e30)).sum(-1)
    return functional.pad(found, (1, 0))
