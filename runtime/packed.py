"""Rows of several records: how a Hugging Face model is told of them, and the proof that a model keeps them apart.

transformers makes a mask that keeps records apart of positions that begin anew, in the models that hand these on to it, for
causal attention, and only where no other mask is given. The flash kernels take the ends of the records instead, since they look
for them in positions of a single row alone. What a model makes of either is not taken on trust: see `check_apart`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..dsl.codes.runtime import PACKED_MODEL
from ..dsl.diagnostics import Failure
from .batch import Batch, KeepRows, WeighRows
from .pack import pack

Run = Callable[[Batch], Tensor]
"""What a model computes of each token of a batch: [B, T, ..]."""

HELP = (
    "pad its batches; a model of one's own reads `position_ids` and `document` of the batch in its adapter's `logits`"
)
LENGTH = 4
"""Tokens of each record of the proof."""


def beside(model: nn.Module, batch: Batch) -> dict[str, Any]:
    """What the forward pass of a Hugging Face model is given beside token ids: which of them are padding, or in a packed batch
    where its records are.

    There padding has place 0 throughout: every such token is a record of its own, that sees itself, and no place is beyond
    those that the model knows.
    """
    if batch.document is None:
        return {"attention_mask": batch.attention_mask}
    given: dict[str, Any] = {"attention_mask": None, "position_ids": batch.position_ids}
    if "flash" in kernel_of(model):
        segments = batch.segments
        begins = torch.ones_like(segments, dtype=torch.bool)
        begins[:, 1:] = segments[:, 1:] != segments[:, :-1]
        ends = torch.cat([begins.flatten().nonzero()[:, 0], begins.new_tensor([begins.numel()], dtype=torch.int64)])
        longest = int(ends.diff().max())
        given |= {"cu_seq_lens_q": ends.int(), "cu_seq_lens_k": ends.int()}
        given |= {"max_length_q": longest, "max_length_k": longest}
    return given


def kernel_of(model: nn.Module) -> str:
    """What a Hugging Face model computes its attention with, as its config has it; empty for other models."""
    return str(getattr(getattr(model, "config", None), "_attn_implementation", None) or "")


@torch.compiler.disable  # type: ignore[untyped-decorator]
@torch.no_grad()
def check_apart(model: nn.Module, run: Run, vocab: int, device: torch.device) -> None:
    """Fails with MCD729 where `run`, a forward pass of `model`, does not compute of a record in a packed row what it computes of
    the record alone.

    One pass, in evaluation mode, over records A, B, C, and D, which is B with another first token, in the rows AB, CB, BA, BC
    and DA. What comes of B may depend neither on what stands before it nor on what stands behind it, nor on its place in the
    row. That D gives another last row than B shows that the model looks back at all, without which nothing would be proved.
    """
    name = type(model).__name__
    with _evaluating(model):
        try:
            found = run(_rows(LENGTH, vocab, device))
        except TypeError as error:
            raise _leaks(name, f"its forward pass takes no packed rows ({error})") from None
    behind_a, behind_c, before_a, before_c, other = found.float() if found.dtype.itemsize < 4 else found
    room = _noise(found, model) * float(found.abs().max())

    def differs(one: Tensor, two: Tensor) -> bool:
        return not float((one - two).abs().max()) <= room

    if not differs(before_a[LENGTH - 1], other[LENGTH - 1]):
        raise _leaks(name, "what it computes of a token depends on no earlier token, so that nothing can be shown")
    if differs(behind_a[LENGTH:], behind_c[LENGTH:]):
        raise _leaks(name, "a record depends on the record before it in its row")
    if differs(before_a[:LENGTH], before_c[:LENGTH]):
        raise _leaks(name, "a record depends on the record behind it in its row")
    if differs(behind_a[LENGTH:], before_a[:LENGTH]):
        raise _leaks(name, "a record depends on its place in the row")


def _leaks(name: str, why: str) -> Failure:
    return Failure(PACKED_MODEL.at(None, f"`{name}` does not keep the records of a packed row apart: {why}", help=HELP))


def _rows(length: int, vocab: int, device: torch.device) -> Batch:
    """The rows of the proof, two records each."""
    start = torch.arange(length) + vocab // 2  # Away from the first ids, which tokenizers give to padding.
    a, b, c = (start + shift for shift in range(3))
    d = torch.cat([b[:1] + 1, b[1:]])
    ids = torch.stack([a, b, c, b, b, a, b, c, d, a]) % vocab
    nothing = torch.zeros(0, dtype=torch.int64)
    padded = Batch(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        scored=torch.zeros_like(ids, dtype=torch.bool),
        weigh=WeighRows(nothing, nothing, nothing, nothing.float()),
        keep=KeepRows(nothing, nothing, nothing),
        attend=(),
        hidden=(),
        ids=tuple(map(str, range(len(ids)))),
    )
    return pack(padded, [[at, at + 1] for at in range(0, len(ids), 2)], 2 * length).to(device)


def _noise(found: Tensor, model: nn.Module) -> float:
    """How far numbers that ought to be equal may be apart, as a share of the largest: by the coarsest format in the pass."""
    formats = {found.dtype, *(p.dtype for p in model.parameters() if p.is_floating_point())}
    if torch.is_autocast_enabled(found.device.type):
        formats.add(torch.get_autocast_dtype(found.device.type))
    return float(max(torch.finfo(kind).eps for kind in formats) ** 0.5 / 4)


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Within it the model is in evaluation mode, and draws no random numbers."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
