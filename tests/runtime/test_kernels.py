"""Kernels and precisions that a machine without a GPU can hold: masks of flex attention, what flash kernels are given, bfloat16,
float16, and what checkpointing keeps."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, AttentionMaskInterface
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS, AttentionInterface

from mcd.dsl.diagnostics import Failure
from mcd.runtime.adapters import Adapter, plain_logits
from mcd.runtime.supervise import supervise

from .builders import HEADS, LOOKS, SPREAD, make_anchors, make_attend, make_batch, make_model, make_plan, make_toward
from .parts import PLAN, distance, expected_of, gradients_of, make_part, supervised_of
from .reference import in_float64, naive
from .test_attention import Plain

ALL = list(range(8))
FLEX = make_plan(make_attend(layers=(1, 3)), make_toward())
WINDOWED = make_plan(make_attend(layers=(1, 3)), windows=(3, 3, 3))
OWN = make_plan(make_attend(layers=(2,)), make_toward(layers=(0, 1, 3)))
LOOK = {"look": [(0, 5, [4]), (0, 8, [6, 7]), (1, 4, [3])]}


FLEX_WRITTEN = pytest.param("flex_written", marks=pytest.mark.slow)  # transformers compiles what makes the mask

# --- flex and flash ----------------------------------------------------------------------------------------------------


def masked(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Any, **given: Any) -> Any:
    """What a flex kernel computes with a mask that is a program, written out: the whole mask, and no kernel."""
    assert type(mask).__name__ == "BlockMask"
    length = torch.arange(query.shape[2])
    record = torch.arange(len(query))[:, None, None, None]
    allowed = mask.mask_mod(record, torch.zeros_like(record), length[:, None], length[None])
    return dense(query, key, value, allowed, given["scaling"])


def flash(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Any, **given: Any) -> Any:
    """What a flash kernel computes of a mask over tokens or none, causality, and a window."""
    assert mask is None or mask.ndim == 2
    length = torch.arange(query.shape[2])
    behind = length[:, None] - length[None]
    allowed = behind >= 0
    if given.get("sliding_window") is not None:
        allowed = allowed & (behind < given["sliding_window"])
    if mask is not None:
        allowed = allowed & mask.bool()[:, None, None, :]
    return dense(query, key, value, allowed, given["scaling"])


def dense(query: Tensor, key: Tensor, value: Tensor, allowed: Tensor, scaling: float) -> tuple[Tensor, None]:
    key, value = (each.repeat_interleave(query.shape[1] // each.shape[1], 1) for each in (key, value))
    scores = (query @ key.mT * scaling).masked_fill(~allowed, -1e9)
    return (scores.softmax(-1) @ value).transpose(1, 2), None


@pytest.fixture(scope="module")
def kernels() -> Iterator[None]:
    """Both under names of the library's, since it asks for these: `flex_written` with the masks of flex attention."""
    for name, function, mask in (
        ("flex_written", masked, "flex_attention"),
        ("flash_written", flash, "flash_attention_2"),
    ):
        AttentionInterface.register(name, function)
        AttentionMaskInterface.register(name, ALL_MASK_ATTENTION_FUNCTIONS[mask])
    yield
    for interface in (ALL_ATTENTION_FUNCTIONS, ALL_MASK_ATTENTION_FUNCTIONS):
        for name in [name for name in interface if "_written" in name]:
            interface._global_mapping.pop(name, None)


def with_kernel(kind: str, name: str, **settings: Any) -> nn.Module:
    model = make_model(kind, **settings)
    model.config._attn_implementation = name
    return model


def agree(model: nn.Module, plan: Any, rows: Any, lengths: list[int]) -> None:
    """Loss and gradients against the reference."""
    batch = make_batch(plan, lengths, rows)
    twin = in_float64(model)
    losses = naive(twin, plan, batch, anchors=make_anchors())
    losses["total"].backward()
    supervised = supervise(model, plan, anchors=make_anchors()).train()
    out = supervised(batch, time=0.0)
    out.loss.backward()
    assert out.loss.item() == pytest.approx(losses["total"].item(), rel=1e-5)
    assert distance(gradients_of(supervised.model), gradients_of(twin)) < 1e-5


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("kernel", [FLEX_WRITTEN, "flash_written"])
@pytest.mark.parametrize("lengths", [[9, 6], [9, 9]])
def test_rows_and_gradients_from_what_a_kernel_is_given(kernel: str, lengths: list[int]) -> None:
    agree(with_kernel("llama", kernel), FLEX, {"look": LOOKS, "axis": SPREAD}, lengths)


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("kernel", [FLEX_WRITTEN, "flash_written"])
def test_windows_from_what_a_kernel_is_given(kernel: str) -> None:
    agree(with_kernel("mistral", kernel, sliding_window=3), WINDOWED, LOOK, [9, 9])


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="flex attention compiles its kernel")
@pytest.mark.parametrize("kind", ["llama", "qwen3"])
def test_flex_attention_itself(kind: str) -> None:
    """Without a gradient, which torch has not on a CPU."""
    model, batch = (
        make_model(kind, attention="flex_attention"),
        make_batch(FLEX, [9, 6], {"look": LOOKS, "axis": SPREAD}),
    )
    expected = naive(in_float64(model), FLEX, batch, anchors=make_anchors())
    with torch.no_grad():
        out = supervise(model, FLEX, anchors=make_anchors()).eval()(batch, time=0.0)
    assert out.loss.item() == pytest.approx(expected["total"].item(), rel=1e-5)


