"""The attention interface, and rows computed again from what passes through it."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from mcd.dsl.diagnostics import Failure
from mcd.runtime.adapters import Adapter, plain_logits
from mcd.runtime.attention import Observed, capturing, key_rows, observe
from mcd.runtime.losses.rows import log_mass
from mcd.runtime.supervise import supervise

from .builders import HEADS, LAYERS, VOCAB, WIDTH, make_attend, make_batch, make_model, make_plan
from .reference import in_float64, naive

LOOKS = {"look": [(0, 5, [1, 2]), (0, 8, [0, 7]), (1, 4, [0, 4]), (1, 0, [0])]}
PLAN = make_plan(make_attend(layers=(1, 3)))


def loss_of(model: nn.Module, plan: Any = PLAN, **batch: Any) -> float:
    with supervise(model, plan) as supervised:
        return supervised(make_batch(plan, [9, 6], LOOKS, **batch), time=0).rules["look"].item()


def expected_of(model: nn.Module, plan: Any = PLAN) -> float:
    return naive(in_float64(model), plan, make_batch(plan, [9, 6], LOOKS))["look"].item()


# --- rows ------------------------------------------------------------------------------------------------------------


def probabilities(seen: Observed, at: int, heads: tuple[int, ...] | None = None) -> Tensor:
    length = seen.query.shape[2]
    position = torch.full((1, 1), at)
    keys = torch.ones(1, 1, length, dtype=torch.bool)
    rows = key_rows(seen, position, keys, torch.ones(1, 1), torch.ones(1, length), heads)
    return rows.log_p.exp()[0, :, 0]


def make_scores(scores: list[float], **values: Any) -> Observed:
    """One head whose queries score the keys as given."""
    length = len(scores)
    given = {"scaling": 1.0, "mask": None, "causal": True} | values
    return Observed(torch.tensor(scores).expand(1, 1, length, -1), torch.eye(length)[None, None], **given)


def test_row_is_a_softmax_over_the_keys_up_to_the_query() -> None:
    """Scores ln 1, ln 2, ln 4. At 2: 1/7, 2/7, 4/7; at 1, causal: 1/3, 2/3; scaled by 2, the squares: 1/5, 4/5."""
    scores = [0.0, math.log(2), math.log(4)]
    assert probabilities(make_scores(scores), 2)[0].tolist() == pytest.approx([1 / 7, 2 / 7, 4 / 7])
    assert probabilities(make_scores(scores), 1)[0].tolist() == pytest.approx([1 / 3, 2 / 3, 0])
    assert probabilities(make_scores(scores, scaling=2.0), 1)[0].tolist() == pytest.approx([1 / 5, 4 / 5, 0])
    assert probabilities(make_scores(scores, causal=False), 0)[0].tolist() == pytest.approx([1 / 7, 2 / 7, 4 / 7])


def test_soft_cap_and_sink() -> None:
    """Cap 1: scores tanh 0 and tanh ln 2 = 0.6: 1 / (1 + e^0.6) = 0.354344. A sink of score ln 3: 1/6, 2/6, and 3/6 on no key."""
    scores = [0.0, math.log(2)]
    assert probabilities(make_scores(scores, softcap=1.0), 1)[0, 0].item() == pytest.approx(0.354344, abs=1e-6)
    sink = torch.tensor([math.log(3)])
    assert probabilities(make_scores(scores, sinks=sink), 1)[0].tolist() == pytest.approx([1 / 6, 2 / 6])


@pytest.mark.parametrize("additive", [False, True])
def test_model_mask_decides_which_keys_count(additive: bool) -> None:
    """A mask hides key 0: scores ln 2, ln 4 are left, 1/3 and 2/3. An additive one adds ln 2 to key 2 as well: 1/5, 4/5."""
    mask: Tensor = torch.tensor([False, True, True]).expand(1, 1, 3, 3)
    expected = [0, 1 / 3, 2 / 3]
    if additive:
        mask = torch.tensor([torch.finfo(torch.float32).min, 0.0, math.log(2)]).expand(1, 1, 3, 3)
        expected = [0, 1 / 5, 4 / 5]
    seen = make_scores([0.0, math.log(2), math.log(4)], mask=mask)
    assert probabilities(seen, 2)[0].tolist() == pytest.approx(expected)


def test_bias_is_added_to_the_scores() -> None:
    """Scores 0 and ln 2 with biases ln 6 and 0 at row 1: 6 and 2 parts of 8. Of two heads, the second has its own: 0 and ln 2."""
    scores = make_scores([0.0, math.log(2)], bias=torch.tensor([[0.0, 0.0], [math.log(6), 0.0]]).view(1, 1, 2, 2))
    assert probabilities(scores, 1)[0].tolist() == pytest.approx([6 / 8, 2 / 8])
    both = torch.stack([scores.bias[0, 0], torch.tensor([[0.0, 0.0], [0.0, math.log(2)]])])[None]
    two = Observed(scores.query.expand(-1, 2, -1, -1), scores.key, 1.0, None, True, bias=both)
    assert probabilities(two, 1, (1,))[0].tolist() == pytest.approx([1 / 5, 4 / 5])


def test_query_heads_share_keys_by_groups() -> None:
    """4 query heads over 2 key heads: heads 0, 1 read key head 0, heads 2, 3 key head 1, whichever of them are asked for."""
    torch.manual_seed(0)
    query, key = torch.randn(1, 4, 5, 8), torch.randn(1, 2, 5, 8)
    seen = Observed(query, key, 0.5, None, True)
    full = torch.softmax(0.5 * query[0, :, 4] @ key.repeat_interleave(2, 1)[0].mT, -1).diagonal(dim1=0, dim2=1).mT
    torch.testing.assert_close(probabilities(seen, 4), full)
    torch.testing.assert_close(probabilities(seen, 4, (3, 1)), full[[3, 1]])


def test_keys_that_the_model_masks_are_no_part_of_a_set() -> None:
    rows = key_rows(
        make_scores([0.0, 0.0, 0.0]),
        torch.ones(1, 1).long(),
        torch.tensor([[[False, True, True]]]),
        torch.ones(1, 1),
        torch.ones(1, 3),
    )
    assert rows.keys[0, 0, 0].tolist() == [False, True, False]
    assert rows.rest[0, 0, 0].tolist() == [True, False, False]
    assert log_mass(rows.log_p, rows.keys).exp().item() == pytest.approx(0.5)


# --- models ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{"scale_attn_by_inverse_layer_idx": True}, {"scale_attn_weights": False}])
@pytest.mark.parametrize("upcast", [False, True])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_scales_of_gpt2(settings: dict[str, bool], upcast: bool, attention: str) -> None:
    model = make_model("gpt2", attention=attention, reorder_and_upcast_attn=upcast, **settings)
    assert loss_of(model) == pytest.approx(expected_of(model), rel=1e-5)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_eager_model_stays_eager_and_gives_the_same(kind: str) -> None:
    model, batch = make_model(kind, attention="eager"), make_batch(PLAN, [9, 6], LOOKS)
    plain = model(batch.input_ids, attention_mask=batch.attention_mask).logits
    with supervise(model, PLAN) as supervised:
        out = supervised(batch, time=0)
    assert model.config._attn_implementation == "eager"
    assert torch.equal(out.logits, plain)
    assert out.rules["look"].item() == pytest.approx(expected_of(model), rel=1e-5)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_fast_kernel_computes_the_output(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every layer goes through scaled_dot_product_attention once, and nothing of the model's output changes by a bit."""
    calls = []
    kernel = torch.nn.functional.scaled_dot_product_attention
    monkeypatch.setattr(
        torch.nn.functional, "scaled_dot_product_attention", lambda *a, **k: calls.append(1) or kernel(*a, **k)
    )
    model, batch = make_model(kind), make_batch(PLAN, [9, 6], LOOKS)
    plain = model(batch.input_ids, attention_mask=batch.attention_mask).logits
    calls.clear()
    out = supervise(model, PLAN)(batch, time=0)
    assert len(calls) == LAYERS
    assert torch.equal(out.logits, plain)


