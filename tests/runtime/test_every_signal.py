"""Every signal of the language is held to four things: its formula and its source where it is computed, numbers by hand in a
test, and a gradient against float64. A loss without an entry here fails, and so does an entry whose proof is gone."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import mcd.runtime.losses as package
from mcd.compiler.plan import (
    ClassifyPlan,
    ContrastPlan,
    DistilPlan,
    LengthTerm,
    LikePlan,
    PredictPlan,
    RelatePlan,
    TowardPlan,
)
from mcd.runtime.adapters import Adapter, locate
from mcd.runtime.depth import shortened
from mcd.runtime.freeze import Freezer
from mcd.runtime.gradients import Scales, Stops
from mcd.runtime.losses import ATTENTION, RELATE, TOWARD
from mcd.runtime.losses.classify import classify
from mcd.runtime.losses.contrast import contrast
from mcd.runtime.losses.distil import distil
from mcd.runtime.losses.like import like
from mcd.runtime.losses.predict import predict
from mcd.runtime.losses.rows import KeyRows
from mcd.runtime.losses.token import token_losses
from mcd.runtime.probes import Probes
from mcd.runtime.scores import evaluate
from mcd.runtime.supervise import supervise

from . import test_gradients
from .builders import (
    LINEAR,
    MLP,
    SPREAD,
    make_batch,
    make_classify,
    make_contrast,
    make_model,
    make_plan,
    make_toward,
)

HELPERS = {"log_mass", "cosine_similarity", "cross_entropies"}
"""What losses share, and is none of itself."""

SOURCE = re.compile(r"https?://|\bthis project\b")
FORMULA = re.compile(r"[-+*/^=|]|max\(|log")
NUMBER = re.compile(r"\d\.\d+|\d/\d|= -?\d")

# --- losses ----------------------------------------------------------------------------------------------------------

Arguments = tuple[Any, ...]


def uniform(*shape: int, least: float = -1.0) -> Tensor:
    """Numbers from `least` to 1 that need a gradient."""
    return (torch.rand(shape, dtype=torch.float64) * (1 - least) + least).requires_grad_()


def attending(name: str) -> Callable[[Tensor], Tensor]:
    """The loss as a function of the scores whose softmax is attention: some bounds are met, some are not."""
    keys = torch.rand(2, 1, 3, 5) < 0.5
    mass = torch.full((2, 1, 3), 0.5, dtype=torch.float64)
    return lambda scores: ATTENTION[name](KeyRows(scores.log_softmax(-1), keys, ~keys, mass))


def plain(function: Callable[..., Tensor], *given: Any) -> Callable[[Tensor], Tensor]:
    return lambda first: function(first, *given)


def contrasted(states: Tensor) -> Tensor:
    others = ~torch.eye(5, dtype=torch.bool)
    positive = others & (torch.tensor([0, 1, 0, 1, 2])[:, None] == torch.tensor([0, 1, 0, 1, 2]))
    unit = torch.nn.functional.normalize(states, dim=-1)
    return contrast(unit @ unit.T / 0.3, positive, others)


@dataclass(frozen=True, slots=True)
class Proof:
    """What shows that a loss is right. `numbers`: a test of test_losses.py that has them by hand; `of`: the loss as a function of
    one tensor of `shape`, for `gradcheck`."""

    numbers: str
    of: Callable[[], Callable[[Tensor], Tensor]]
    shape: tuple[int, ...]


ROW, ANY = "test_attention_loss_of_one_row", (2, 4, 3, 5)
CUBE = "test_relation_at_cosine_of_three_fifths"
VECTORS = "test_cosine_takes_raw_vectors_and_mse_the_mean_over_dimensions"
MARGIN = torch.full((6,), 0.3, dtype=torch.float64)
LABELS = torch.tensor([0, 1, 2, 3, 1, 0])
PROOFS: dict[Callable[..., Any], Proof] = {
    **{ATTENTION[name]: Proof(ROW, lambda name=name: attending(name), ANY) for name in ATTENTION},
    **{RELATE[name]: Proof(CUBE, lambda name=name: plain(RELATE[name], MARGIN), (6,)) for name in RELATE},
    **{TOWARD[name]: Proof(VECTORS, lambda name=name: plain(TOWARD[name], uniform(6, 4)), (6, 4)) for name in TOWARD},
    classify: Proof("test_classify_is_cross_entropy_in_nats", lambda: plain(classify, LABELS), (6, 4)),
    contrast: Proof("test_contrast_takes_the_mean_outside_of_the_logarithm", lambda: contrasted, (5, 3)),
    distil: Proof(
        "test_distil_is_the_divergence_from_the_teacher_at_a_temperature",
        lambda: plain(distil, uniform(6, 4).detach(), 1 + uniform(6, least=0).detach()),
        (6, 4),
    ),
    like: Proof(
        "test_like_compares_directions_of_offsets", lambda: plain(like, uniform(6, 4).detach(), MARGIN), (6, 4)
    ),
    predict: Proof("test_predict_is_cross_entropy_in_nats_in_float32", lambda: plain(predict, LABELS), (6, 4)),
    token_losses: Proof(
        "test_token_loss_predicts_from_the_row_before", lambda: plain(token_losses, LABELS.view(2, 3)), (2, 3, 4)
    ),
}


def all_losses() -> dict[str, FunctionType]:
    """Every public function of the files of losses that gives a tensor."""
    modules = [
        importlib.import_module(f"{package.__name__}.{each.name}") for each in pkgutil.iter_modules(package.__path__)
    ]
    return {
        name: function
        for module in modules
        for name, function in vars(module).items()
        if inspect.isfunction(function)
        and function.__module__ == module.__name__
        and not name.startswith("_")
        and name not in HELPERS
    }


def test_every_loss_has_its_proof() -> None:
    assert set(all_losses().values()) == set(PROOFS)


@pytest.mark.parametrize("name", all_losses())
def test_loss_tells_its_formula_and_its_source(name: str) -> None:
    function = all_losses()[name]
    told = inspect.getdoc(function) or ""
    assert FORMULA.search(told.split("\n\n")[0]), f"{name} has no formula"
    assert re.search(r"\[[A-Za-z, .]+\]", told.split("\n\n")[0]), f"{name} does not tell its shapes"
    assert re.search(r"[Ss]ource: ", told) and SOURCE.search(told), f"{name} has no source"


@pytest.mark.parametrize("function", PROOFS, ids=lambda function: function.__name__)
def test_loss_has_numbers_by_hand(function: Callable[..., Any]) -> None:
    told = docstring_of(f"test_losses.{PROOFS[function].numbers}")
    assert len(NUMBER.findall(told)) >= 2, told


@pytest.mark.parametrize("function", PROOFS, ids=lambda function: function.__name__)
def test_gradient_of_a_loss_is_that_of_its_differences(function: Callable[..., Any]) -> None:
    """torch.autograd.gradcheck in float64, away from the corners of bounds."""
    torch.manual_seed(2)
    proof = PROOFS[function]
    given = proof.of()
    states = uniform(*proof.shape)
    assert given(states).any(), "the bound is met everywhere, and nothing is checked"
    assert torch.autograd.gradcheck(given, states)


def exercised() -> set[Callable[..., Any]]:
    """The losses of the cases that test_gradients.py compares with the naive reference, in value and gradient, in two models."""
    found: set[Callable[..., Any]] = {
        ATTENTION["avoid" if case.get("avoid") else case.get("loss", "nll")] for case in test_gradients.ATTEND.values()
    }
    kinds = {ClassifyPlan: classify, ContrastPlan: contrast, DistilPlan: distil, LikePlan: like, PredictPlan: predict}
    for rule, _ in test_gradients.HIDDEN.values():
        match rule:
            case TowardPlan():
                found.add(TOWARD[rule.loss])
            case RelatePlan():
                found.add(RELATE[rule.relation])
            case _:
                found.add(kinds[type(rule)])
    return found


def test_every_loss_is_compared_with_the_reference_in_a_model() -> None:
    """The token loss is, in every case; its chunks are in test_token_loss.py."""
    assert exercised() | {token_losses} == set(PROOFS)


# --- everything else that a spec says of training --------------------------------------------------------------------

HIDDEN = "test_gradients.test_hidden_loss_agrees_with_all_hidden_states"
RAMPS = "test_schedule.test_shapes_from_1_to_a_tenth"
SIGNALS: dict[str, tuple[str, str, str]] = {
    "through": ("runtime.probes", "test_every_signal.test_maps_by_hand", HIDDEN),
    "learned anchors": (
        "runtime.probes",
        "test_losses.test_like_of_states_and_anchors",
        "test_gradients.test_learned_anchors_have_the_gradients_of_the_reference",
    ),
    "teacher": ("runtime.teachers", f"test_losses.{VECTORS}", HIDDEN),
    "scale, stop": (
        "runtime.gradients",
        "test_every_signal.test_scale_and_stop_by_hand",
        "test_conflicts.test_sum_agrees_with_the_reference",
    ),
    "project": (
        "runtime.conflicts",
        "test_conflicts.test_projection_by_hand",
        "test_conflicts.test_step_agrees_with_the_reference",
    ),
    "ramps": ("compiler.ramps", RAMPS, RAMPS),
    "order": (
        "runtime.order",
        "test_every_signal.test_order_by_hand",
        "test_order.test_rows_are_sorted_and_equal_ones_stay_shuffled",
    ),
    "depth": (
        "runtime.depth",
        "test_every_signal.test_depth_by_hand",
        "test_depth.test_token_loss_is_that_of_the_hidden_states_at_the_depth",
    ),
    "train": (
        "runtime.freeze",
        "test_every_signal.test_train_by_hand",
        "test_freeze.test_stage_trains_its_layers_and_what_is_beside_the_model",
    ),
    "keep": (
        "runtime.keep",
        "test_keep.test_a_share_is_rounded_half_up_and_never_to_none",
        "test_keep.test_live_weights_agree_with_the_reference_and_carry_no_gradient",
    ),
    "masking": (
        "runtime.masking",
        "test_masking.test_token_loss_of_a_masked_model_is_at_the_token",
        "test_token_loss.test_chunked_loss_is_the_loss_of_whole_logits_in_float64",
    ),
}
"""By what it is called: the module that tells formula and source, a test with numbers by hand, and one against a reference."""


def docstring_of(test: str) -> str:
    """Of `MODULE.TEST` in this folder, which has to be there."""
    module, name = test.split(".")
    found = inspect.getdoc(getattr(importlib.import_module(f"{__package__}.{module}"), name))
    return found or ""


@pytest.mark.parametrize("name", SIGNALS)
def test_signal_tells_its_source_and_has_its_tests(name: str) -> None:
    module, numbers, reference = SIGNALS[name]
    assert SOURCE.search(importlib.import_module(f"mcd.{module}").__doc__ or ""), name
    assert NUMBER.search(docstring_of(numbers)), name
    docstring_of(reference)


def test_maps_by_hand() -> None:
    """linear: (1 2; 0 1) (3, 4) + (1, 0) = (12, 4). mlp: W1 (3, 4) = (1, -1) by (3 -2; 1 -1), gelu(1) = 0.841345 and gelu(-1) =
    -0.158655; W2 = (2 1), b2 = 0.5: 1.682689 - 0.158655 + 0.5 = 2.024034."""
    state = torch.tensor([[3.0, 4.0]])
    rules = (
        make_toward("a", through=LINEAR.model_copy(update={"width": 2})),
        make_toward("b", through=MLP.model_copy(update={"hidden": 2, "width": 1})),
    )
    probes = Probes(rules, 2)
    linear, mlp = probes.maps["a", 2], probes.maps["b", 2]
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[1.0, 2.0], [0.0, 1.0]]))
        linear.bias.copy_(torch.tensor([1.0, 0.0]))
        mlp[0].weight.copy_(torch.tensor([[3.0, -2.0], [1.0, -1.0]]))
        mlp[0].bias.zero_()
        mlp[2].weight.copy_(torch.tensor([[2.0, 1.0]]))
        mlp[2].bias.fill_(0.5)
    assert linear(state).tolist() == [[12, 4]]
    assert mlp(state).item() == pytest.approx(2.024034, abs=1e-6)


class Chain(nn.Module):
    """h w2 w1 e, of single numbers 7, 5, 3 and 2: 210. Its derivatives are 30 by h, 42 by w2, 70 by w1 and 105 by e."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(1, 1)
        self.blocks = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))
        self.norm, self.head = nn.Identity(), nn.Linear(1, 1, bias=False)
        with torch.no_grad():
            for parameter, value in zip(self.parameters(), (2.0, 3.0, 5.0, 7.0), strict=True):
                parameter.fill_(value)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.norm(self.blocks(self.embedding(ids))))


