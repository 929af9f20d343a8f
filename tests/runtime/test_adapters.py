"""What is refused of models, models without a head, and models in wrappers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import peft
import pytest
import torch
from torch import nn
from torch.nn.parallel import DataParallel
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    GPTJConfig,
    OPTConfig,
    T5Config,
    T5Model,
)

from mcd.compiler.plan import GradientPlan, Plan
from mcd.dsl.diagnostics import Failure
from mcd.runtime.adapters import ADAPTERS, LLAMA, Adapter, locate, unwrap
from mcd.runtime.batch import Batch
from mcd.runtime.evaluate import scores_of
from mcd.runtime.supervise import supervise

from .builders import (
    CONTEXT,
    HEADS,
    LAYERS,
    SPREAD,
    VOCAB,
    WIDTH,
    make_anchors,
    make_attend,
    make_batch,
    make_classify,
    make_contrast,
    make_keep,
    make_model,
    make_plan,
    make_predict,
    make_stage,
    make_toward,
    make_weigh,
)
from .models import KINDS
from .reference import in_float64, naive
from .test_models import LENGTHS, LOOKS, make_given, make_mixed


def make(kind: str, loader: Any = AutoModelForCausalLM, **settings: Any) -> nn.Module:
    torch.manual_seed(7)
    config = AutoConfig.for_model(kind, **settings)
    model: nn.Module = (
        loader.from_config(config) if hasattr(loader, "from_config") else loader._from_config(config)
    ).eval()
    return model


# --- refusals --------------------------------------------------------------------------------------------------------

GPTJ = Adapter("transformer.h", "transformer.wte", "transformer.ln_f", "lm_head", "attn", heads=HEADS, causal=True)


def make_gptj() -> nn.Module:
    shape = {"n_layer": LAYERS, "n_head": HEADS, "n_embd": WIDTH, "n_positions": CONTEXT, "vocab_size": VOCAB}
    return AutoModelForCausalLM.from_config(GPTJConfig(**shape, rotary_dim=4, bos_token_id=None, eos_token_id=None))


def test_attention_that_bypasses_the_interface_is_refused_before_anything_runs() -> None:
    """GPT-J computes its attention by itself. With an adapter, rules on hidden states train it as any other."""
    model = make_gptj()
    with pytest.raises(Failure, match=r"MCD702 model class `GPTJForCausalLM` is not supported: known are .*`gpt2`"):
        supervise(model, make_plan(make_toward()), anchors=make_anchors())
    message = "MCD703 rule `look` reads attention, and `GPTJAttention` computes it without the attention interface"
    with pytest.raises(Failure, match=message):
        supervise(model, make_plan(make_attend()), adapter=GPTJ)
    plan = make_plan(make_toward(), make_predict())
    with supervise(model, plan, adapter=GPTJ, anchors=make_anchors()) as supervised:
        out = supervised(make_batch(plan, LENGTHS, {"axis": SPREAD, "early": SPREAD}, labels={"early": [1] * 4}), 0.0)
    assert out.rules["axis"] > 0 and out.rules["early"] > 0 and out.token > 0


def test_model_of_transformers_that_the_table_lacks_takes_an_adapter() -> None:
    """StarCoder 2 is laid out as Llama: its rows are those of its own eager attention."""
    model = make("starcoder2", **KINDS["llama"].settings | {"sliding_window": None})
    plan = make_plan(make_attend(layers=(1, 2)))
    batch = make_batch(plan, LENGTHS, {"look": LOOKS})
    with pytest.raises(Failure, match="MCD702 model class `Starcoder2ForCausalLM` is not supported"):
        supervise(model, plan)
    with supervise(model, plan, adapter=LLAMA) as supervised:
        loss = supervised(batch, time=0.0).rules["look"].item()
    assert loss == pytest.approx(naive(in_float64(model), plan, batch)["look"].item(), rel=1e-5)


def test_adapter_that_names_no_final_state_is_refused() -> None:
    adapter = Adapter("transformer.h", "transformer.wte", None, "lm_head")
    with pytest.raises(Failure, match=r"MCD702 .* does not have the parts .*: it names neither `norm` nor `final`"):
        locate(make_model("gpt2"), adapter)


ODD: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "opt 350m": (
        lambda: AutoModelForCausalLM.from_config(
            OPTConfig(hidden_size=16, num_attention_heads=2, num_hidden_layers=1, ffn_dim=8, do_layer_norm_before=False)
        ),
        "`OPTForCausalLM` is not supported: it has no final norm",
    ),
    "narrow opt": (
        lambda: AutoModelForCausalLM.from_config(
            OPTConfig(hidden_size=16, num_attention_heads=2, num_hidden_layers=1, ffn_dim=8, word_embed_proj_dim=8)
        ),
        "`OPTForCausalLM` is not supported: its embedding has another width",
    ),
    "embedding gemma": (
        lambda: make(
            "gemma3_text", AutoModel, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, head_dim=8,
            num_key_value_heads=1, intermediate_size=8, vocab_size=9, use_bidirectional_attention=True,
        ),
        "`Gemma3TextModel` is not supported: it attends both ways",
    ),
    "crossed gpt2": (
        lambda: make("gpt2", n_layer=1, n_embd=16, n_head=2, vocab_size=9, add_cross_attention=True),
        "`GPT2LMHeadModel` is not supported: it attends to another text as well",
    ),
    "decoder without a head": (
        lambda: make("llama", AutoModelForSequenceClassification, **KINDS["llama"].settings),
        "`LlamaForSequenceClassification` does not have the parts that its adapter names: .*`lm_head`",
    ),
    "t5 without a head": (
        lambda: T5Model(T5Config(**KINDS["t5"].settings)),
        "`T5Model` does not have the parts that its adapter names: .*`lm_head`",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ODD)
def test_odd_models_of_known_kinds_are_refused_by_name(case: str) -> None:
    build, said = ODD[case]
    with pytest.raises(Failure, match=f"MCD702 model class {said}"):
        supervise(build(), make_plan(make_toward()), anchors=make_anchors())


# --- without a head --------------------------------------------------------------------------------------------------


def make_bare(loader: Any = AutoModel) -> nn.Module:
    return make("bert", loader, **KINDS["bert"].settings)


@pytest.mark.parametrize("loader", [AutoModel, AutoModelForSequenceClassification])
def test_encoder_without_a_head_trains_on_its_rules_alone(loader: Any) -> None:
    plan = make_plan(make_attend(layers=(1, 2)), make_toward(layers=(0, "final"), weight=0.5), causal=False)
    model = make_bare(loader)
    with supervise(model, plan, anchors=make_anchors()) as supervised:
        out = supervised(make_batch(plan, LENGTHS, {"look": LOOKS, "axis": SPREAD}), time=0.0)
        out.loss.backward()
    assert out.token == 0 and out.logits is None
    assert out.loss.item() == pytest.approx(out.rules["look"].item() + 0.5 * out.rules["axis"].item())
    assert model.base_model.encoder.layer[0].attention.self.query.weight.grad.any()


def test_causal_trunk_is_trained_where_an_adapter_says_that_it_has_no_head() -> None:
    model = make("llama", AutoModel, **KINDS["llama"].settings)
    plan = make_plan(make_attend(layers=(1, 2)))
    with pytest.raises(Failure, match="MCD702 model class `LlamaModel` does not have the parts"):
        supervise(model, plan)
    with supervise(model, plan, adapter=replace(LLAMA, head=None)) as supervised:
        out = supervised(make_batch(plan, LENGTHS, {"look": LOOKS}), time=0.0)
    assert out.token == 0 and out.loss == out.rules["look"] > 0


@pytest.mark.parametrize(
    ("rule", "does"),
    [
        (make_predict("rule"), "reads the head"),
        (make_weigh("rule"), "weighs the token loss"),
        (make_keep("rule"), "weighs the token loss"),
    ],
)
def test_rules_that_need_a_head_are_refused_by_name(rule: Any, does: str) -> None:
    plan = make_plan(make_attend(), rule, causal=False)
    with pytest.raises(Failure, match=f"MCD711 rule `rule` {does}, and `BertModel` has no language-model head"):
        supervise(make_bare(), plan)


def test_nothing_to_train_is_refused() -> None:
    with pytest.raises(Failure, match="MCD711 `BertModel` has no language-model head here, and the plan no rule"):
        supervise(make_bare(), make_plan(causal=False))
    stages = (make_stage("on", 0, 0.5), make_stage("off", 0.5, 1, only=()))
    plan = make_plan(make_contrast(), causal=False, stages=stages)
    supervised = supervise(make_bare(), plan).train()
    batch = make_batch(plan, LENGTHS, {"group": [(0, [1]), (0, [2])]}, labels={"group": [1, 1]})
    supervised(batch, time=0.0).loss.backward()
    with pytest.raises(Failure, match="MCD744 the loss reaches no parameter that is trained"):
        supervised(batch, time=0.7)
    with pytest.raises(Failure, match="MCD711 what is measured of every model is its token loss"):
        scores_of(supervised, [batch])


def test_encoder_that_is_a_decoder_is_causal() -> None:
    """BERT with `is_decoder` attends to what stands before, and predicts the next token."""
    model = make("bert", **KINDS["bert"].settings, is_decoder=True)
    plan = make_plan(make_attend(layers=(1,)))
    with supervise(model, plan) as supervised:
        out = supervised(make_batch(plan, LENGTHS, {"look": [(0, 0, [0])]}), time=0.0)
    assert out.rules["look"].item() == pytest.approx(0, abs=1e-6) and out.token > 0


# --- T5 --------------------------------------------------------------------------------------------------------------


def test_stop_cuts_the_bias_that_blocks_of_t5_hand_on() -> None:
    """The bias of every block is the first block's: above a stop at 1 nothing trains it, and nothing below block 2."""
    plan = make_plan(make_attend(layers=(3,)), gradient=GradientPlan(stop=(1,)), causal=False)
    model = KINDS["t5"].make()
    with supervise(model, plan) as supervised:
        supervised(make_batch(plan, LENGTHS, {"look": LOOKS}), time=0.0).loss.backward()
    grads = {name: p.grad is not None and bool(p.grad.any()) for name, p in model.named_parameters()}
    assert grads["encoder.block.1.layer.0.SelfAttention.q.weight"]
    assert not any(found for name, found in grads.items() if "block.0" in name or "shared" in name)