def test_no_model_is_touched_between_passes() -> None:
    model, other = make_model("llama"), make_model("llama")
    supervised = supervise(model, PLAN)
    supervised(make_batch(PLAN, [9, 6], LOOKS), time=0)
    assert model.config._attn_implementation == other.config._attn_implementation == "sdpa"


def test_exception_in_the_forward_pass_restores_the_model() -> None:
    model, batch = make_model("gpt2"), make_batch(PLAN, [9, 6], LOOKS)
    supervised = supervise(model, PLAN)
    handle = model.transformer.h[1].register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        supervised(batch, time=0)
    handle.remove()
    assert model.config._attn_implementation == "sdpa"
    assert supervised(batch, time=0).rules["look"].item() == pytest.approx(expected_of(model), rel=1e-5)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_padding_changes_nothing(kind: str) -> None:
    """The same records padded to 9, the length of the longer one, and to 20 tokens."""
    model = make_model(kind)
    with supervise(model, PLAN) as supervised:
        short = make_batch(PLAN, [9, 6], LOOKS)
        long = make_batch(PLAN, [9, 6], LOOKS, length=20)
        long.input_ids[:, :9] = short.input_ids
        a, b = supervised(short, time=0), supervised(long, time=0)
    assert a.rules["look"].item() == pytest.approx(b.rules["look"].item(), rel=1e-5)
    assert a.loss.item() == pytest.approx(b.loss.item(), rel=1e-5)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_gradient_checkpointing_changes_no_gradient(kind: str) -> None:
    found = []
    for checkpointing in (False, True):
        model = make_model(kind).train()
        if checkpointing:
            model.gradient_checkpointing_enable()
        supervise(model, PLAN)(make_batch(PLAN, [9, 6], LOOKS), time=0).loss.backward()
        found.append([p.grad for p in model.parameters()])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b)