CHAIN = Adapter(blocks="blocks", embedding="embedding", norm="norm", head="head", heads=1, causal=True)


def grads(model: nn.Module) -> list[float | None]:
    """Of e, w1, w2 and h."""
    model(torch.zeros(1, dtype=torch.int64)).sum().backward()
    return [None if p.grad is None else p.grad.item() for p in model.parameters()]


def test_scale_and_stop_by_hand() -> None:
    """`scale = {1: 0.5, final: 2}`: 105, 35, 42, 60. `stop = 1`: block 2 and the head have 42 and 30, and nothing flows below."""
    model = Chain()
    scales = Scales(model, locate(model, CHAIN), {1: 0.5, "final": 2.0})
    scales.attach()
    assert grads(model) == [105.0, 35.0, 42.0, 60.0]
    model = Chain()
    with Stops(locate(model, CHAIN), (1,)).cutting():
        assert grads(model) == [None, None, 42.0, 30.0]


def test_depth_by_hand() -> None:
    """One block: h w1 e = 7 x 3 x 2 = 42, with 14 by w1 and none by w2."""
    model = Chain()
    with shortened(locate(model, CHAIN), 1):
        assert model(torch.zeros(1, dtype=torch.int64)).item() == 42.0
        assert grads(model) == [21.0, 14.0, None, 6.0]
    assert model(torch.zeros(1, dtype=torch.int64)).item() == 210.0


