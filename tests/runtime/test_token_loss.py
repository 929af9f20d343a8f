"""The token loss in chunks against whole logits and against the float64 reference, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoModelForCausalLM, CohereConfig, GraniteConfig

from mcd.compiler.plan import GradientPlan, Plan
from mcd.dsl.diagnostics import Failure
from mcd.runtime.adapters import LLAMA, Adapter
from mcd.runtime.batch import Batch
from mcd.runtime.supervise import supervise
from mcd.runtime.supervised import Supervised
from mcd.runtime.totals import Losses

from .builders import (
    EVERY_ROW,
    EVERYTHING,
    HEADS,
    LAYERS,
    VOCAB,
    WIDTH,
    make_anchors,
    make_batch,
    make_keep,
    make_model,
    make_plan,
    make_predict,
    make_weigh,
)
from .masked import BERT, make_bert
from .reference import in_float64, naive

LENGTHS = [9, 6, 1, 7]
BOOST = [(0, 3, 4.0), (1, 5, 0.5), (0, 4, 0.0), (3, 2, 2.0)]


def make_other(kind: str) -> nn.Module:
    """Models that multiply the logits of their head, or divide them."""
    config = {"cohere": CohereConfig, "granite": GraniteConfig}[kind]
    factor = {"logit_scale": 0.25} if kind == "cohere" else {"logits_scaling": 4.0}
    sizes = {"num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "hidden_size": WIDTH, "vocab_size": VOCAB}
    torch.manual_seed(7)
    given = config(**sizes, intermediate_size=24, num_key_value_heads=2, pad_token_id=0, **factor)
    return AutoModelForCausalLM.from_config(given)


def make_one(kind: str, **settings: Any) -> tuple[nn.Module, Adapter | None]:
    if kind == "bert":
        return make_bert(), BERT
    if kind in ("cohere", "granite"):
        return make_other(kind), LLAMA
    return make_model(kind, **settings), LLAMA if kind.startswith("gemma") else None


def masked(batch: Batch) -> Batch:
    """Every third token is predicted, and another stands in its place."""
    place = torch.arange(batch.input_ids.shape[1]) % 3 == 1
    scored = place & batch.attention_mask.bool()
    read = torch.where(scored, (batch.input_ids + 1) % VOCAB, batch.input_ids)
    return replace(batch, input_ids=read, labels=batch.input_ids, scored=scored)


def gradients(supervised: Supervised, loss: Tensor) -> list[Tensor]:
    found = torch.autograd.grad(loss, list(supervised.parameters()), retain_graph=True, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for g, p in zip(found, supervised.parameters(), strict=True)]


SETTINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("gpt2", {}),
    "llama": ("llama", {}),
    "gemma2": ("gemma2", {"final_logit_softcapping": 3.0, "attention": "eager"}),
    "cohere": ("cohere", {}),
    "granite": ("granite", {}),
    "bert": ("bert", {}),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_chunked_loss_is_the_loss_of_whole_logits_in_float64(case: str) -> None:
    """Under weights, in a model in float64: within 1e-6 of the naive reference, in value and in every gradient. GPT-2's head is
    its embedding, Gemma caps its logits, Cohere and Granite scale them, BERT's head is more than a matrix."""
    kind, settings = SETTINGS[case]
    model, adapter = make_one(kind, **settings)
    model = in_float64(model)
    plan = make_plan(make_weigh(), causal=kind != "bert")
    batch = make_batch(plan, LENGTHS, weigh={"boost": BOOST})
    batch = masked(batch) if kind == "bert" else batch
    expected = naive(model, plan, batch)["token"]
    for chunk in (1, 4, 1000):
        with supervise(model, plan, adapter=adapter, chunk=chunk) as supervised:
            out = supervised(batch, time=0.0)
            assert out.logits is None
            assert abs(out.token.item() - expected.item()) < 1e-6
            for ours, theirs in zip(gradients(supervised, out.loss), gradients(supervised, expected), strict=True):
                torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


def pair(plan: Plan, kind: str = "llama", **given: Any) -> tuple[Supervised, Supervised]:
    """The same model, in chunks and not."""
    return supervise(make_model(kind), plan, **given, chunk=5), supervise(make_model(kind), plan, **given)


def check_alike(ours: Supervised, theirs: Supervised, passes: Any) -> None:
    """What `passes` gives of the one and the other, with the gradients that it leaves."""
    found = [passes(each) for each in (ours, theirs)]
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one.token, other.token, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(one.values, other.values, rtol=1e-6, atol=1e-6)
        assert one.kept.tolist() == other.kept.tolist()
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert (one.grad is None) == (other.grad is None)
        if one.grad is not None:
            torch.testing.assert_close(one.grad, other.grad, rtol=1e-5, atol=1e-6)