def test_flex_attention_has_no_backward_pass_on_a_cpu() -> None:
    supervised = supervise(make_model("llama", attention="flex_attention"), FLEX, anchors=make_anchors())
    with pytest.raises(Failure, match="MCD703 `flex_attention` cannot be trained on a CPU: torch has no backward"):
        supervised(make_batch(FLEX, [9, 6], {"look": LOOKS, "axis": SPREAD}), time=0.0)


# --- precision -----------------------------------------------------------------------------------------------------------

LIMITS = {"autocast bfloat16": 0.06, "autocast float16": 0.01, "bfloat16": 0.08, "float16": 0.01}
"""Of the distance of all gradients, as one vector, from those of the reference in float64; a fifth of it for the loss."""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@pytest.mark.parametrize("how", LIMITS)
def test_losses_and_gradients_in_half_precision(how: str, kind: str) -> None:
    loss, _, gradients = expected_of(kind)
    dtype = torch.bfloat16 if "bfloat16" in how else torch.float16
    model = make_model(kind) if "autocast" in how else make_model(kind).to(dtype)
    supervised = supervised_of(model)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**8, enabled=dtype == torch.float16)
    with torch.autocast("cpu", dtype, enabled="autocast" in how):
        out = supervised(make_part(PLAN, ALL), time=0.0)
    assert out.loss.dtype == out.values.dtype == out.token.dtype == torch.float32
    scaler.scale(out.loss).backward()
    found = [each.float() / scaler.get_scale() for each in gradients_of(supervised)]
    assert out.loss.item() == pytest.approx(loss.item(), rel=LIMITS[how] / 5)
    assert distance(found, gradients) < LIMITS[how]


@pytest.mark.slow
def test_gradient_scaler_passes_over_a_step_that_overflowed() -> None:
    """Scaled by 2^40 the gradients in float16 overflow: no parameter changes, and the next scale is half of it."""
    supervised = supervised_of(make_model("llama"))
    before = [p.detach().clone() for p in supervised.parameters()]
    optimizer, scaler = (
        torch.optim.SGD(supervised.parameters(), lr=0.1),
        torch.amp.GradScaler("cpu", init_scale=2.0**40),
    )
    with torch.autocast("cpu", torch.float16):
        out = supervised(make_part(PLAN, ALL), time=0.0)
    scaler.scale(out.loss).backward()
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == 2.0**39
    assert all(torch.equal(p, b) for p, b in zip(supervised.parameters(), before, strict=True))


# --- checkpointing -------------------------------------------------------------------------------------------------------


def held(checkpointing: bool, plan: Any) -> tuple[int, int]:
    """Bytes that one pass keeps for its backward pass, and how often a block ran in both."""
    model = make_model("llama", hidden_size=64, intermediate_size=256, head_dim=16).train()
    if checkpointing:
        model.activation_checkpointing_enable()
    runs = []
    model.model.layers[1].mlp.register_forward_pre_hook(lambda *_: runs.append(1))
    supervised = supervise(model, plan, anchors={"north": torch.ones(64)}).train()
    seen: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, nn.Parameter):
            seen[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    rows = {"look": [(0, 20, [3])], "axis": [(0, [1])]}
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = supervised(make_batch(plan, [32, 32, 32, 32], rows), time=0.0)
    kept = sum(seen.values())
    out.loss.backward()
    assert all(each.fired and each.acted == 1 for each in supervised.receipts.all())
    return kept, len(runs)


@pytest.mark.parametrize("plan", [FLEX.model_copy(update={"rules": rules}) for rules in (FLEX.rules[:1], FLEX.rules)])
def test_checkpointing_computes_again_and_keeps_less(plan: Any) -> None:
    """A block runs twice and is heard once, also where rules read its query and key."""
    contract = plan.model.model_copy(update={"hidden": 64})
    plan = plan.model_copy(update={"model": contract})
    (plain, once), (less, twice) = held(False, plan), held(True, plan)
    assert (once, twice) == (1, 2)
    assert less < 0.5 * plain


class Checkpointed(Plain):
    """Checkpointing around the call of a block, so that hooks on it are inside."""

    reentrant: bool | None = None

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embed(ids)
        for block in self.blocks:
            x = block(x) if self.reentrant is None else checkpoint(block, x, use_reentrant=self.reentrant)
        return self.head(self.norm(x))


def stepped(reentrant: bool | None) -> list[Tensor]:
    paths = {"blocks": "blocks", "embedding": "embed", "norm": "norm", "head": "head", "attention": "attention"}
    adapter = Adapter(**paths, logits=plain_logits, heads=HEADS, causal=True)
    torch.manual_seed(0)
    model = Checkpointed()
    model.reentrant = reentrant
    supervised = supervise(model, OWN, adapter=adapter, anchors=make_anchors()).train()
    supervised(make_batch(OWN, [9, 6], {"look": LOOKS, "axis": SPREAD}), time=0.0).loss.backward()
    return gradients_of(supervised)


def test_checkpointing_of_ones_own_around_blocks() -> None:
    assert distance(stepped(False), stepped(None)) < 1e-6
    with pytest.raises(
        Failure, match="MCD703 rules cannot read layer 0: it runs without gradients, as under reentrant"
    ):
        stepped(True)
