"""Masking: which tokens, what stands in their place, and that nothing but seed, epoch, record and part decides it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch.utils.data import DataLoader

from mcd.cli.main import mcd
from mcd.compiler.verify import broken_invariants
from mcd.dsl.diagnostics import Failure
from mcd.runtime.collate import Collator
from mcd.runtime.dataset import Dataset, load
from mcd.runtime.evaluate import in_batches, scores_of
from mcd.runtime.loader import Loader
from mcd.runtime.losses.token import token_losses
from mcd.runtime.masking import Masking, _uniform
from mcd.runtime.pack import Packer, pack
from mcd.runtime.supervise import supervise
from mcd.runtime.train import Settings, step_batches

from ..projects import compiled
from .builders import make_batch, make_model, make_plan, make_toward, make_weigh
from .masked import BERT, CLS, MASK, NAMES, SEP, SPECIAL, VOCAB, make_bert, masked_dataset, masked_project

SPEC = """source s = jsonl("data.jsonl") { id = .id  text = "{.text}" }
span cat = phrases("cat")
weigh loud: cat { factor = 3 }
"""
TEXT = "the cat saw a red cat and a dog ."
RECORDS = [{"id": f"r{i}", "text": TEXT if i % 2 else "a dog ran off [SEP] the cat"} for i in range(40)]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return masked_dataset(tmp_path_factory.mktemp("masked"), SPEC, RECORDS)


def test_the_plan_knows_the_vocabulary_of_a_model_that_is_not_causal(dataset: Dataset) -> None:
    found = dataset.plan.tokenizer.vocabulary
    assert found is not None
    assert (found.mask, sorted(found.special), found.size) == (MASK, SPECIAL, SEP + 2)
    broken = found.model_copy(update={"special": (found.size,)})
    tokenizer = dataset.plan.tokenizer.model_copy(update={"vocabulary": broken})
    assert broken_invariants(dataset.plan.model_copy(update={"tokenizer": tokenizer})) == [
        "names special tokens that its tokenizer does not have"
    ]


def test_masked_tokens_are_scored_and_labelled_and_no_other_changes(dataset: Dataset) -> None:
    """Of 10 x 20 + 6 x 20 words and marks, [SEP] in a text not among them; `cat` is weighed where it is masked."""
    batch = Collator(dataset.plan, masking=Masking(share=0.5))(list(dataset))
    labels, scored = batch.labels, batch.scored
    assert labels is not None
    assert torch.equal(batch.input_ids[~scored], labels[~scored])
    assert not torch.isin(labels[scored], torch.tensor(SPECIAL)).any()
    assert (labels[:, 0] == CLS).all() and not scored[:, 0].any()
    assert 0.35 < scored.sum() / 320 < 0.65
    weighed = torch.zeros_like(scored)
    weighed[batch.weigh.record, batch.weigh.position] = True
    assert torch.equal(weighed, scored & (labels == 1))


def test_shares_of_mask_random_and_kept_tokens(dataset: Dataset) -> None:
    """Of n predicted tokens 0.8 n are masked and 0.1 n random. Over 200 epochs n is about 0.15 x 320 x 200 = 9,600, and the
    shares have a standard deviation of 0.004 and 0.003; random tokens are one of 22 that are not special, the true one among
    them, so that 0.1 x 21 / 22 = 0.095 differ from it."""
    collate, rows = Collator(dataset.plan, masking=Masking()), list(dataset)
    masked = other = predicted = 0
    drawn: set[int] = set()
    for epoch in range(200):
        batch = collate(rows, epoch=epoch)
        assert batch.labels is not None
        read, labels = batch.input_ids[batch.scored], batch.labels[batch.scored]
        changed = (read != labels) & (read != MASK)
        drawn |= set(read[changed].tolist())
        predicted, masked, other = predicted + len(read), masked + int((read == MASK).sum()), other + int(changed.sum())
    assert predicted / (320 * 200) == pytest.approx(0.15, abs=0.006)
    assert masked / predicted == pytest.approx(0.8, abs=0.016)
    assert other / predicted == pytest.approx(0.0955, abs=0.012)
    assert drawn == set(range(SEP + 2)) - set(SPECIAL)


def test_masks_depend_on_seed_epoch_record_and_part_alone(dataset: Dataset) -> None:
    """Other batches, another order, worker processes: the same tokens of the same record."""
    rows = list(dataset)

    def read(batches: Any) -> dict[str, list[int]]:
        return {
            id: ids[mask.bool()].tolist()
            for batch in batches
            for id, ids, mask in zip(batch.ids, batch.input_ids, batch.attention_mask, strict=True)
        }

    collate = Collator(dataset.plan, masking=Masking(seed=3))
    whole = read([collate(rows, epoch=2)])
    assert whole == read(collate(rows[at : at + 7][::-1], epoch=2) for at in range(0, 40, 7))
    assert whole == read(DataLoader(dataset, batch_size=9, num_workers=2, collate_fn=partial(collate, epoch=2)))
    assert whole != read([collate(rows, epoch=3)])
    assert whole != read([Collator(dataset.plan, masking=Masking(seed=4))(rows, epoch=2)])
    assert len({tuple(ids) for id, ids in whole.items() if int(id[1:]) % 2}) > 10  # 20 records of one text


def test_a_loader_masks_by_its_epoch_whatever_its_workers(dataset: Dataset) -> None:
    collate = Collator(dataset.plan, masking=Masking(seed=3))

    def epochs(workers: int) -> list[dict[str, Any]]:
        loader = Loader(dataset, 7, collate=collate, workers=workers)
        found = [{id: row.tolist() for b in loader for id, row in zip(b.ids, b.scored, strict=True)} for _ in range(2)]
        loader.close()
        return found

    alone = epochs(0)
    assert alone == epochs(2) and alone[0].keys() == alone[1].keys() and alone[0] != alone[1]


def test_packed_rows_predict_the_masked_tokens_of_padded_ones(dataset: Dataset) -> None:
    """BERT keeps no records of a row apart, so that the tokens and not the losses are compared."""
    batch = Collator(dataset.plan, masking=Masking(share=0.5))(list(dataset)[:6])
    found = pack(batch, Packer(30).bins(batch.attention_mask.sum(1)), 30)
    assert found.labels is not None and batch.labels is not None
    assert sorted(found.labels[found.scored].tolist()) == sorted(batch.labels[batch.scored].tolist())
    assert (found.input_ids != found.labels).sum() == (batch.input_ids != batch.labels).sum() > 0


def test_parts_of_a_record_are_masked_apart(tmp_path: Path) -> None:
    path = masked_project(tmp_path, SPEC, [{"id": "a", "text": "the cat saw a red dog . " * 8}])
    path.write_text(path.read_text().replace("context = 16", "context = 16  overflow = split(stride: 0)"))

    compiled(path, tmp_path / "out")

    data = load(tmp_path / "out")
    batch = Collator(data.plan, masking=Masking(share=0.5))(list(data))
    assert len(batch.ids) == 4 and len({tuple(row) for row in batch.scored.tolist()}) == 4


def test_token_loss_of_a_masked_model_is_at_the_token(dataset: Dataset) -> None:
    """Rows give (1/4, 3/4), then (1/2, 1/2): token 1 at row 0 costs -ln 3/4 = 0.287682, token 0 at row 1 ln 2 = 0.693147. Moved
    by one, as in a causal model, the second would cost -ln 1/4."""
    logits = torch.tensor([[[0.25, 0.75], [0.5, 0.5]]]).log()
    losses = token_losses(logits, torch.tensor([[1, 0]]), causal=False)
    assert losses[0].tolist() == pytest.approx([0.287682, 0.693147], abs=1e-6)
    batch = Collator(dataset.plan, masking=Masking(share=0.4))(list(dataset)[:6])
    model = make_bert(vocab_size=64)
    out = supervise(model, dataset, adapter=BERT)(batch, time=0.0)
    given = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits.double()
    assert batch.labels is not None
    pairs = [
        (3.0 if batch.labels[b, i] == 1 else 1.0, -torch.log_softmax(given[b, i], 0)[batch.labels[b, i]])
        for b, i in batch.scored.nonzero().tolist()
    ]
    expected = sum(w * loss for w, loss in pairs) / sum(w for w, _ in pairs)
    assert out.token.item() == pytest.approx(float(expected), abs=1e-5)


def test_batch_that_is_not_masked_has_a_token_loss_of_zero_that_is_connected() -> None:
    plan = make_plan(make_toward(anchor="a"), causal=False)
    anchors = {"a": torch.ones(16)}
    batch = make_batch(plan, [6, 4], {"axis": [(0, [2])]})
    batch = replace(batch, scored=torch.zeros_like(batch.scored))
    supervised = supervise(make_bert(), plan, anchors=anchors, adapter=BERT)
    out = supervised(batch, time=0.0)
    out.token.backward()
    assert out.token.item() == 0 and out.rules["axis"].item() > 0
    grad = supervised.model.bert.encoder.layer[0].output.dense.weight.grad
    assert grad is not None and not grad.any()


@pytest.mark.parametrize("rules", [(), (make_weigh(),)])
def test_batch_that_is_not_masked_is_refused_where_nothing_else_acts(rules: tuple[Any, ...]) -> None:
    plan = make_plan(*rules, causal=False)
    with pytest.raises(Failure, match="MCD714 no token of the batch is masked, and"):
        supervise(make_bert(), plan, adapter=BERT)(make_batch(plan, [4]), time=0.0)


@pytest.mark.parametrize(
    ("masking", "said"),
    [
        (Masking(), "nothing says which token stands for a masked one"),
        (Masking(mask_id=VOCAB), f"`mask_id` is {VOCAB}, and the model has a vocabulary of {VOCAB}"),
        (Masking(share=1.5), "`share` of a masking is a share from 0 to 1, found 1.5"),
        (Masking(random=0.6, keep=0.6), "`random [+] keep` of a masking is a share from 0 to 1, found 1.2"),
        (Masking(share=0), "predicts no token"),
    ],
)
def test_masking_that_cannot_be_is_refused(masking: Masking, said: str) -> None:
    with pytest.raises(Failure, match=f"MCD714 .*{said}"):
        Collator(make_plan(causal=False), masking=masking)


def test_a_causal_model_is_not_masked() -> None:
    with pytest.raises(Failure, match="MCD714 the model of the plan is causal"):
        Collator(make_plan(), masking=Masking(mask_id=1))


def test_training_and_evaluation_mask_by_themselves(dataset: Dataset) -> None:
    """Every step masks other tokens; an evaluation always the same, and counts those."""
    steps = list(step_batches(dataset, Settings(steps=2, batch_size=40)))
    first, second = (dict(zip(batch.ids, batch.scored, strict=True)) for [batch] in steps)
    assert any(not torch.equal(first[id], second[id]) for id in first)
    supervised = supervise(make_bert(vocab_size=64), dataset, adapter=BERT)
    scores = [scores_of(supervised, in_batches(dataset, size)) for size in (8, 13)]
    tokens = int(Collator(dataset.plan, masking=Masking())(list(dataset)).scored.sum())
    assert [found.tokens for found in scores] == [tokens, tokens]
    values = [found.model["loss"].value for found in scores]
    assert values[0] == pytest.approx(values[1], rel=1e-5)


@pytest.mark.slow
def test_a_masked_model_learns_what_is_masked(dataset: Dataset) -> None:
    """Two texts by heart: a masked word follows from the others."""
    supervised = supervise(make_bert(vocab_size=64), dataset, adapter=BERT, chunk=64).train()
    optimizer = torch.optim.AdamW(supervised.parameters(), lr=0.005)
    losses = []
    for [batch] in step_batches(dataset, Settings(steps=300, batch_size=40)):
        out = supervised(batch, time=0.0)
        out.loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(out.token.item())
    assert sum(losses[-10:]) / 10 < 0.7 < 2 < losses[0]


def test_no_measure_of_next_tokens_is_taken_for_a_masked_model(dataset: Dataset, tmp_path: Path) -> None:
    given = ["measure", str(dataset.path), "--model", str(tmp_path), "-o", "reference"]
    found = CliRunner().invoke(mcd, given)
    assert found.exit_code == 1 and "MCD715" in found.output


def test_rule_on_masked_tokens_is_promised_fewer_rows(dataset: Dataset) -> None:
    """60 cats in 40 records: a hundredth of the least of both, which is none: no batch without a masked cat stops a run."""
    supervised = supervise(make_bert(vocab_size=64), dataset, adapter=BERT).train()
    rows = list(dataset)
    for _ in range(3):
        batch = Collator(dataset.plan, masking=Masking(share=0.01))(rows[:13])
        supervised(batch, time=0.0)


def test_numbers_are_those_of_splitmix64() -> None:
    """Of the stream 1234567, as its authors' code gives them: 6457827717110365317, 3203168211198807973, 9817491932198370423.

    A token takes three of them, of which the highest 53 bits are a number below 1."""

    found = _uniform(np.array([1234567], dtype=np.uint64), 1)[:, 0, 0]
    expected = [number / 2**64 for number in (6457827717110365317, 3203168211198807973, 9817491932198370423)]
    assert found.tolist() == pytest.approx(expected, abs=1e-15)


def test_names_of_tokenizers_that_have_no_mask(tmp_path: Path) -> None:
    data = masked_dataset(tmp_path, SPEC, RECORDS[1:2], [*NAMES[:2], "[BLANK]"])
    with pytest.raises(Failure, match="MCD714 nothing says"):
        Collator(data.plan, masking=Masking())
    batch = Collator(data.plan, masking=Masking(share=1.0, random=0, keep=0, mask_id=MASK))(list(data))
    assert (batch.input_ids[0, 1:-1] == MASK).all()


def test_gpt2_is_causal_whatever_is_masked() -> None:
    """A plan for a model that is not causal does not run on one that is."""
    with pytest.raises(Failure, match="MCD701"):
        supervise(make_model("gpt2"), make_plan(causal=False))