def steps(batches: list[Batch]) -> Any:
    def run(supervised: Supervised) -> list[Losses]:
        totals = supervised.totals(batches, 0.0)
        found = []
        for batch in batches:
            found.append(supervised(batch, time=0.0, totals=totals))
            found[-1].loss.backward()  # type: ignore[no-untyped-call]
        return found

    return run


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_every_rule_beside_a_chunked_loss(kind: str) -> None:
    plan = make_plan(*EVERYTHING)
    batch = make_batch(
        plan, LENGTHS, EVERY_ROW, labels={"g": [0, 2, 1, 1]}, weigh={"boost": [(0, 3, 4.0), (1, 5, 0.0)]}
    )
    check_alike(*pair(plan, kind, anchors=make_anchors()), steps([batch]))


@pytest.mark.parametrize("weigh", [False, True])
def test_keep_with_a_live_loss_under_micro_batches(weigh: bool) -> None:
    """Weights that follow from the losses themselves; with `weigh` beside it, their sum is found by a pass of its own."""
    plan = make_plan(*((make_weigh(),) if weigh else ()), make_keep())
    batches = [
        make_batch(
            plan,
            lengths,
            keep={"hard": [(b, i) for b, length in enumerate(lengths) for i in range(1, length)]},
            weigh={"boost": [(0, 3, 4.0)]} if weigh else None,
            seed=seed,
        )
        for seed, lengths in enumerate(([9, 6], [4, 8], [5]))
    ]
    check_alike(*pair(plan), steps(batches))


def test_projection_goes_through_a_chunked_loss_twice() -> None:
    plan = make_plan(*EVERYTHING, gradient=GradientPlan(conflicts="project"))
    batch = make_batch(plan, LENGTHS, EVERY_ROW, labels={"g": [0, 2, 1, 1]})
    check_alike(*pair(plan, anchors=make_anchors()), steps([batch]))


def test_only_tokens_with_a_weight_have_their_logits_computed() -> None:
    """Of 8 + 5 tokens with a loss two weigh 0; one token of each row is left to the model itself. A batch without any has a loss
    of 0 that is connected."""
    plan = make_plan(make_weigh())
    supervised = supervise(make_model("llama"), plan, chunk=4)
    seen: list[int] = []
    supervised.model.lm_head.register_forward_hook(lambda _, args, out: seen.append(out.shape[:-1].numel()))
    batch = make_batch(plan, [9, 6], weigh={"boost": [(0, 3, 0.0), (1, 5, 0.0), (0, 2, 2.0)]})
    with torch.no_grad():
        supervised(batch, time=0.0)
    assert seen == [2, 2, 4, 4, 3]  # the model, the check of the first pass, three chunks
    seen.clear()
    out = supervised(replace(batch, scored=torch.zeros_like(batch.scored)), time=0.0)
    out.loss.backward()
    assert out.token.item() == 0 and seen[:2] == [2, 1]
    assert not supervised.model.lm_head.weight.grad.any()
    assert supervised.model.model.layers[0].mlp.up_proj.weight.grad is not None


def test_predictions_read_the_head_beside_a_chunked_loss() -> None:
    plan = make_plan(make_predict(layers=(1, "final")))
    batch = make_batch(plan, [9, 6], {"early": [(0, [2]), (1, [3])]}, labels={"early": [4, 5]})
    check_alike(*pair(plan), steps([batch]))


@pytest.mark.parametrize("dtype", [torch.bfloat16, None])
def test_half_precision(dtype: torch.dtype | None) -> None:
    """A model in bfloat16, and one under autocast: logits are in half precision, the loss in float32."""
    plan = make_plan()
    batch = make_batch(plan, [9, 6])
    found = []
    for chunk in (4, None):
        model = make_model("llama") if dtype is None else make_model("llama").to(dtype)
        supervised = supervise(model, plan, chunk=chunk)
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype is None):
            out = supervised(batch, time=0.0)
        out.loss.backward()
        assert out.token.dtype == torch.float32
        found.append((out.token.item(), supervised.model.lm_head.weight.grad.float()))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-3)
    assert (found[0][1] - found[1][1]).norm() < 0.02 * found[1][1].norm()


def fused(model: nn.Module, calls: list[str]) -> None:
    """Patches the forward pass as kernels that fuse head and loss do: with labels it gives a loss and no logits."""
    forward = model.forward

    def patched(*args: Any, labels: Tensor | None = None, **kwargs: Any) -> Any:
        out = forward(*args, **kwargs)
        calls.append("plain" if labels is None else "fused")
        if labels is not None:
            logits = out.logits[:, :-1].flatten(0, 1)
            out.loss, out.logits = functional.cross_entropy(logits, labels[:, 1:].flatten()), None
        return out

    model.forward = patched  # type: ignore[method-assign]


@pytest.mark.parametrize("chunk", [None, 4])
def test_model_whose_forward_pass_fuses_the_loss_is_never_asked_for_it(chunk: int | None) -> None:
    """The weights of tokens act all the same; with labels the patched model would have lost them."""
    plan = make_plan(make_weigh())
    batch = make_batch(plan, [9, 6], weigh={"boost": [(0, 3, 40.0)]})
    plain = supervise(make_model("llama"), plan)(batch, time=0.0)
    model, calls = make_model("llama"), list[str]()
    fused(model, calls)
    out = supervise(model, plan, chunk=chunk)(batch, time=0.0)
    assert calls == ["plain"]
    assert out.token.item() == pytest.approx(plain.token.item(), rel=1e-6)
    lost = model(input_ids=batch.input_ids, labels=batch.input_ids).loss
    assert calls[-1] == "fused" and abs(lost.item() - out.token.item()) > 0.01