@pytest.mark.slow
def test_decoder_of_t5_reads_another_source_by_an_adapter() -> None:
    def reading(model: Any, batch: Batch) -> Any:
        source = torch.full((len(batch.ids), 2), 5)
        given = {"decoder_input_ids": batch.input_ids, "decoder_attention_mask": batch.attention_mask}
        return model(input_ids=source, **given).logits

    decoder = ADAPTERS["t5"].decoder
    assert decoder is not None
    plan = make_plan(make_attend(layers=(1, 3)))
    model, batch = KINDS["t5 decoder"].make(), make_batch(plan, LENGTHS, {"look": LOOKS})
    with supervise(model, plan, adapter=replace(decoder, logits=reading)) as supervised:
        out = supervised(batch, time=0.0)
    with supervise(model, plan) as supervised:
        empty = supervised(batch, time=0.0)
    assert torch.equal(out.logits, reading(model, batch)) and not torch.equal(out.logits, empty.logits)
    assert out.rules["look"] > 0


@pytest.mark.slow
def test_encoder_of_a_whole_t5_and_its_decoder_leave_the_other_alone() -> None:
    for name, idle in (("t5 encoder", "decoder.block"), ("t5 decoder", "encoder.block")):
        model, plan = KINDS[name].make(), make_mixed(KINDS[name])
        with supervise(model, plan, anchors=make_anchors()) as supervised:
            supervised(make_given(plan), time=0.0).loss.backward()
        assert all(p.grad is None for key, p in model.named_parameters() if key.startswith(idle))


