"""Hugging Face's Trainer over a compiled directory: gradients of a step, losses in its log, checkpoints, and what it refuses."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.optim import SGD
from torch.optim.lr_scheduler import LambdaLR
from transformers import LlamaForCausalLM, Trainer, TrainerCallback

import mcd
from mcd.compiler.plan import GradientPlan
from mcd.dsl.diagnostics import Failure
from mcd.runtime.order import Sampler
from mcd.runtime.train import evaluate
from mcd.runtime.trainer.losses import RuleLog
from mcd.runtime.trainer.mixin import SupervisedMixin, SupervisedTrainer
from mcd.runtime.trainer.order import Batches, Share
from mcd.runtime.trainer.settings import check_settings

from .builders import make_ramp, make_stage
from .trainers import arguments, compiled, small_model

STAGES = (
    make_stage("first", 0.0, 0.5, factors={"look": make_ramp(2.0, 0.5)}),
    make_stage("second", 0.5, 1.0, train=(2, "final")),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(tmp_path_factory.mktemp("trainer"))


class Gradients(TrainerCallback):
    """The gradients of every step, as the optimiser finds them."""

    def __init__(self) -> None:
        self.trainer: SupervisedTrainer | None = None
        self.steps: list[list[torch.Tensor]] = []

    def on_pre_optimizer_step(self, args, state, control, **_):
        self.steps.append([p.grad.clone() for p in self.trainer.supervised.parameters() if p.grad is not None])


def make(data, folder, dropout=0.0, optimizers=(None, None), callbacks=None, **changes):
    """A trainer of the train split, which evaluates the valid one."""
    train, valid = mcd.load(data, split="train"), mcd.load(data, split="valid")
    given = {"model": small_model(dropout), "args": arguments(folder, **changes)}
    return SupervisedTrainer(
        **given, train_dataset=train, eval_dataset=valid, optimizers=optimizers, callbacks=callbacks
    )


def run(data, folder, **changes):
    """Gradients per step and the log of a run without clipping."""
    gradients = Gradients()
    trainer = make(data, folder, callbacks=[gradients], max_grad_norm=0.0, **changes)
    gradients.trainer = trainer
    trainer.train()
    return gradients.steps, [entry for entry in trainer.state.log_history if "loss" in entry]


def test_four_micro_batches_give_the_gradients_and_the_log_of_one(data, tmp_path):
    """Rules on attention and on hidden states, a probe, and weights; steps 5 and 6 go over the edge of an epoch of 40 rows."""
    whole, whole_log = run(data, tmp_path)
    parts, parts_log = run(data, tmp_path, per_device_train_batch_size=2, gradient_accumulation_steps=4)
    assert len(whole) == len(parts) == 6
    # The first step of both is of the same parameters.
    for a, b in zip(whole[0], parts[0], strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-4)
    names = {"token_loss", "rule/look", "rule/axis", "rule/kind", "loss"}
    for one, other in zip(whole_log, parts_log, strict=True):
        assert names <= one.keys()
        for name in names:
            assert one[name] == pytest.approx(other[name], rel=1e-3)
    assert [entry["time"] for entry in whole_log] == [step / 6 for step in range(6)]


def test_a_step_is_what_the_bare_loop_computes(data, tmp_path):
    steps, log = run(data, tmp_path, max_steps=1)
    dataset = mcd.load(data, split="train")
    supervised = mcd.supervise(small_model(), dataset).train()
    out = supervised(mcd.Collator(dataset.plan)(dataset.rows(Sampler(dataset, 3).epoch(0)[:8])), time=0.0)
    out.loss.backward()
    assert log[0]["loss"] == pytest.approx(float(out.loss.detach()), rel=1e-6)
    assert log[0]["rule/look"] == pytest.approx(float(out.rules["look"].detach()), rel=1e-6)
    mine = [p.grad for p in supervised.parameters() if p.grad is not None]
    for a, b in zip(steps[0], mine, strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)


def test_an_evaluation_is_one_step_over_the_whole_split(data, tmp_path):
    """13 rows in batches of 4, the last with one: means over tokens and rows, not over batches."""
    trainer = make(data, tmp_path, per_device_eval_batch_size=4)
    found = trainer.evaluate()
    sums = evaluate(trainer.supervised, mcd.load(data, split="valid"), 1.0, batch_size=13)
    expected = dict(zip(sums.ids, sums.rules.tolist(), strict=False))
    assert found["eval_loss"] == pytest.approx(float(sums.loss), rel=1e-5)
    assert found["eval_token_loss"] == pytest.approx(float(sums.token), rel=1e-5)
    for rule in ("look", "axis", "kind"):
        assert found[f"eval_rule/{rule}"] == pytest.approx(expected[rule], rel=1e-5)


def test_metrics_get_logits_and_the_tokens_that_have_a_loss(data, tmp_path):
    seen = []

    def metrics(found):
        seen.append((found.predictions.shape, found.label_ids))
        return {"seen": 1.0}

    trainer = make(data, tmp_path)
    trainer.compute_metrics = metrics
    assert trainer.evaluate()["eval_seen"] == 1.0
    (shape, labels) = seen[0]
    assert shape == (*labels.shape, 1000) and shape[0] == 13
    assert (labels[:, 0] == -100).all() and (labels[:, 1] >= 0).any()


@pytest.mark.slow
def test_a_run_that_goes_on_is_the_run_that_never_stopped(data, tmp_path):
    """Dropout, a stage that freezes, a ramp, a learned probe; stopped inside an epoch (3 of 5 steps) and at its edge (5)."""
    staged = compiled(tmp_path, stages=STAGES)
    given = {"dropout": 0.3, "max_steps": 9, "save_strategy": "steps", "save_steps": 1}
    given |= {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2}
    first = make(staged, tmp_path / "run", **given)
    first.train()
    losses = {e["step"]: (e["loss"], e["rule/look"]) for e in first.state.log_history if "loss" in e}
    for stopped in (3, 5):
        again = make(staged, tmp_path / "again", **given)
        again.train(resume_from_checkpoint=str(tmp_path / "run" / f"checkpoint-{stopped}"))
        found = {e["step"]: (e["loss"], e["rule/look"]) for e in again.state.log_history if "loss" in e}
        assert found == losses
        for a, b in zip(first.supervised.parameters(), again.supervised.parameters(), strict=True):
            assert torch.equal(a, b)


@pytest.mark.slow
def test_what_is_saved_is_the_model_and_the_probes_beside_it(data, tmp_path):
    trainer = make(data, tmp_path, max_steps=1)
    before = {name: value.clone() for name, value in trainer.supervised.probes.named_parameters()}
    trainer.train()
    trainer.save_model(str(tmp_path / "model"))
    loaded = LlamaForCausalLM.from_pretrained(tmp_path / "model")
    for (name, a), (other, b) in zip(loaded.named_parameters(), trainer.model.named_parameters(), strict=True):
        assert name == other and torch.equal(a, b)
    probes = load_file(tmp_path / "model" / "probes.safetensors")
    assert set(probes) == {"kind@1.weight", "kind@1.bias", "other.anchor"}
    assert torch.equal(probes["kind@1.weight"], trainer.supervised.probes["kind", 1].weight)
    assert any(not torch.equal(before[name], value) for name, value in trainer.supervised.probes.named_parameters())
    receipts = json.loads((tmp_path / "receipts.json").read_text())
    assert [receipt["rule"] for receipt in receipts] == ["look", "kind", "axis", "more"]


def test_probes_decay_as_the_trainer_decides(data, tmp_path):
    trainer = make(data, tmp_path, weight_decay=0.1)
    groups = {
        id(p): group["weight_decay"] for group in trainer.create_optimizer().param_groups for p in group["params"]
    }
    probe = trainer.supervised.probes["kind", 1]
    assert groups[id(probe.weight)] == 0.1 and groups[id(probe.bias)] == 0.0


@pytest.mark.slow
def test_no_forward_pass_is_run_for_totals(data, tmp_path):
    trainer = make(data, tmp_path, max_steps=2, per_device_train_batch_size=2, gradient_accumulation_steps=4)
    calls = []
    trainer.model.register_forward_hook(lambda *_: calls.append(1))
    trainer.train()
    assert len(calls) == 8


@pytest.mark.slow
def test_a_checkpoint_of_another_order_is_refused(data, tmp_path):
    make(data, tmp_path / "run", max_steps=2, save_strategy="steps", save_steps=1).train()
    checkpoint = tmp_path / "run" / "checkpoint-1"
    for change, said in (({"seed": 4}, "another seed"), ({"per_device_train_batch_size": 4}, "steps of other sizes")):
        with pytest.raises(Failure, match=f"MCD730.*{said}"):
            make(data, tmp_path / "again", **change).train(resume_from_checkpoint=str(checkpoint))
    (checkpoint / "probes.safetensors").unlink()
    with pytest.raises(Failure, match=r"MCD718.*no `probes.safetensors`"):
        make(data, tmp_path / "again").train(resume_from_checkpoint=str(checkpoint))


@pytest.mark.slow
def test_an_optimizer_without_the_probes_is_refused(data, tmp_path):
    optimizer = SGD(small_model().parameters(), lr=0.1)
    with pytest.raises(Failure, match="MCD718 the optimiser lacks 3 tensors"):
        make(data, tmp_path, optimizers=(optimizer, LambdaLR(optimizer, lambda _: 1.0))).train()


REFUSED = {
    "label_smoothing_factor": 0.1,
    "auto_find_batch_size": True,
    "use_liger_kernel": True,
    "torch_compile": True,
    "deepspeed": "zero.json",
    "fsdp": True,
    "predict_with_generate": True,
    "train_sampling_strategy": "group_by_length",
    "parallelism_config": object(),
    "include_for_metrics": ["inputs"],
    "packing": True,
    "eval_packing": True,
    "padding_free": True,
    "completion_only_loss": True,
    "assistant_only_loss": True,
    "loss_type": "dft",
    "chat_template_path": "chat.jinja",
    "activation_offloading": True,
}


@pytest.mark.parametrize("name", REFUSED)
def test_settings_that_cannot_work_are_refused_by_name(name):
    check_settings(SimpleNamespace(n_gpu=1), {})
    with pytest.raises(Failure) as caught:
        check_settings(SimpleNamespace(n_gpu=1, **{name: REFUSED[name]}), {})
    assert [each.code.id for each in caught.value.diagnostics] == ["MCD717"]
    assert f"`{name}" in str(caught.value)


def test_all_that_is_wrong_is_said_at_once(data):
    accelerator = SimpleNamespace(split_batches=True, dispatch_batches=None)
    args = SimpleNamespace(
        n_gpu=2, accelerator_config=accelerator, max_length=3, gradient_checkpointing_kwargs={"use_reentrant": True}
    )
    options = {"eval_dataset": {"a": [1]}, "data_collator": print, "compute_loss_func": print, "model_init": print}
    options |= {"formatting_func": print, "quantization_config": 1, "train_dataset": mcd.load(data, split="train")}
    with pytest.raises(Failure) as caught:
        check_settings(args, options)
    said = [each.message for each in caught.value.diagnostics]
    words = ("`eval_dataset`", "`data_collator`", "`compute_loss_func`", "`model_init`", "`formatting_func`")
    words += ("`quantization_config`", "2 GPUs", "split_batches", "use_reentrant", "`max_length=3`")
    assert len(said) == len(words) and all(any(word in line for line in said) for word in words)


def test_fp16_with_projection_and_a_loss_of_a_router_are_refused(data, tmp_path):
    dataset = mcd.load(data, split="train")
    projected = dataset.with_plan(dataset.plan.model_copy(update={"gradient": GradientPlan(conflicts="project")}))
    args = arguments(tmp_path)
    args.fp16 = True
    with pytest.raises(Failure, match="`fp16`"):
        SupervisedTrainer(model=small_model(), args=args, train_dataset=projected)
    model = small_model()
    model.config.output_router_logits = True
    with pytest.raises(Failure, match="router"):
        SupervisedTrainer(model=model, args=arguments(tmp_path), train_dataset=dataset)


def test_a_trainer_without_a_dataset_is_refused(tmp_path):
    with pytest.raises(Failure, match="MCD717 a trainer needs"):
        SupervisedTrainer(model=small_model(), args=arguments(tmp_path))


@pytest.mark.slow
def test_a_dead_rule_stops_the_run(data, tmp_path):
    """The hooks are there, and the model computes something else."""

    class Bypassed(SupervisedMixin, Trainer):
        pass

    trainer = Bypassed(model=small_model(), args=arguments(tmp_path), train_dataset=mcd.load(data, split="train"))
    trainer.supervised._hooks.close()
    with pytest.raises(Failure, match="MCD706"):
        trainer.train()


def test_a_loss_that_is_no_number_names_its_rule():
    log = RuleLog()
    log.begin(SimpleNamespace(rules=torch.tensor([2.0, 1.0])), 0.5)
    values = torch.tensor([math.nan, 1.0])
    log.add(SimpleNamespace(token=torch.tensor(1.0), values=values, rules={"bad": values[0], "good": values[1]}))
    with pytest.raises(Failure, match="MCD752 the loss of `bad` is no number in the 1 steps up to step 7"):
        log.read(7)


@pytest.mark.parametrize(
    ("rows", "size", "ranks", "batches"), [(40, 4, 2, 5), (41, 4, 2, 6), (43, 2, 3, 8), (3, 4, 3, 1)]
)
def test_ranks_share_every_row_once_in_equally_many_batches(rows, size, ranks, batches):
    found = [list(Batches(lambda epoch: np.arange(rows), Share(size, rank, ranks), Path("d"))) for rank in range(ranks)]
    assert [len(each) for each in found] == [batches] * ranks
    assert all(batch for each in found for batch in each)
    together = [row for step in zip(*found, strict=True) for batch in step for row in batch]
    assert together == list(range(rows))


def test_too_few_rows_for_the_ranks():
    with pytest.raises(Failure, match="MCD754"):
        Batches(lambda epoch: np.arange(2), Share(4, 0, 3), Path("d"))
    with pytest.raises(Failure, match="needs 8"):
        Batches(lambda epoch: np.arange(7), Share(4, 0, 2), Path("d"), whole=True)
    assert list(Batches(lambda epoch: np.arange(9), Share(4, 1, 2), Path("d"), whole=True)) == [[4, 5, 6, 7]]