class Doubled(nn.Module):
    """Does to its logits what no config tells."""

    def __init__(self, model: nn.Module, change: Any) -> None:
        super().__init__()
        self.model, self.config, self.change = model, model.config, change

    def forward(self, **given: Any) -> Any:
        out = self.model(**given)
        out.logits = self.change(out.logits)
        return out


INNER = Adapter(
    blocks="model.model.layers", embedding="model.model.embed_tokens", norm="model.model.norm", head="model.lm_head"
)


@pytest.mark.parametrize(
    ("change", "adapter", "said"),
    [
        (lambda logits: 2 * logits, INNER, "its logits are not what its head gives of its last states"),
        (lambda logits: logits.log_softmax(-1), INNER, "its logits are not what its head gives of its last states"),
        (lambda logits: logits[..., :-1], INNER, "its logits are not what its head gives of its last states"),
        (lambda logits: logits, replace(INNER, head="model.model.layers.0.mlp.down_proj"), "its"),
        (lambda logits: logits, replace(INNER, head="model.model.layers"), "its head read nothing, where states of"),
    ],
)
def test_head_that_is_not_all_is_refused(change: Any, adapter: Adapter, said: str) -> None:
    """By name, in the first pass, and the model is whole afterwards."""
    model = Doubled(make_model("llama"), change)
    plan = make_plan()
    batch = make_batch(plan, [9, 6])
    before = model(input_ids=batch.input_ids).logits
    with supervise(model, plan, adapter=adapter, chunk=4) as supervised:
        with pytest.raises(Failure, match=f"MCD716 the token loss of `Doubled` cannot be chunked: {said}"):
            supervised(batch, time=0.0)
        assert torch.equal(model(input_ids=batch.input_ids).logits, before)


def test_chunk_of_no_token_is_refused() -> None:
    with pytest.raises(Failure, match="MCD716 `chunk` is a number of tokens, at least 1, found 0"):
        supervise(make_model("llama"), make_plan(), chunk=0)


def test_close_takes_the_hook_off() -> None:
    model = make_model("llama")
    hooks = len(model.lm_head._forward_pre_hooks)
    supervised = supervise(model, make_plan(), chunk=4)
    assert len(model.lm_head._forward_pre_hooks) == hooks + 1
    supervised.close()
    assert len(model.lm_head._forward_pre_hooks) == hooks


@pytest.mark.slow
@pytest.mark.parametrize("targets", [["q_proj"], ["q_proj", "lm_head"]])
def test_adapters_of_low_rank_take_part_in_a_chunked_loss(targets: list[str]) -> None:
    """PEFT around the model, and also around its head."""
    plan = make_plan(make_weigh())
    batch = make_batch(plan, [9, 6], weigh={"boost": [(0, 3, 4.0)]})
    found = []
    for chunk in (4, None):
        torch.manual_seed(0)
        model = get_peft_model(make_model("llama"), LoraConfig(r=2, target_modules=targets, init_lora_weights=False))
        found.append(supervise(model, plan, chunk=chunk))
    check_alike(found[0], found[1], steps([batch]))


@pytest.mark.slow
def test_compiled_model_has_a_chunked_loss() -> None:
    plan = make_plan(make_weigh())
    batch = make_batch(plan, [9, 6], weigh={"boost": [(0, 3, 4.0)]})
    ours, theirs = pair(plan)
    compiled = torch.compile(ours, backend="aot_eager")
    for _ in range(2):
        for each in (ours, theirs):
            each.zero_grad()
        compiled(batch, time=0.0).loss.backward()
        theirs(batch, time=0.0).loss.backward()
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-5, atol=1e-6)


PEAK = """
import sys
from pathlib import Path
from mcd.runtime.supervise import supervise
from tests.runtime.builders import make_batch, make_plan
from transformers import LlamaConfig, LlamaForCausalLM
chunk = int(sys.argv[1]) or None
sizes = dict(num_hidden_layers=1, num_attention_heads=2, hidden_size=64, intermediate_size=64)
sizes |= dict(vocab_size=20_000, max_position_embeddings=4096)
model = LlamaForCausalLM(LlamaConfig(**sizes))
plan = make_plan(layers=1, heads=2, hidden=64, vocab=20_000, context=4096)
supervised = supervise(model, plan, chunk=chunk)
def resident():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024
before = resident()
supervised(make_batch(plan, [4096]), time=0.0).loss.backward()
print(resident() - before)
"""


@pytest.mark.slow
def test_logits_are_never_whole() -> None:
    """Whole logits of 4,096 tokens x 20,000 in float32 are 312 MiB, of which a step has three; those of 512 tokens are 39 MiB."""
    root = __file__.split("/tests/")[0]
    whole, chunked = (
        float(subprocess.run([sys.executable, "-c", PEAK, chunk], capture_output=True, check=True, cwd=root).stdout)
        for chunk in ("0", "512")
    )
    assert whole - chunked > 2 * 312
