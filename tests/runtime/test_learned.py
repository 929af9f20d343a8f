"""Learned anchors: where they start, how they are trained, kept and read back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mcd.compiler.plan import Plan
from mcd.dsl.diagnostics import Failure
from mcd.runtime.dataset import load
from mcd.runtime.probes import Probes
from mcd.runtime.supervise import supervise

from ..projects import compiled, project
from .builders import (
    SPREAD,
    WIDTH,
    make_anchors,
    make_batch,
    make_like,
    make_model,
    make_plan,
    make_ramp,
    make_relate,
    make_stage,
    make_toward,
)


def make_learning(anchor: str = "pole", **stage: object) -> Plan:
    stages = (make_stage("a", 0.0, 1.0, **stage),) if stage else ()
    return make_plan(make_toward(anchor=anchor), make_relate(anchor=anchor), stages=stages, learned=(anchor,))


def test_start_is_a_direction_that_depends_on_the_name_alone() -> None:
    torch.manual_seed(0)
    drawn = torch.rand(1)
    torch.manual_seed(0)
    one, two = Probes((), WIDTH, ("a", "b")).anchors, Probes((), WIDTH, ("b", "c.d")).anchors
    assert torch.rand(1) == drawn
    assert torch.equal(one["b"], two["b"])
    assert not torch.equal(one["a"], one["b"])
    assert two["c.d"].norm().item() == pytest.approx(1)


def test_length_says_nothing_and_gets_no_gradient() -> None:
    """The anchor three times as long gives the same loss and a third of the gradient, which is orthogonal to it."""
    found = []
    for scale in (1.0, 3.0):
        supervised = supervise(make_model("llama"), make_learning())
        anchor = supervised.probes.anchors["pole"]
        anchor.data.mul_(scale)
        out = supervised(make_batch(supervised.plan, [9, 6], {"axis": SPREAD}), time=0)
        out.rules["axis"].backward()
        assert (anchor.grad @ anchor).item() == pytest.approx(0, abs=1e-6)
        found.append((out.rules["axis"].item(), anchor.grad))
    assert found[1][0] == pytest.approx(found[0][0], abs=1e-6)
    torch.testing.assert_close(found[1][1] * 3, found[0][1])


def test_anchor_is_trained_and_is_none_of_the_model() -> None:
    """A signal alone is met by the anchor and the hidden states together: nothing keeps either from moving to the other."""
    supervised = supervise(make_model("llama"), make_learning(token_loss=make_ramp(0.0)))
    batch = make_batch(supervised.plan, [9, 6], {"axis": SPREAD})
    optimizer = torch.optim.Adam(supervised.parameters(), lr=0.02)
    first = supervised(batch, time=0).rules["axis"].item()
    for _ in range(30):
        optimizer.zero_grad()
        supervised(batch, time=0).loss.backward()
        optimizer.step()
    assert supervised(batch, time=0).rules["axis"].item() < 0.1 < first
    start = Probes((), WIDTH, ("pole",)).anchors["pole"]
    assert (supervised.probes.anchors["pole"] - start).norm() > 0.1
    assert not any("anchor" in name for name in supervised.model.state_dict())


def test_anchor_that_no_rule_trains_now_has_a_gradient_of_zero() -> None:
    """DDP waits for the gradient of each parameter: also in a stage in which both rules that read the anchor have factor 0."""
    supervised = supervise(make_model("gpt2"), make_learning(only=()))
    supervised(make_batch(supervised.plan, [9, 6], {"axis": SPREAD, "kin": SPREAD}), time=0).loss.backward()
    grad = supervised.probes.anchors["pole"].grad
    assert grad is not None and not grad.any()


def test_offset_without_rows_is_a_zero_that_is_connected() -> None:
    plan = make_plan(make_like(anchor="pole"), learned=("pole",))
    supervised = supervise(make_model("gpt2"), plan, anchors=make_anchors())
    loss = supervised(make_batch(plan, [9, 6], {}), time=0).rules["shift"]
    loss.backward()
    grad = supervised.probes.anchors["pole"].grad
    assert loss.item() == 0 and grad is not None and not grad.any()


def test_anchors_are_saved_with_the_probes(tmp_path: Path) -> None:
    one, two = (supervise(make_model("gpt2"), make_learning("logic.cause")) for _ in range(2))
    one.probes.anchors["logic.cause"].data.add_(1)
    one.save_probes(tmp_path / "probes.safetensors")
    assert list(load_file(tmp_path / "probes.safetensors")) == ["logic.cause.anchor"]
    two.load_probes(tmp_path / "probes.safetensors")
    assert torch.equal(two.probes.anchors["logic.cause"], one.probes.anchors["logic.cause"])
    with pytest.raises(Failure, match=r"MCD709 probe tensor `logic\.cause\.anchor`: the plan has none"):
        supervise(make_model("gpt2"), make_plan(make_toward()), anchors=make_anchors()).load_probes(
            tmp_path / "probes.safetensors"
        )


def test_compiled_directory_holds_no_vector_for_a_learned_anchor(tmp_path: Path) -> None:
    spec = """source s = jsonl("data.jsonl") { text = .text  split = "train" }
concept cat { spans = phrases("cat")  anchor = learned }
concept dog { spans = phrases("dog")  anchor = orthonormal }
signal pull: cat { layers = 1  toward = cat.anchor }
"""
    records = [{"text": "the cat saw a dog"}]
    path = project(tmp_path, spec, records)
    made = compiled(path, tmp_path / "out")
    assert (made.plan.anchors, made.plan.learned) == ({"cat": "learned"}, ("cat",))
    assert not (tmp_path / "out" / "anchors.safetensors").exists()
    assert load(tmp_path / "out").anchors == {}
    path = project(tmp_path, spec + "relate cat distinct dog { layers = 1  margin = 0.1 }\n", records)
    assert compiled(path, tmp_path / "out").reused
    assert list(load(tmp_path / "out").anchors) == ["dog"]
