"""The specs that people learn from: what they compile to is what their data says, and what they claim is so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import mcd
from mcd.runtime.train import Settings
from mcd.specs._experiment import measured, only
from mcd.specs.recall import experiment as recall

from .projects import compiled

SPECS = Path(__file__).parents[1] / "specs"


@pytest.fixture(scope="module", params=["recall/recall", "recall/control"])
def sequences(request, tmp_path_factory):
    out = tmp_path_factory.mktemp("recall")
    compiled(SPECS / f"{request.param}.mcd", out / "out")
    return request.param.split("/")[1], mcd.load(out / "out")


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    out = tmp_path_factory.mktemp("wordnet")
    compiled(SPECS / "wordnet/wordnet.mcd", out / "out")
    return mcd.load(out / "out")


def records(path):
    return [json.loads(line) for line in (SPECS / path).read_text("utf-8").splitlines()]


def pairs(rows):
    """(record, query position, key position) of every edge, in order."""
    query = rows.position[rows.pair_record, rows.pair_row]
    return list(zip(rows.pair_record.tolist(), query.tolist(), rows.pair_key.tolist(), strict=True))


def targets(name, symbols):
    """What the two attention rules of a spec say about a record, one symbol per token: (previous, lookup)."""
    middle = symbols.index("?")
    values = [at for at, symbol in enumerate(symbols) if symbol[0] == "v"]
    asked = range(middle + 1, len(symbols), 2)
    if name == "control":
        return [(at, at - 2) for at in values if at >= 2], [(at, values[n]) for n, at in enumerate(asked)]
    return [(at, at - 1) for at in values], [(at, symbols.index(symbols[at]) + 1) for at in asked]


def test_recall_attends_where_the_record_says(sequences):
    name, dataset = sequences
    texts = [f"{record['pairs']} ? {record['questions']}".split() for record in records("recall/data/valid.jsonl")]
    batch = mcd.Collator(dataset.plan)(list(dataset.split("valid")))
    previous, lookup = (pairs(rows) for rows in batch.attend)
    wanted = [targets(name, symbols) for symbols in texts]
    assert previous == [(record, *edge) for record, (edges, _) in enumerate(wanted) for edge in edges]
    assert lookup == [(record, *edge) for record, (_, edges) in enumerate(wanted) for edge in edges]


def test_recall_counts_answers_alone(sequences):
    _, dataset = sequences
    batch = mcd.Collator(dataset.plan)(list(dataset.split("valid"))[:4])
    counted = batch.weigh.position[batch.weigh.factor > 0].tolist()
    assert counted == list(range(18, 33, 2)) * 4


def test_wordnet_reads_the_category_at_the_end_of_the_definition(words):
    valid = only(words, lambda rule: rule == "topic").split("valid")
    rows = list(valid)
    batch = mcd.Collator(valid.plan)(rows)
    (hidden,) = batch.hidden
    (rule,) = valid.plan.rules
    category = {record["word"]: record["category"] for record in records("wordnet/data/words.jsonl")}
    assert [rule.labels[label] for label in hidden.label.tolist()] == [category[row.id] for row in rows]
    assert hidden.position.tolist() == [len(row.input_ids) - 1 for row in rows]


def test_wordnet_holds_words_out(words):
    train, valid = ({row.id for row in words.split(split)} for split in ("train", "valid"))
    assert not train & valid
    assert 0.13 < len(valid) / len(train | valid) < 0.17


@pytest.mark.slow
def test_the_attention_rules_teach_recall(sequences):
    """After 4,096 records: learned with the spec's rules, by no means with the control's."""
    name, dataset = sequences
    valid = dataset.split("valid")
    batch = mcd.Collator(valid.plan)(list(valid))
    settings = Settings(steps=128, batch_size=32, lr=2e-3, weight_decay=0.01, seed=1)
    _, (before, after) = measured(dataset, recall.CONFIG, settings, 128, lambda model: recall.accuracy(model, batch))
    assert before < 0.1
    assert after > 0.95 if name == "recall" else after < 0.3