def test_train_by_hand() -> None:
    """`train = 2`: 42 = 7 x 3 x 2 by w2, and no other has a gradient."""
    model = Chain()
    Freezer(model, locate(model, CHAIN)).train((2,))
    assert grads(model) == [None, None, 42.0, None]


def test_order_by_hand() -> None:
    """order = 2 x length - 3, of rows of 4, 2 and 3 tokens: 5.0, 1.0 and 3.0, so that they come as 1, 2, 0."""
    lengths = {LengthTerm(length="tokens"): np.array([4.0, 2.0, 3.0])}
    values = evaluate((2.0, LengthTerm(length="tokens"), "*", 3.0, "-"), lengths.__getitem__)
    assert values.tolist() == [5.0, 1.0, 3.0]
    assert np.argsort(values, kind="stable").tolist() == [1, 2, 0]


# --- what is trained beside the model --------------------------------------------------------------------------------


def test_what_is_trained_beside_the_model_leaves_no_trace_in_it(tmp_path: Path) -> None:
    """A probe, two maps and a learned anchor: in `parameters`, moved by an optimiser, in a file of their own and read back; the
    model's names, hooks and, with its own parameters kept, its outputs are as they were."""
    model = make_model("llama")
    ids = torch.arange(8)[None]
    before, names = model(input_ids=ids).logits, list(model.state_dict())
    hooks = [len(each._forward_hooks) + len(each._forward_pre_hooks) for each in model.modules()]
    plan = make_plan(
        make_classify(layers=(1,)),
        make_toward("pull", anchor="pole"),
        make_toward("far", anchor="pole", through=LINEAR),
        make_contrast(through=MLP),
        learned=("pole",),
    )
    rows = {"read": SPREAD, "pull": SPREAD, "far": SPREAD, "group": test_gradients.MENTIONS}
    labels = {"read": [0, 1, 2, 0], "group": [n % 3 for n in range(len(test_gradients.MENTIONS))]}
    supervised = supervise(model.requires_grad_(False), plan, chunk=4)
    beside = {name for name, _ in supervised.named_parameters() if name.startswith("probes.")}
    assert len(beside) == 2 + 2 + 4 + 1
    own = [p for p in supervised.parameters() if p.requires_grad]
    start = [p.detach().clone() for p in own]
    optimizer = torch.optim.SGD(own, lr=0.1)
    supervised(make_batch(plan, [9, 6], rows, labels=labels), time=0.0).loss.backward()
    optimizer.step()
    assert len(own) == len(beside)
    assert all(not torch.equal(p, q) for p, q in zip(own, start, strict=True))
    supervised.save_probes(tmp_path / "probes.safetensors")
    again = supervise(make_model("llama"), plan)
    again.load_probes(tmp_path / "probes.safetensors")
    for one, other in zip(supervised.probes.parameters(), again.probes.parameters(), strict=True):
        assert torch.equal(one, other)
    supervised.close()
    assert list(model.state_dict()) == names
    assert [len(each._forward_hooks) + len(each._forward_pre_hooks) for each in model.modules()] == hooks
    assert torch.equal(model(input_ids=ids).logits, before)
