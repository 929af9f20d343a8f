"""Attaching and detaching, guards, probes, and the arithmetic of ranks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers import BloomConfig, BloomForCausalLM, GPT2Model

from mcd.compiler.manifest import Counts
from mcd.dsl.codes.runtime import CONTRACT
from mcd.dsl.diagnostics import Failure
from mcd.dsl.source import DataPlace
from mcd.runtime.adapters import ADAPTERS
from mcd.runtime.supervise import supervise
from mcd.runtime.totals import Reduction

from .builders import (
    EVERY_ROW,
    EVERYTHING,
    VOCAB,
    WIDTH,
    make_anchors,
    make_attend,
    make_batch,
    make_classify,
    make_model,
    make_plan,
    make_ramp,
    make_relate,
    make_stage,
    make_toward,
    make_weigh,
)

PLAN = make_plan(make_attend(), make_toward(), make_classify())
ROWS = {"look": [(0, 3, [1]), (1, 2, [0])], "axis": [(0, [1])], "read": [(1, [1])]}


def make_given() -> Any:
    return make_batch(PLAN, [5, 4], ROWS, labels={"read": [1]})


def failure_of(*args: Any, **kwargs: Any) -> Failure:
    with pytest.raises(Failure) as failure:
        supervise(*args, **kwargs)
    return failure.value


# --- the model is as it was ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_closed_supervision_leaves_no_trace(kind: str) -> None:
    model = make_model(kind)
    hooks = lambda: sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())  # noqa: E731
    keys, before = list(model.state_dict()), hooks()
    with supervise(model, PLAN, anchors=make_anchors()) as supervised:
        assert hooks() > before
        supervised(make_given(), time=0)
        assert list(model.state_dict()) == keys
    assert (hooks(), list(model.state_dict())) == (before, keys)
    assert model.config._attn_implementation == "sdpa"
    with pytest.raises(Failure, match="MCD710 this supervision was closed"):
        supervised(make_given(), time=0)


def test_parameters_are_the_models_and_the_probes() -> None:
    model = make_model("gpt2")
    supervised = supervise(model, PLAN, anchors=make_anchors())
    assert len(list(supervised.parameters())) == len(list(model.parameters())) + 2
    assert [name for name in supervised.state_dict() if not name.startswith("model.")] == [
        "probes._linears.0.weight",
        "probes._linears.0.bias",
    ]


def test_probes_start_the_same_and_draw_no_random_number() -> None:
    torch.manual_seed(1)
    one = supervise(make_model("gpt2"), PLAN, anchors=make_anchors()).probes
    torch.manual_seed(2)
    model, state = make_model("gpt2"), torch.get_rng_state()
    two = supervise(model, PLAN, anchors=make_anchors()).probes
    assert torch.equal(one["read", 2].weight, two["read", 2].weight)
    assert torch.equal(torch.get_rng_state(), state)


def test_probes_are_saved_and_loaded(tmp_path: Path) -> None:
    one, two = (supervise(make_model("gpt2"), PLAN, anchors=make_anchors()) for _ in range(2))
    one.probes["read", 2].weight.data.fill_(3.0)
    one.save_probes(tmp_path / "probes.safetensors")
    two.load_probes(tmp_path / "probes.safetensors")
    assert torch.equal(two.probes["read", 2].weight, one.probes["read", 2].weight)


def test_probes_of_another_plan_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "probes.safetensors"
    supervise(make_model("gpt2"), make_plan(make_classify(classes=2))).save_probes(path)
    with pytest.raises(Failure) as failure:
        supervise(make_model("gpt2"), PLAN, anchors=make_anchors()).load_probes(path)
    (found,) = failure.value.diagnostics
    assert (found.code.id, found.place) == ("MCD709", DataPlace(str(path)))
    assert found.message == "probe tensor `read@2.bias`: the plan has (3,), the file has (2,)"


# --- guards ----------------------------------------------------------------------------------------------------------


def test_model_with_other_numbers_is_refused_naming_both() -> None:
    (found,) = failure_of(make_model("gpt2"), make_plan(layers=12, heads=2)).diagnostics
    assert found.code is CONTRACT
    assert found.message == (
        "the plan was made for a model with layers = 12, heads = 2, `GPT2LMHeadModel` has layers = 3, heads = 4"
    )


@pytest.mark.parametrize("number", [{"hidden": 8}, {"vocab": 99}, {"causal": False}])
def test_each_number_of_the_contract_is_compared(number: dict[str, Any]) -> None:
    (name,) = number
    plan = make_plan(**number) if name != "causal" else make_plan()
    if name == "causal":
        plan = plan.model_copy(update={"model": plan.model.model_copy(update=number)})
    assert f"{name} = " in str(failure_of(make_model("llama"), plan))


def test_unknown_model_class_is_refused_with_what_to_do() -> None:
    for model in (nn.Linear(2, 2), BloomForCausalLM(BloomConfig(n_layer=1, hidden_size=16, n_head=2))):
        (found,) = failure_of(model, make_plan()).diagnostics
        assert found.code.id == "MCD702"
        assert found.message.startswith(f"model class `{type(model).__name__}` is not supported: known are")
        assert found.help is not None and "adapter=" in found.help


def test_model_without_its_head_is_refused() -> None:
    (found,) = failure_of(GPT2Model(make_model("gpt2").config), make_plan()).diagnostics
    assert found.code.id == "MCD702" and "`GPT2Model` does not have the parts" in found.message
    assert found.help is not None and "AutoModelForCausalLM" in found.help


@pytest.mark.parametrize(
    ("anchors", "said"), [({}, "there is none of this name"), ({"north": torch.ones(3)}, r"found shape (3,)")]
)
def test_anchor_that_is_missing_or_has_another_width(anchors: Any, said: str) -> None:
    for rule in (make_toward("rule"), make_relate("rule")):
        (found,) = failure_of(make_model("gpt2"), make_plan(rule), anchors=anchors).diagnostics
        assert (found.code.id, found.place) == ("MCD705", DataPlace("a.mcd", 3))
        assert found.message == f"rule `rule` reads anchor `north`, a vector of width {WIDTH}: {said}"


def test_batch_of_another_plan_is_refused() -> None:
    supervised = supervise(make_model("gpt2"), make_plan())
    with pytest.raises(Failure, match="MCD704 the plan has 0 attention and 0 hidden groups, the batch has 1 and 2"):
        supervised(make_given(), time=0)


def test_token_outside_the_vocabulary_is_refused() -> None:
    batch = make_given()
    batch.input_ids[1, 2] = VOCAB
    supervised = supervise(make_model("gpt2"), PLAN, anchors=make_anchors())
    with pytest.raises(Failure, match=f"MCD704 the batch has token id {VOCAB}, the model has a vocabulary of {VOCAB}"):
        supervised(batch, time=0)


def test_ramp_that_cannot_be_followed_is_refused_at_once() -> None:
    stage = make_stage("a", 0.0, 1.0, token_loss=make_ramp(0.0, 1.0, "exponential"))
    assert failure_of(make_model("gpt2"), make_plan(stages=(stage,))).diagnostics[0].code.id == "MCD708"


# --- a compiled directory --------------------------------------------------------------------------------------------


def test_program_brings_its_anchors_and_promises() -> None:
    """What holds a plan, anchors as arrays and a manifest stands for all of them; `split` chooses whose promises count.

    20 of 40 records hold the 400 rows of `look`: half a record with a row per record seen, so that 38 records promise 19 of
    them, and 40 promise 20. That the rows are many more promises nothing: they may all sit in the records still to come.
    """
    counts = {"look": Counts(splits={"train": {"rows": 400, "unmatched": 20}, "valid": {"rows": 1}})}
    shards = [SimpleNamespace(split="train", records=10), SimpleNamespace(split="train", records=30)]
    manifest = SimpleNamespace(rules=counts, shards=shards, records={"train": 40, "valid": 1})
    plan = make_plan(make_attend(), make_toward())
    anchors = {"north": np.ones(WIDTH, dtype=np.float32)}
    program = SimpleNamespace(plan=plan, anchors=anchors, manifest=manifest)
    empty = make_batch(plan, [4, 4], {"axis": [(0, [1])]})
    assert supervise(make_model("gpt2"), program, split="valid")(empty, time=0).rules["axis"].item() > 0
    supervised = supervise(make_model("gpt2"), program)
    for _ in range(19):
        supervised(empty, time=0)
    with pytest.raises(Failure, match="rule `look` is dead"):
        supervised(empty, time=0)


# --- totals ----------------------------------------------------------------------------------------------------------


def test_total_is_token_loss_and_weighted_rules() -> None:
    """0.5 x token + 2 x 0.25 x look + 0.1 x axis, at the middle of a stage that ramps token 0 -> 1 and look 0 -> 0.5."""
    ramps = {"token_loss": make_ramp(0.0, 1.0), "factors": {"look": make_ramp(0.0, 0.5)}}
    plan = make_plan(make_attend(weight=2.0), make_toward(weight=0.1), stages=(make_stage("a", 0.0, 1.0, **ramps),))
    batch = make_batch(plan, [5, 4], {"look": ROWS["look"], "axis": ROWS["axis"]})
    out = supervise(make_model("gpt2"), plan, anchors=make_anchors())(batch, time=0.5)
    token, look, axis = (value.item() for value in (out.token, out.rules["look"], out.rules["axis"]))
    assert out.loss.item() == pytest.approx(0.5 * token + 2 * 0.25 * look + 0.1 * axis, rel=1e-6)


def test_ranks_average_to_the_gradient_of_one_process() -> None:
    """Two ranks with 2 rows and 1 row: DDP takes the mean of their gradients, which is that of the batch of both."""
    plan = make_plan(make_attend(), make_weigh())
    rows, boost = [(0, 3, [1]), (0, 4, [2]), (1, 2, [0])], [(0, 2, 4.0)]
    whole = make_batch(plan, [5, 4], {"look": rows}, weigh={"boost": boost})
    parts = [
        make_batch(plan, [5], {"look": rows[:2]}, weigh={"boost": boost}),
        make_batch(plan, [4], {"look": [(0, 2, [0])]}),
    ]
    for i, part in enumerate(parts):
        part.input_ids.copy_(whole.input_ids[i : i + 1, : part.input_ids.shape[1]])
    supervised = supervise(make_model("llama"), plan)
    alone = [supervised.totals([part], time=0) for part in parts]
    both = Reduction(lambda _: torch.cat([sum(t.tokens for t in alone)[None], sum(t.rules for t in alone)]), 2)
    found = []
    for part in parts:
        supervised.zero_grad()
        supervised(part, time=0, totals=supervised.totals([part], time=0, reduce=both)).loss.backward()
        found.append([p.grad.clone() for p in supervised.parameters()])
    supervised.zero_grad()
    supervised(whole, time=0).loss.backward()
    for p, a, b in zip(supervised.parameters(), *found, strict=True):
        torch.testing.assert_close((a + b) / 2, p.grad, rtol=1e-4, atol=1e-6)


def test_half_precision_model_takes_a_step() -> None:
    supervised = supervise(make_model("llama").bfloat16(), PLAN, anchors=make_anchors())
    optimizer = torch.optim.SGD(supervised.parameters(), lr=1e-3)
    supervised(make_given(), time=0).loss.backward()
    optimizer.step()
    assert all(p.isfinite().all() for p in supervised.parameters())


def test_training_by_a_rule_alone_meets_its_bound() -> None:
    """Thirty steps on one batch, token loss off: the head places the mass that the rule asks for."""
    stage = make_stage("a", 0.0, 1.0, token_loss=make_ramp(0.0))
    plan = make_plan(make_attend(heads="any", loss="hinge", mass=0.9), stages=(stage,))
    supervised = supervise(make_model("llama"), plan)
    optimizer = torch.optim.Adam(supervised.parameters(), lr=0.02)
    batch = make_batch(plan, [8, 8], {"look": [(0, 6, [2]), (0, 7, [1]), (1, 5, [4])]})
    first = supervised(batch, time=0).rules["look"].item()
    for _ in range(30):
        optimizer.zero_grad()
        supervised(batch, time=0.5).loss.backward()
        optimizer.step()
    assert supervised.eval()(batch, time=1.0).rules["look"].item() == pytest.approx(0, abs=0.05) and first > 0.1


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_step_on_another_device_waits_for_nothing(kind: str) -> None:
    """On the meta device a tensor of another device, or a value asked for, is an error. A batch is moved to the model.

    The model gets a full mask, since transformers would ask for values to see whether it needs one.
    """

    def masked(model: Any, batch: Any) -> Any:
        mask = torch.ones(2, 1, 9, 9, dtype=torch.bool, device="meta").tril()
        return model(batch.input_ids, attention_mask=mask, use_cache=False).logits

    plan = make_plan(*EVERYTHING, make_attend("m", heads="mean", layers=(1, 3)))
    adapter = replace(ADAPTERS[kind], logits=masked)
    given = {"anchors": make_anchors(), "expected": {"a": 100.0}, "records": 1000, "adapter": adapter}
    supervised = supervise(make_model(kind), plan, **given).to("meta")
    batch = make_batch(plan, [9, 9], EVERY_ROW, labels={"g": [0, 1, 2, 0]}, weigh={"boost": [(0, 3, 4.0)]})
    out = supervised(batch, time=0.5)
    out.loss.backward()
    assert {loss.device.type for loss in out.rules.values()} == {"meta"}
