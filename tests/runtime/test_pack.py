"""Packed batches give what padded ones give: token losses, rule losses, gradients and receipts; and what leaks is refused."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import BertConfig, BertLMHeadModel, MambaConfig, MambaForCausalLM

from mcd.dsl.diagnostics import Failure
from mcd.runtime.adapters import ADAPTERS, Adapter, hugging_face_logits, plain_logits
from mcd.runtime.attention import Observed, key_rows
from mcd.runtime.batch import Batch
from mcd.runtime.groups import group_rules
from mcd.runtime.pack import Packer, pack
from mcd.runtime.packed import beside, check_apart
from mcd.runtime.ranks import _in_record
from mcd.runtime.schedule import multipliers
from mcd.runtime.supervise import supervise
from mcd.runtime.weights import TokenWeights

from .builders import (
    EVERY_ROW,
    EVERYTHING,
    LIVE,
    VOCAB,
    make_anchors,
    make_attend,
    make_batch,
    make_contrast,
    make_distil,
    make_keep,
    make_like,
    make_model,
    make_plan,
    make_predict,
    make_teacher,
    make_teacher_plan,
    make_weigh,
)
from .reference import in_float64

LENGTHS = [9, 6, 3, 7, 1, 5]
BINS = [[3, 0], [1, 2, 4, 5]]
WIDTH = 20


def refused(code: str, call: Any) -> str:
    with pytest.raises(Failure) as error:
        call()
    (found,) = error.value.diagnostics
    assert found.code.id == code
    return str(found.message)


# --- which records share a row ---------------------------------------------------------------------------------------


def test_the_longest_goes_first_into_the_fullest_row_with_room() -> None:
    """Of 7, 6, 5, 4, 3, 2 in rows of 10: 7 and 6 and 5 open rows with 3, 4 and 5 left; 4 fits 6's row exactly, 3 the row of 7,
    2 the row of 5. Rows come in the order of their first record."""
    assert Packer(10).bins([2, 3, 7, 4, 6, 5]) == [[0, 5], [1, 2], [3, 4]]


def test_every_record_is_in_one_row_that_has_room_for_it() -> None:
    random = np.random.default_rng(0)
    for width in (1, 7, 64):
        lengths = random.integers(0, width + 1, 200)
        bins = Packer(width).bins(lengths)
        assert sorted(record for row in bins for record in row) == list(range(200))
        assert max(int(lengths[row].sum()) for row in bins) <= width
        assert bins == Packer(width).bins(lengths)


def test_rows_are_full_on_lengths_as_texts_have_them() -> None:
    """Lognormal lengths of median 150, cut at 1,024, as documents have them: 256 at a time fill 98% of the places, where
    padding 8 at a time to the longest of them fills less than half."""
    lengths = np.minimum(np.random.default_rng(1).lognormal(5, 1, 4096).astype(np.int64) + 1, 1024)
    windows = lengths.reshape(-1, 256)
    rows = sum(len(Packer(1024).bins(window)) for window in windows)
    assert lengths.sum() / (rows * 1024) > 0.98
    assert lengths.sum() / (lengths.reshape(-1, 8).max(1).sum() * 8) < 0.5


def test_no_records_need_no_row_and_long_ones_have_none() -> None:
    assert Packer(4).bins([]) == []
    assert refused("MCD727", lambda: Packer(4).bins([3, 5])) == "a record has 5 tokens, and a packed row 4"


# --- what moves where ------------------------------------------------------------------------------------------------


def small(**values: Any) -> Batch:
    plan = make_plan(make_attend(), make_weigh(), make_keep())
    rows = {"look": [(0, 2, [0, 1]), (1, 1, [0]), (0, 1, [1])]}
    given = {"weigh": {"boost": [(0, 2, 4.0), (1, 1, 2.0)]}, "keep": {"hard": [(1, 1), (0, 1)]}}
    return make_batch(plan, [3, 2, 1], rows, **given, **values)


def test_tensors_by_hand() -> None:
    """Records of 3, 2 and 1 tokens in the rows (1, 0) and (2): tokens of record 0 move by 2 places, behind those of record 1."""
    batch = small(measures=torch.arange(9.0).view(1, 3, 3))
    packed = pack(replace(batch, labels=batch.input_ids + 1), [[1, 0], [2]], 6, pad_id=99)
    (a, b, c), (d, e, _), (f, *_) = batch.input_ids.tolist()
    assert packed.input_ids.tolist() == [[d, e, a, b, c, 99], [f, 99, 99, 99, 99, 99]]
    assert packed.labels is not None and packed.labels[0].tolist() == [d + 1, e + 1, a + 1, b + 1, c + 1, 99]
    assert packed.attention_mask.tolist() == [[1, 1, 1, 1, 1, 0], [1, 0, 0, 0, 0, 0]]
    assert packed.scored.int().tolist() == [[0, 1, 0, 1, 1, 0], [0, 0, 0, 0, 0, 0]]
    assert packed.position_ids is not None and packed.position_ids[0].tolist() == [0, 1, 0, 1, 2, 0]
    assert packed.document is not None
    assert packed.document.tolist() == [[1, 1, 0, 0, 0, -1], [2, -1, -1, -1, -1, -1]]
    assert packed.segments.tolist() == [[2, 2, 1, 1, 1, 0], [3, 0, 0, 0, 0, 0]]
    assert packed.measures is not None and packed.measures[0, 0, :5].tolist() == [3, 4, 0, 1, 2]
    assert packed.measures[0, 1, 1:].isnan().all()
    assert (packed.weigh.record.tolist(), packed.weigh.position.tolist()) == ([0, 0], [4, 1])
    assert sorted(zip(packed.keep.record.tolist(), packed.keep.position.tolist(), strict=True)) == [(0, 1), (0, 3)]
    (rows,) = packed.attend
    assert rows.position.tolist() == [[1, 4, 3], [0, 0, 0]]
    assert rows.valid.tolist() == [[True, True, True], [False, False, False]]
    pairs = zip(rows.pair_record.tolist(), rows.pair_row.tolist(), rows.pair_key.tolist(), strict=True)
    assert sorted(pairs) == [(0, 0, 0), (0, 1, 2), (0, 1, 3), (0, 2, 3)]
    assert packed.ids == batch.ids


def test_padding_on_the_left_moves_as_that_on_the_right() -> None:
    """A record of 2 tokens behind one place of padding, its rows one place on: the same packed batch."""
    right = make_batch(make_plan(make_keep()), [3, 2], keep={"hard": [(0, 1), (1, 1)]})
    shift = torch.tensor([0, 1])
    place = (torch.arange(3) - shift[:, None]) % 3

    def moved(values: Tensor) -> Tensor:
        return values.gather(1, place)

    columns = {name: moved(getattr(right, name)) for name in ("input_ids", "attention_mask", "scored")}
    left = replace(right, **columns, keep=replace(right.keep, position=right.keep.position + shift[right.keep.record]))
    assert left.attention_mask.tolist() == [[1, 1, 1], [0, 1, 1]]
    same(pack(left, [[0, 1]], 6), pack(right, [[0, 1]], 6))


def same(one: Any, other: Any) -> None:
    if isinstance(one, Tensor):
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)
    elif isinstance(one, tuple):
        for first, second in zip(one, other, strict=True):
            same(first, second)
    elif is_dataclass(one):
        for field in fields(one):
            same(getattr(one, field.name), getattr(other, field.name))
    else:
        assert one == other


def test_rows_of_one_record_each_are_the_padded_batch() -> None:
    batch = small()
    packed = pack(batch, [[0], [1], [2]], 3)
    same(replace(packed, position_ids=None, document=None), batch)


def test_bins_that_are_not_the_batch_are_refused() -> None:
    batch = small()
    assert "[0, 1]" in refused("MCD728", lambda: pack(batch, [[0, 1]], 6))
    refused("MCD728", lambda: pack(batch, [[0, 1], [2, 1]], 6))
    assert refused("MCD727", lambda: pack(batch, [[0, 1], [2]], 4)).startswith("the records of a row have 5 tokens")
    packed = pack(batch, [[0, 1, 2]], 6)
    refused("MCD728", lambda: pack(packed, [[0, 1, 2]], 6))


# --- the same numbers ------------------------------------------------------------------------------------------------

CONTRASTED = [(0, [1]), (0, [3, 4]), (0, [7]), (1, [0]), (1, [5]), (3, [2]), (3, [6])]
BETWEEN = [(0, 5, [1, 2]), (0, 8, [0, 3, 7]), (1, 4, [0, 4]), (3, 6, [1, 6]), (2, 2, [0]), (5, 4, [0, 1, 2, 3, 4])]

RULES = (
    *EVERYTHING,
    make_attend("averaged", heads="mean", layers=(1, 3), per="record"),
    make_contrast("together", per="record"),
    make_contrast("everywhere", scope="batch", per="record"),
    make_predict("early"),
    make_like("parallel"),
    make_keep("kept", per="record"),
    make_keep("first", per="batch", score=(LIVE, -1.0, "*")),
)


def everything(lengths: list[int] = LENGTHS, **contract: Any) -> tuple[Any, Batch]:
    plan = make_plan(*RULES, **contract)
    rows = EVERY_ROW | {
        "averaged": BETWEEN,
        "together": CONTRASTED,
        "everywhere": CONTRASTED,
        "early": [(0, [3]), (1, [2]), (3, [5])],
        "parallel": [(0, [1, 2], [5, 6]), (1, [0], [2, 4]), (3, [1], [3])],
    }
    keys = [1, 1, 2, 1, 1, 2, 1]
    tokens = [(record, at) for record, length in enumerate(lengths) for at in range(1, length)]
    return plan, make_batch(
        plan,
        lengths,
        rows,
        labels={"g": [0, 1, 2, 1], "together": keys, "everywhere": keys, "early": [3, 5, 7]},
        weigh={"boost": [(0, 3, 4.0), (3, 6, 0.5), (5, 1, 2.0)]},
        keep={"kept": tokens, "first": tokens[::2]},
    )


def passed(
    model: nn.Module, plan: Any, batch: Batch, adapter: Adapter | None = None
) -> tuple[dict[str, Tensor], dict[str, float], dict[str, Tensor]]:
    """Losses, rows and gradients of one step in training mode."""
    with supervise(model, plan, anchors=make_anchors(), adapter=adapter).train() as supervised:
        out = supervised.double()(batch, time=0.5)
        out.loss.backward()
        gradients = {name: p.grad for name, p in supervised.named_parameters() if p.grad is not None}
        losses = {"token": out.token, "loss": out.loss, "kept": out.kept.double(), **out.rules}
        found = ({k: v.detach() for k, v in losses.items()}, out.rows, gradients)
        assert all(receipt.fired for receipt in supervised.receipts.all())
        supervised.zero_grad()
    return found


NO_SDPA = ("gemma2", "sdpa")
WINDOWS: dict[str, tuple[int | None, ...]] = {
    "gpt2": (),
    "llama": (),
    "qwen3": (),
    "mistral": (4, 4, 4),
    "gemma2": (4, None, 4),
    "gemma3": (4, 4, 4),
}


CASES = [(kind, attention) for kind in WINDOWS for attention in ("sdpa", "eager") if (kind, attention) != NO_SDPA]


@pytest.mark.parametrize(("kind", "attention"), CASES)
def test_a_packed_batch_has_the_losses_and_gradients_of_the_padded_one(kind: str, attention: str) -> None:
    """In float64 to 1e-6: every kind of rule, weights, `keep` per record and per batch, contrasts over the batch. Eager kernels
    have a softmax in float32, whence 1e-5 for them, and records of one length: there the mask of float64 is minus infinity, and
    padding that sees nothing within its window is no number."""
    windows = WINDOWS[kind]
    model = in_float64(make_model(kind, attention=attention, **({"sliding_window": 4} if windows else {})))
    model.set_attn_implementation(attention)
    adapter = ADAPTERS["gpt2" if kind == "gpt2" else "llama"]
    plan, batch = everything([9] * 6 if attention == "eager" else LENGTHS, windows=windows)
    bins, width = ([[3, 0], [1], [2, 5, 4]], 30) if attention == "eager" else (BINS, WIDTH)
    padded = passed(model, plan, batch, adapter)
    packed = passed(model, plan, pack(batch, bins, width, pad_id=VOCAB - 1), adapter)
    assert padded[1] == packed[1]
    assert min(padded[1].values()) > 0
    room = 1e-5 if attention == "eager" else 1e-6
    for one, other in zip((padded[0], padded[2]), (packed[0], packed[2]), strict=True):
        assert one.keys() == other.keys()
        for name in one:
            torch.testing.assert_close(other[name], one[name], rtol=room, atol=room, msg=lambda m, n=name: f"{n}: {m}")


def test_ties_are_kept_by_record_and_place_and_not_by_row() -> None:
    """Half of 6 tokens over the batch, of score 0 as long as no loss is known: the 2 of record 0, and the first of record 1, which
    stands before it."""
    plan = make_plan(make_keep(per="batch"))
    batch = make_batch(plan, [3, 5], keep={"hard": [(0, 1), (0, 2), (1, 1), (1, 2), (1, 3), (1, 4)]})
    packed = pack(batch, [[1, 0]], 8)
    weigh = TokenWeights(group_rules(plan), ())
    scale = multipliers(plan, 0.0)
    assert weigh(batch, scale).weights.nonzero().tolist() == [[0, 1], [0, 2], [1, 1]]
    assert weigh(packed, scale).weights.nonzero().tolist() == [[0, 1], [0, 6], [0, 7]]


def test_rows_that_contrast_over_ranks_know_their_record() -> None:
    """Shares 1, 1, 1 of records 0, 0, 1 in one packed row: 2 in the first record, 1 in the second."""
    rules = make_contrast("c", scope="batch", per="record", pool="each")
    batch = make_batch(make_plan(rules), [3, 2], {"c": [(0, [0]), (0, [2]), (1, [1])]}, labels={"c": [1, 1, 1]})
    packed = pack(batch, [[0, 1]], 5)
    ones = torch.ones(3)
    assert _in_record(packed.hidden[0], ones, packed.document).tolist() == [2, 2, 1]
    assert _in_record(batch.hidden[0], ones, None).tolist() == [2, 2, 1]


def test_a_kernel_without_a_mask_lets_rows_see_their_own_record() -> None:
    """Records of 2 and 3 tokens and padding in a row. Equal scores: position 1 sees 2 keys, 3 its own 2, 4 within a window of 2
    its own 2, and each has log 1/2."""
    segments = torch.tensor([[1, 1, 2, 2, 2, 0]])
    query = torch.zeros(1, 1, 6, 4)
    seen = Observed(query, query, 1.0, None, causal=True, window=2)
    position = torch.tensor([[1, 3, 4]])
    rows = key_rows(seen, position, torch.ones(1, 3, 6, dtype=torch.bool), torch.ones(1, 3), segments)
    found = [sorted(keys.nonzero()[:, 0].tolist()) for keys in rows.keys[0, 0]]
    assert found == [[0, 1], [2, 3], [3, 4]]
    torch.testing.assert_close(rows.log_p[rows.keys], torch.full((6,), 0.5).log())


def test_an_online_teacher_reads_packed_rows_as_it_reads_padded_ones() -> None:
    plan = make_plan(make_distil("d"), teacher=make_teacher_plan())
    batch = make_batch(plan, [5, 3, 4], {"d": [(0, [1]), (1, [2]), (2, [3])]})
    teacher = make_teacher()
    found = []
    for each in (batch, pack(batch, [[0, 1], [2]], 8)):
        with supervise(make_model("llama"), plan, teachers={"t": teacher}) as supervised:
            found.append(float(supervised(each, time=0.0).rules["d"]))
    assert found[0] == pytest.approx(found[1], rel=1e-5)
    assert found[0] > 0


# --- what keeps records apart ----------------------------------------------------------------------------------------


def leaking(model: nn.Module, run: Any = hugging_face_logits) -> str:
    message = refused("MCD729", lambda: check_apart(model, lambda batch: run(model, batch), VOCAB, torch.device("cpu")))
    assert type(model).__name__ in message
    return message.partition(": ")[2]


def test_a_model_that_reads_ids_alone_is_refused_and_stays_as_it_was() -> None:
    """`plain_logits` hands no positions on, so that the causal mask spans the row."""
    model = make_model("llama").train()
    assert leaking(model, lambda model, batch: plain_logits(model, batch).logits) == (
        "a record depends on the record before it in its row"
    )
    assert all(module.training for module in model.modules())


def test_positions_that_go_on_are_refused() -> None:
    """Right masks, but the absolute positions of the row."""

    def row(model: nn.Module, batch: Batch) -> Tensor:
        mask = (batch.segments[:, None, :, None] == batch.segments[:, None, None, :]).tril()
        return model(input_ids=batch.input_ids, attention_mask=mask).logits

    assert leaking(make_model("gpt2"), row) == "a record depends on its place in the row"


def test_a_model_that_does_not_look_back_yet_is_refused() -> None:
    """Output projections of 0: no attention has an effect, nor would a wrong mask."""
    model = make_model("llama")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "o_proj" in name:
                parameter.zero_()
    assert "no earlier token" in leaking(model)


def test_encoders_and_recurrent_models_are_refused() -> None:
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "vocab_size": VOCAB}
    bert = BertLMHeadModel(BertConfig(**sizes, num_attention_heads=2, intermediate_size=24, is_decoder=False))
    mamba = MambaForCausalLM(MambaConfig(**sizes, state_size=4))
    with torch.no_grad():
        for parameter in [*bert.parameters(), *mamba.parameters()]:
            if parameter.ndim > 1:
                parameter.normal_(0, 0.4)
    assert leaking(bert) == "a record depends on the record before it in its row"
    assert leaking(mamba) == "a record depends on the record before it in its row"


def test_a_forward_pass_without_positions_is_refused() -> None:
    class Own(nn.Module):
        def forward(self, input_ids: Tensor) -> Tensor:
            raise AssertionError

    assert leaking(Own()).startswith("its forward pass takes no packed rows (")


def test_a_supervised_model_is_asked_once_and_before_its_first_packed_pass(monkeypatch: Any) -> None:
    calls = []
    monkeypatch.setattr("mcd.runtime.supervised.check_apart", lambda *_: calls.append(1))
    plan = make_plan(make_keep())
    batch = make_batch(plan, [3, 2])
    with supervise(make_model("llama"), plan) as supervised:
        supervised(batch, time=0.0)
        assert not calls
        for _ in range(2):
            supervised.totals([pack(batch, [[0, 1]], 5)], 0.0)
            supervised(pack(batch, [[0, 1]], 5), time=0.0)
    assert len(calls) == 1


def test_flash_kernels_are_told_the_ends_of_records() -> None:
    """Rows (3, 2, and 1 of padding) and (1, and 5 of padding): 5 runs, of at most 5 tokens."""
    model = make_model("llama")
    model.config._attn_implementation = "flash_attention_2"
    given = beside(model, pack(small(), [[0, 1], [2]], 6))
    assert given["attention_mask"] is None
    assert given["cu_seq_lens_q"].tolist() == given["cu_seq_lens_k"].tolist() == [0, 3, 5, 6, 7, 12]
    assert given["cu_seq_lens_q"].dtype == torch.int32
    assert given["max_length_q"] == given["max_length_k"] == 5