def test_reentrant_checkpointing_would_lose_the_gradient_and_is_refused() -> None:
    model = make_model("llama").train()
    model.gradient_checkpointing_enable({"use_reentrant": True})
    with pytest.raises(Failure, match="MCD703 attention rules cannot read `LlamaAttention`: it runs without gradients"):
        supervise(model, PLAN)(make_batch(PLAN, [9, 6], LOOKS), time=0)


def test_rows_are_those_before_dropout() -> None:
    """Attention dropout of one half, in training: the first layer's rows are what they are without it."""
    plan = make_plan(make_attend(layers=(1,)))
    dropped, plain = make_model("gpt2", attn_pdrop=0.5).train(), make_model("gpt2")
    assert loss_of(dropped, plan) == pytest.approx(loss_of(plain, plan), rel=1e-6)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_bfloat16_model_has_its_rows_in_float32(kind: str) -> None:
    model = make_model(kind).bfloat16()
    with supervise(model, PLAN) as supervised:
        loss = supervised(make_batch(PLAN, [9, 6], LOOKS), time=0).rules["look"]
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected_of(model), rel=0.05)


def test_autocast_leaves_the_rows_in_float32() -> None:
    model = make_model("llama")
    with supervise(model, PLAN) as supervised, torch.autocast("cpu", torch.bfloat16):
        out = supervised(make_batch(PLAN, [9, 6], LOOKS), time=0)
    assert out.rules["look"].dtype == out.loss.dtype == torch.float32
    out.loss.backward()


def test_flex_attention_is_refused_by_name() -> None:
    with pytest.raises(Failure, match="MCD703 attention rules cannot read `LlamaForCausalLM` with `flex_attention`"):
        supervise(make_model("llama", attention="flex_attention"), PLAN)


def test_attention_that_cannot_be_computed_again_is_refused_by_name() -> None:
    """A mask that is no tensor."""
    module, q = make_model("llama").model.layers[0].self_attn, torch.zeros(1, HEADS, 3, 4)
    config = module.config
    with capturing([config], {module: 1}):
        kernel = ALL_ATTENTION_FUNCTIONS[config._attn_implementation]
        with pytest.raises(
            Failure, match="MCD703 attention rules cannot read `LlamaAttention`: a mask of type `object`"
        ):
            kernel(module, q, q, q, object())
    assert config._attn_implementation == "sdpa"


# --- modules of one's own --------------------------------------------------------------------------------------------


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = Attention()

    def forward(self, x: Tensor) -> Tensor:
        return x + self.attention(x)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(WIDTH, 3 * WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in self.mix(x).chunk(3, -1))
        observe(self, q, k)
        return nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCAB, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, VOCAB)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embed(ids)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def test_plain_module_with_an_adapter() -> None:
    """A row at position 0 can only attend to itself: -ln 1 = 0; one with all its keys in the set as well."""
    paths = {"blocks": "blocks", "embedding": "embed", "norm": "norm", "head": "head", "attention": "attention"}
    adapter = Adapter(**paths, logits=plain_logits, heads=HEADS, causal=True)
    model = Plain()
    supervised = supervise(model, PLAN, adapter=adapter)
    out = supervised(make_batch(PLAN, [5], {"look": [(0, 0, [0]), (0, 2, [0, 1, 2])]}), time=0)
    assert out.rules["look"].item() == pytest.approx(0, abs=1e-6)
    out = supervised(make_batch(PLAN, [5], {"look": [(0, 3, [1])]}), time=0)
    out.rules["look"].backward()
    assert model.blocks[0].attention.mix.weight.grad.any()


def test_plain_module_whose_adapter_names_no_attention_is_refused() -> None:
    adapter = Adapter("blocks", "embed", "norm", "head", logits=plain_logits, heads=HEADS, causal=True)
    with pytest.raises(
        Failure, match="MCD703 rule `look` reads attention, and the adapter of `Plain` does not say where"
    ):
        supervise(Plain(), PLAN, adapter=adapter)
