"""`torch.compile`, whichever way it is asked for: the same losses and gradients, compiled once for sizes that vary,
never without what rules read."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters

from mcd.dsl.diagnostics import Failure
from mcd.runtime.supervised import Supervised

from .builders import SPREAD, make_batch, make_model, make_plan, make_toward
from .parts import PLAN, distance, gradients_of, make_part, supervised_of

ALL = list(range(8))
HIDDEN = make_plan(make_toward("axis", layers=(1, 3)))


def whole_before(model: nn.Module, backend: str) -> tuple[Supervised, Any]:
    supervised = supervised_of(torch.compile(model, backend=backend))
    return supervised, supervised


def method_before(model: nn.Module, backend: str) -> tuple[Supervised, Any]:
    model.compile(backend=backend)
    supervised = supervised_of(model)
    return supervised, supervised


def method_after(model: nn.Module, backend: str) -> tuple[Supervised, Any]:
    supervised = supervised_of(model)
    model.compile(backend=backend)
    return supervised, supervised


def around_all(model: nn.Module, backend: str) -> tuple[Supervised, Any]:
    supervised = supervised_of(model)
    return supervised, torch.compile(supervised, backend=backend)


def method_of_all(model: nn.Module, backend: str) -> tuple[Supervised, Any]:
    supervised = supervised_of(model)
    supervised.compile(backend=backend)
    return supervised, supervised


def blocks(model: nn.Module, backend: str) -> tuple[Supervised, Any]:
    for block in model.model.layers:
        block.compile(backend=backend)
    supervised = supervised_of(model)
    return supervised, supervised


def ran_before(model: nn.Module, backend: str) -> tuple[Supervised, Any]:
    """Its graphs are made, and kept, before there is a hook."""
    model.compile(backend=backend)
    batch = make_part(PLAN, ALL)
    for _ in range(2):
        model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False)
    supervised = supervised_of(model)
    return supervised, supervised


WAYS = [whole_before, method_before, method_after, around_all, method_of_all, blocks, ran_before]


def graphs() -> int:
    return counters["stats"]["unique_graphs"]


def agree(way: Callable[..., Any], backend: str) -> None:
    torch._dynamo.reset()
    counters.clear()
    supervised, called = way(make_model("llama").train(), backend)
    plain = supervised_of(make_model("llama"))
    found, expected = called(make_part(PLAN, ALL), time=0.0), plain(make_part(PLAN, ALL), time=0.0)
    found.loss.backward()
    expected.loss.backward()
    torch.testing.assert_close(found.values, expected.values)
    torch.testing.assert_close(found.loss, expected.loss)
    assert distance(gradients_of(supervised), gradients_of(plain)) < 1e-5
    assert all(each.fired and each.acted == 1 for each in supervised.receipts.all())
    assert graphs() >= 3, "something was compiled"


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("way", WAYS)
def test_compiled_gives_what_eager_gives(way: Callable[..., Any], backend: str) -> None:
    agree(way, backend)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler")
@pytest.mark.parametrize("way", [whole_before, blocks])
def test_inductor_gives_what_eager_gives(way: Callable[..., Any]) -> None:
    agree(way, "inductor")


@pytest.mark.slow
@pytest.mark.parametrize("way", [whole_before, around_all, blocks])
def test_batches_of_other_sizes_are_not_compiled_again(way: Callable[..., Any]) -> None:
    """Records, lengths and rows vary: a second batch is compiled for sizes that vary, and that serves all others."""
    torch._dynamo.reset()
    counters.clear()
    _, called = way(make_model("llama").train(), "eager")
    made = []
    for records in ([0, 1], [2, 3, 4], [5, 6], [0, 2, 4, 6], [1, 3, 7], ALL):
        called(make_part(PLAN, records), time=0.0).loss.backward()
        made.append(graphs())
    assert made[2:] == [made[1]] * 4 and made[1] <= 2 * made[0]


@pytest.mark.slow
def test_a_model_that_was_compiled_and_run_before_is_read() -> None:
    """Without a rule on attention nothing of the model's config changes: its graphs know no hook, and are not used."""
    torch._dynamo.reset()
    model = torch.compile(make_model("llama").train(), backend="eager")
    batch = make_batch(HIDDEN, [9, 6], {"axis": SPREAD})
    for _ in range(2):
        model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False)
    with supervised_of(make_model("llama"), HIDDEN) as plain:
        expected = plain(batch, time=0.0).rules["axis"]
    for _ in range(2):
        with supervised_of(model, HIDDEN) as supervised:
            torch.testing.assert_close(supervised(batch, time=0.0).rules["axis"], expected)


def test_one_whole_graph_is_refused_by_name() -> None:
    torch._dynamo.reset()
    model = torch.compile(make_model("llama").train(), backend="eager", fullgraph=True)
    with pytest.raises(Failure, match="MCD723 the model is compiled with `fullgraph=True`, and what rules read"):
        supervised_of(model, HIDDEN)(make_batch(HIDDEN, [9, 6], {"axis": SPREAD}), time=0.0)
