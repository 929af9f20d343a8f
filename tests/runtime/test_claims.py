"""Claims decided against numbers given by hand, and runs that hold less than a plan reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from mcd.compiler.plan import ClaimPlan, Line
from mcd.dsl.diagnostics import Failure
from mcd.runtime.checkpoint import _unread
from mcd.runtime.claims import TRAINED, UNTRAINED, decide
from mcd.runtime.evaluate import RuleScores, Score, Scores
from mcd.runtime.probes import Probes

from .builders import LINEAR, WIDTH, make_classify, make_plan, make_relate, make_toward


def scores(mass: float | None, shunned: float, loss: float) -> Scores:
    rules = {"look": RuleScores(3, {"mass": Score(mass, True)}), "shun": RuleScores(3, {"mass": Score(shunned, False)})}
    return Scores(2, 9, {"loss": Score(loss, False)}, rules)


FOUND = {
    "valid": {TRAINED: scores(0.75, 0.125, 1.5), UNTRAINED: scores(0.25, 0.5, 4.0), "off": scores(0.5, 0.0625, 2.0)},
    "train": {TRAINED: scores(None, 0.1, float("nan")), UNTRAINED: scores(0.25, 0.5, 4.0)},
}


def claim(metric: str, rule: str | None, op: str, bound: float, over: str | None = None, of: str = "valid") -> Any:
    line = Line(file="a.mcd", line=7)
    return ClaimPlan(metric=metric, rule=rule, of=of, over=over, op=op, bound=bound, line=line)


@pytest.mark.parametrize(
    ("made", "found", "holds"),
    [
        (claim("mass", "look", ">=", 0.75), 0.75, True),
        (claim("mass", "look", ">", 0.75), 0.75, False),
        (claim("mass", "shun", "<=", 0.1), 0.125, False),
        (claim("loss", None, "<", 2), 1.5, True),
        (claim("loss", None, "==", 1.5), 1.5, True),
        (claim("loss", None, "!=", 1.5), 1.5, False),
        # 0.75 - 0.5; of avoided keys less is better: 0.0625 - 0.125; and of a loss: 4.0 - 1.5.
        (claim("mass", "look", ">=", 0.25, over="off"), 0.25, True),
        (claim("mass", "shun", ">", 0, over="off"), -0.0625, False),
        (claim("loss", None, ">=", 2.5, over=UNTRAINED), 2.5, True),
    ],
)
def test_a_claim_compares_what_was_found(made: ClaimPlan, found: float, holds: bool) -> None:
    decision = decide(made, FOUND)
    assert (decision.found, decision.holds, decision.open) == (found, holds, None)
    said = decision.diagnostic()
    assert (said is None) == holds
    if said is not None:
        assert said.code.id == "MCD760"
        assert said.message == f"`{made.subject}` is {found:.4g}, expected {made.op} {made.bound:g}"


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (claim("mass", "look", ">", 0, over="random"), "no run `random` was given, as `--over random=DIR` does"),
        (claim("mass", "gone", ">", 0), "the run `trained` holds no trained part of rule `gone`"),
        (claim("mass", "look", ">", 0, of="train"), "nothing counts in it in split `train`"),
        (claim("loss", None, ">", 0, of="train"), "it is nan of the run `trained`"),
    ],
)
def test_a_claim_that_cannot_be_decided_does_not_hold(made: ClaimPlan, why: str) -> None:
    decision = decide(made, FOUND)
    assert (decision.found, decision.holds, decision.open) == (None, False, why)
    said = decision.diagnostic()
    assert said is not None and said.code.id == "MCD761"
    assert said.message == f"`{made.subject}` cannot be decided: {why}"


RULES = (
    make_classify("read", layers=(1, 2)),
    make_toward("axis", through=LINEAR),
    make_toward("plain"),
    make_relate("learned", anchor="east"),
)
PLAN = make_plan(*RULES, learned=("east",))


def test_a_rule_is_unread_where_a_tensor_of_it_is_missing(tmp_path: Path) -> None:
    probes = Probes(RULES, WIDTH, ("east",))
    probes.save(tmp_path / "p.safetensors")
    names = set(load_file(tmp_path / "p.safetensors"))
    assert _unread(PLAN, names) == ()
    assert _unread(PLAN, ()) == ("read", "axis", "learned")
    assert _unread(PLAN, names - {"read@2.bias"}) == ("read",)
    assert _unread(PLAN, names - {"axis@2.through.weight"}) == ("axis",)
    assert _unread(PLAN, names - {"east.anchor"}) == ("learned",)


def test_probes_of_other_rules_are_passed_over_and_those_of_other_sizes_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.safetensors"
    saved = Probes(RULES, WIDTH, ("east",))
    torch.nn.init.ones_(saved["read", 1].weight)
    saved.save(path)
    fewer = Probes(RULES[:1], WIDTH)
    with pytest.raises(Failure, match="MCD709"):
        fewer.load(path)
    fewer.load(path, partly=True)
    assert fewer["read", 1].weight.eq(1).all()
    save_file(load_file(path) | {"read@1.bias": torch.zeros(7)}, path)
    with pytest.raises(Failure, match="MCD709"):
        fewer.load(path, partly=True)
