"""Which tokens of a batch are masked, and what stands in their place.

Of the tokens of a text a share is predicted; most of these are replaced by the mask token, some by a random one, and some stay as
they are: Devlin et al. 2019, "BERT", https://arxiv.org/abs/1810.04805, section 3.1. Each token is drawn for by itself, as
RoBERTa's training does (Liu et al. 2019, https://arxiv.org/abs/1907.11692), and the draw is a function of seed, epoch, record,
part and position alone: no state, so that other batches, workers or an interruption change no mask.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..compiler.plan import KeepPlan, Plan, WeighPlan
from ..compiler.ragged import Bools, Ints
from ..dsl.codes.runtime import MASKING
from ..dsl.diagnostics import Failure
from .batch import Batch
from .dataset import Row
from .splitmix import GOLDEN, Words, mixed

DRAWS = 3
"""Numbers that a token needs: whether it is predicted, what becomes of it, which random token it gets."""


@dataclass(frozen=True, slots=True)
class Masking:
    """How tokens are masked. `share`: of the tokens, those that are predicted; of these a part `random` is replaced by a random
    token, a part `keep` stays, and the mask token `mask_id` replaces the rest. None: the one that the plan's tokenizer has."""

    share: float = 0.15
    random: float = 0.1
    keep: float = 0.1
    mask_id: int | None = None
    seed: int = 0


class Masker:
    """Masks the batches of a plan.

    Special tokens, and what the tokenizer adds, are neither masked nor put in another's place. Fails with MCD714 where the plan's
    model is causal, where no mask token is known, or where shares are none.
    """

    def __init__(self, masking: Masking, plan: Plan) -> None:
        _check(masking, plan)
        vocabulary = plan.tokenizer.vocabulary
        self._masking = masking
        self._mask = _mask_id(masking, plan)
        special = () if vocabulary is None else vocabulary.special
        self._special: Bools = np.zeros(plan.model.vocab, np.bool_)
        self._special[[*special, self._mask]] = True
        size = plan.model.vocab if vocabulary is None else vocabulary.size
        self._others: Ints = np.flatnonzero(~self._special[:size])

    def __call__(self, rows: Sequence[Row], ids: Ints, maskable: Bools, epoch: int) -> tuple[Ints, Bools]:
        """The tokens that the model reads, and which of them it predicts: [B, T] both.

        `ids` [B, T]: the tokens of `rows`; `maskable` [B, T]: those that belong to a text.
        """
        masking = self._masking
        drawn = _uniform(_keys(rows, masking.seed, epoch), ids.shape[1])
        known = (ids >= 0) & (ids < len(self._special))
        chosen: Bools = maskable & known & ~self._special[np.where(known, ids, 0)] & (drawn[0] < masking.share)
        becomes_random = chosen & (drawn[1] < masking.random)
        becomes_mask = chosen & (drawn[1] >= masking.random + masking.keep)
        read = np.where(becomes_mask, self._mask, ids)
        if len(self._others):
            read = np.where(becomes_random, self._others[(drawn[2] * len(self._others)).astype(np.int64)], read)
        return read, chosen


def check_masked(plan: Plan, batch: Batch) -> None:
    """Fails with MCD714 where nothing of a batch is masked, and something acts on masked tokens or nothing else acts."""
    if plan.model.causal or batch.labels is not None:
        return
    acting = [rule for rule in plan.rules if isinstance(rule, WeighPlan | KeepPlan)]
    if acting or not plan.rules:
        does = f"`{acting[0].id}` acts on the loss of masked tokens" if acting else "no rule is left that acts"
        message = f"no token of the batch is masked, and {does}"
        raise Failure(MASKING.at(None, message, help="collate with `Collator(plan, masking=Masking())`"))


def masking_of(plan: Plan, seed: int = 0) -> Masking | None:
    """How tokens are masked where nobody says it: as BERT's are, for a model that is not causal."""
    return None if plan.model.causal else Masking(seed=seed)


def _check(masking: Masking, plan: Plan) -> None:
    if plan.model.causal:
        message = "the model of the plan is causal, and predicts the next token: nothing is masked for it"
        raise Failure(MASKING.at(None, message, help="leave `masking` out, or say `causal = false` in `model`"))
    shares = {"share": masking.share, "random": masking.random, "keep": masking.keep}
    for name, value in {**shares, "random + keep": masking.random + masking.keep}.items():
        if not 0 <= value <= 1:
            raise Failure(MASKING.at(None, f"`{name}` of a masking is a share from 0 to 1, found {value:g}"))
    if not masking.share:
        raise Failure(MASKING.at(None, "a masking with `share` 0 predicts no token", help="leave `masking` out"))


def _mask_id(masking: Masking, plan: Plan) -> int:
    """The mask token. Fails with MCD714 where there is none."""
    vocabulary = plan.tokenizer.vocabulary
    found = masking.mask_id if masking.mask_id is not None or vocabulary is None else vocabulary.mask
    if found is None:
        message = (
            "nothing says which token stands for a masked one: the tokenizer has no special token `[MASK]` or `<mask>`"
        )
        raise Failure(MASKING.at(None, message, help="give its id: `Masking(mask_id=...)`"))
    if not 0 <= found < plan.model.vocab:
        message = f"`mask_id` is {found}, and the model has a vocabulary of {plan.model.vocab}"
        raise Failure(MASKING.at(None, message))
    return found


def _keys(rows: Sequence[Row], seed: int, epoch: int) -> Words:
    """A number for each row: [B]."""
    texts = (f"{seed}/{epoch}/{row.part}/{row.id}".encode() for row in rows)
    digests = b"".join(hashlib.blake2b(text, digest_size=8).digest() for text in texts)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def _uniform(keys: Words, width: int) -> npt.NDArray[np.float64]:
    """Numbers from 0 up to 1 for every token: [DRAWS, B, width]."""
    place = np.arange(1, DRAWS * width + 1, dtype=np.uint64).reshape(width, DRAWS).T
    found = mixed(keys[None, :, None] + place[:, None, :] * GOLDEN)
    return (found >> np.uint64(11)).astype(np.float64) * 2.0**-53
