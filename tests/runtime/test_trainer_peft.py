"""LoRA by PEFT: what trains, what is saved, what stages and factors on gradients mean; and TRL's SFT trainer."""

from __future__ import annotations

from importlib import import_module

import pytest
import torch
from peft import LoraConfig, PeftModel, PromptTuningConfig, get_peft_model
from safetensors.torch import load_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast, TrainingArguments

import mcd
from mcd.compiler.plan import GradientPlan
from mcd.dsl.diagnostics import Failure

from .builders import make_stage
from .trainers import arguments, compiled, small_model

LORA = LoraConfig(target_modules=["q_proj", "v_proj"], r=2, task_type="CAUSAL_LM", init_lora_weights=False)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return compiled(tmp_path_factory.mktemp("peft"))


def adapted():
    torch.manual_seed(1)
    return get_peft_model(small_model(), LORA)


def gradients(dataset, model):
    supervised = mcd.supervise(model, dataset).train()
    supervised(mcd.Collator(dataset.plan)(dataset.rows(range(8))), time=0.0).loss.backward()
    return {name: p.grad for name, p in supervised.named_parameters() if p.grad is not None}


def test_losses_are_those_of_the_merged_model_and_adapters_and_probes_alone_train(data):
    dataset = mcd.load(data, split="train")
    batch = mcd.Collator(dataset.plan)(dataset.rows(range(8)))
    merged = mcd.supervise(adapted().merge_and_unload(), dataset).eval()(batch, time=0.0)
    found = mcd.supervise(adapted(), dataset).eval()(batch, time=0.0)
    torch.testing.assert_close(found.values, merged.values)
    torch.testing.assert_close(found.loss, merged.loss)
    trained = gradients(dataset, adapted())
    assert all("lora_" in name or name.startswith("probes.") for name in trained)
    assert sum("lora_" in name for name in trained) == 8 and any(name.startswith("probes.") for name in trained)


def test_a_stage_trains_the_adapters_of_its_layers(data):
    """And `scale` multiplies the gradients of adapters."""
    dataset = mcd.load(data, split="train")
    plan = dataset.plan
    staged = plan.model_copy(update={"stages": (make_stage("top", 0.0, 1.0, train=(2,)),)})
    trained = gradients(dataset.with_plan(staged), adapted())
    assert {name for name in trained if "lora_" in name} == {name for name in trained if ".layers.1." in name} != set()
    whole = gradients(dataset, adapted())
    scaled = gradients(
        dataset.with_plan(plan.model_copy(update={"gradient": GradientPlan(scale=((1, 0.5),))})), adapted()
    )
    for name in whole:
        torch.testing.assert_close(scaled[name], whole[name] * (0.5 if ".layers.0." in name else 1.0))


def test_a_method_that_adds_tokens_is_refused(data):
    model = get_peft_model(small_model(), PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2))
    with pytest.raises(Failure, match="puts tokens"):
        mcd.supervise(model, mcd.load(data, split="train"))


@pytest.mark.slow
def test_a_trainer_saves_adapters_and_probes_and_goes_on(data, tmp_path):
    given = {"save_strategy": "steps", "save_steps": 3}

    def make(folder):
        dataset = mcd.load(data, split="train")
        return mcd.SupervisedTrainer(model=adapted(), args=arguments(folder, **given), train_dataset=dataset)

    first = make(tmp_path / "run")
    first.train()
    checkpoint = tmp_path / "run" / "checkpoint-3"
    assert {"adapter_model.safetensors", "probes.safetensors"} <= {file.name for file in checkpoint.iterdir()}
    assert not (checkpoint / "model.safetensors").exists()
    again = make(tmp_path / "again")
    again.train(resume_from_checkpoint=str(checkpoint))
    for a, b in zip(first.supervised.parameters(), again.supervised.parameters(), strict=True):
        assert torch.equal(a, b)
    last = tmp_path / "run" / "checkpoint-6"
    loaded = PeftModel.from_pretrained(small_model(), last)
    expected = {name: p for name, p in first.model.named_parameters() if "lora_" in name}
    assert expected and all(torch.equal(dict(loaded.named_parameters())[name], p) for name, p in expected.items())
    assert torch.equal(load_file(last / "probes.safetensors")["kind@1.bias"], first.supervised.probes["kind", 1].bias)


# --- TRL


def tokenizer():
    words = Tokenizer(WordLevel({"<pad>": 0, "a": 1}, unk_token="<pad>"))
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="<pad>")


def losses(data, folder, kind, config, **changes):
    train, valid = mcd.load(data, split="train"), mcd.load(data, split="valid")
    options = {"peft_config": changes.pop("peft_config")} if "peft_config" in changes else {}
    args = arguments(folder, config, **changes)
    trainer = kind(
        model=small_model(), args=args, train_dataset=train, eval_dataset=valid, processing_class=tokenizer(), **options
    )
    trainer.train()
    history = [e["loss"] for e in trainer.state.log_history if "loss" in e]
    return [*history, trainer.evaluate()["eval_loss"]], trainer


@pytest.mark.slow
def test_the_sft_trainer_trains_on_shards_as_the_trainer_does(data, tmp_path):
    """Its own defaults are bfloat16 and checkpointing; both are tried against the same of the plain trainer."""
    trl = import_module("trl")  # Slow to import.
    SFTConfig = trl.SFTConfig

    class Sft(mcd.SupervisedMixin, trl.SFTTrainer):
        pass

    plain, _ = losses(data, tmp_path, mcd.SupervisedTrainer, TrainingArguments)
    for changes in ({}, {"gradient_checkpointing": False}, {"max_length": 9}):
        found, _ = losses(data, tmp_path, Sft, SFTConfig, bf16=False, **changes)
        assert found == pytest.approx(plain, rel=1e-5)
    parts = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4, "pad_to_multiple_of": 8}
    found, _ = losses(data, tmp_path, Sft, SFTConfig, bf16=False, **parts)
    assert found == pytest.approx(plain, rel=1e-3)
    plain, _ = losses(data, tmp_path, mcd.SupervisedTrainer, TrainingArguments, bf16=True)
    found, _ = losses(data, tmp_path, Sft, SFTConfig)
    assert found == pytest.approx(plain, rel=1e-5)
    _, trainer = losses(data, tmp_path, Sft, SFTConfig, bf16=False, peft_config=LORA)
    assert isinstance(trainer.model, PeftModel)
    with pytest.raises(Failure, match=r"(?s)`packing`.*`max_length=3` would cut rows of `train_dataset`"):
        losses(data, tmp_path, Sft, SFTConfig, packing=True, max_length=3)


@pytest.mark.slow
def test_another_trainer_of_trl_is_refused(data, tmp_path):

    class Dpo(mcd.SupervisedMixin, import_module("trl").DPOTrainer):
        pass

    with pytest.raises(Failure, match="MCD717 `DPOTrainer`"):
        Dpo(model=small_model(), args=arguments(tmp_path), train_dataset=mcd.load(data, split="train"))
