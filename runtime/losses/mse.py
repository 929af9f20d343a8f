"""`mse`: a hidden state itself."""

from __future__ import annotations

from torch import Tensor


def mse(state: Tensor, target: Tensor) -> Tensor:
    """mean over d of (state - target)^2: [R], of vectors [R, d].

    Source: hints between hidden states, with a trained map between widths: Romero et al. 2014, "FitNets: Hints for Thin Deep
    Nets", https://arxiv.org/abs/1412.6550, equation 3.
    """
    return (state - target).square().mean(-1)