# --- wrappers --------------------------------------------------------------------------------------------------------

LORA = {"r": 2, "init_lora_weights": False}


def make_lora(model: nn.Module, **settings: Any) -> nn.Module:
    torch.manual_seed(3)
    return peft.get_peft_model(model, peft.LoraConfig(**(LORA | settings)))


def losses_of(model: nn.Module, plan: Plan) -> Any:
    with supervise(model, plan, anchors=make_anchors()) as supervised:
        return supervised(make_given(plan), time=0.0)


def test_peft_model_is_seen_through() -> None:
    """Every loss is that of the same model with its updates merged, and trains the updates and the probes alone."""
    plan = make_mixed(KINDS["llama"])
    model = make_lora(make_model("llama"), target_modules=["q_proj", "v_proj"])
    supervised = supervise(model, plan, anchors=make_anchors())
    out = supervised(make_given(plan), time=0.0)
    out.loss.backward()
    trained = {name for name, p in supervised.named_parameters() if p.grad is not None and p.grad.any()}
    assert trained and all("lora_" in name or name.startswith("probes") for name in trained)
    assert sum("lora_" in name for name in trained) == 4 * LAYERS
    supervised.close()
    merged = losses_of(model.merge_and_unload().requires_grad_(), plan)
    for rule, loss in out.rules.items():
        assert loss.item() == pytest.approx(merged.rules[rule].item(), rel=1e-4), rule
    assert out.loss.item() == pytest.approx(merged.loss.item(), rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bert", "t5 decoder"])
def test_peft_around_other_kinds(name: str) -> None:
    plan = make_mixed(KINDS[name])
    model = make_lora(KINDS[name].make(), target_modules=["query", "value"] if name == "bert" else ["q", "v"])
    supervised = supervise(model, plan, anchors=make_anchors())
    loss = supervised(make_given(plan), time=0.0).loss
    loss.backward()
    assert any(p.grad is not None and p.grad.any() for n, p in model.named_parameters() if "lora_" in n)
    supervised.close()
    assert loss.item() == pytest.approx(
        losses_of(model.merge_and_unload().requires_grad_(), plan).loss.item(), rel=1e-4
    )


def test_peft_that_puts_tokens_before_the_text_is_refused_by_name() -> None:
    config = peft.PromptTuningConfig(num_virtual_tokens=2, task_type="CAUSAL_LM")
    model = peft.get_peft_model(make_model("llama"), config)
    with pytest.raises(Failure, match="MCD712 PEFT's `PROMPT_TUNING` puts tokens of its own before the text"):
        supervise(model, make_plan(make_classify()))


def test_wrapper_that_goes_around_the_supervised_model_is_refused_by_name() -> None:
    with pytest.raises(Failure, match="MCD712 the model comes in `DataParallel`") as refused:
        supervise(DataParallel(make_model("llama")), make_plan(make_classify()))
    assert refused.value.diagnostics[0].help == "wrap what `supervise` gives: `DistributedDataParallel(supervised)`"


@pytest.mark.slow
def test_compiled_model_is_seen_through() -> None:
    """Compiled and run before it is supervised: what rules read of it is what they read of the model itself."""
    plan, model = make_mixed(KINDS["llama"]), make_model("llama")
    expected = losses_of(model, plan)
    compiled = torch.compile(model, backend="eager")
    assert unwrap(compiled) is model
    compiled(make_given(plan).input_ids)
    found = losses_of(compiled, plan)
    assert found.loss.item() == pytest.approx(expected.loss.item(), rel=1e-5)
    torch._dynamo.reset()
