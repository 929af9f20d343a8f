"""Which rows an epoch holds, in which order, and that a saved position is taken up exactly."""

from __future__ import annotations

import json
from collections import Counter
from itertools import chain, islice, repeat

import numpy as np
import pytest
from torch.utils.data import DataLoader

from mcd.compiler.plan import FieldTerm, LengthTerm, MeasureTerm
from mcd.dsl.diagnostics import Failure
from mcd.runtime.collate import Collator
from mcd.runtime.dataset import load
from mcd.runtime.measures import MeasureWriter
from mcd.runtime.order import Sampler, values_of

from ..projects import compiled, project

LENGTH = LengthTerm(length="tokens")
SPEC = """source a = jsonl("data.jsonl") { id = .id  text = .text }
source b = jsonl("b.jsonl") { id = .id  text = .text }
source c = jsonl("c.jsonl") { id = .id  text = .text }
curriculum { order = .rank }
"""
WORDS = "the cat dog saw a red bird and it ran off because of rain".split()  # noqa: SIM905


def records(name, count, seed):
    random = np.random.default_rng(seed)
    ranks = [None if n % 7 == 3 else int(n % 4) - 1 for n in range(count)]
    return [
        {"id": f"{name}{n}", "text": " ".join(random.choice(WORDS, random.integers(1, 14))), "rank": ranks[n]}
        for n in range(count)
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """100 rows of source a, 30 of b, 10 of c."""
    folder = tmp_path_factory.mktemp("order")
    for name, count, seed in (("b", 30, 1), ("c", 10, 2)):
        lines = "".join(json.dumps(record) + "\n" for record in records(name, count, seed))
        (folder / f"{name}.jsonl").write_text(lines)
    compiled(project(folder, SPEC, records("a", 100, 0)), folder / "out")
    return folder


@pytest.fixture
def dataset(folder):
    return load(folder / "out", split="train")


def under(dataset, mix=None, order=None):
    return dataset.with_plan(dataset.plan.model_copy(update={"mix": mix or {}, "order": order}))


def epochs(dataset, count, seed=0):
    sampler = Sampler(dataset, seed)
    return [sampler.epoch(number).tolist() for number in range(count)]


def tokens(dataset, rows):
    """Tokens by source."""
    found = Counter()
    for row in dataset.rows(rows):
        found[row.source] += len(row.input_ids)
    return found


# --- epochs ----------------------------------------------------------------------------------------------------------


def test_without_a_mix_an_epoch_is_every_row_once_in_an_order_of_its_own(dataset):
    first, second = epochs(under(dataset), 2)
    assert sorted(first) == sorted(second) == list(range(140))
    assert first != second
    assert epochs(under(dataset), 1, seed=1)[0] != first
    assert epochs(under(dataset), 1) == [first]


@pytest.mark.parametrize(
    "mix", [{"a": 0.5, "b": 0.5}, {"a": 0.1, "c": 0.9}, {"a": 0.2, "b": 0.3, "c": 0.5}, {"c": 1.0}]
)
def test_a_mix_gives_each_source_its_share_of_the_tokens_to_within_a_row(dataset, mix):
    """An epoch has as many tokens as the sources that are mixed; a source left out has none."""
    mixed = under(dataset, mix)
    held = tokens(dataset, range(140))
    whole = sum(held[name] for name in mix)
    seen = Counter()
    for number, rows in enumerate(epochs(mixed, 5), 1):
        found = tokens(dataset, rows)
        seen += found
        assert set(found) == set(mix)
        for name, share in mix.items():
            assert abs(found[name] - share * whole) <= 14
            assert abs(seen[name] - share * whole * number) <= 14 + number  # a share of tokens is rounded up


def test_a_mix_takes_every_row_of_a_source_as_often_as_any_other_to_within_one(dataset):
    """c is seen about 27 times over in 3 epochs, a about once in 3: no row is skipped for another."""
    rows = list(chain(*epochs(under(dataset, {"a": 0.1, "c": 0.9}), 3)))
    counts = Counter(rows)
    sources = {row: found.source for row, found in enumerate(dataset.rows(range(140)))}
    for name in "ac":
        mine = [counts[row] for row in range(140) if sources[row] == name]
        assert max(mine) - min(mine) <= 1
    assert not any(sources[row] == "b" for row in rows)


def test_shares_that_are_those_of_the_data_give_every_row_once(dataset):
    held = tokens(dataset, range(140))
    whole = sum(held.values())
    (rows,) = epochs(under(dataset, {name: count / whole for name, count in held.items()}), 1)
    assert sorted(rows) == list(range(140))


def test_sources_are_shuffled_together(dataset):
    """No half of an epoch is without a source."""
    (rows,) = epochs(under(dataset, {"a": 0.5, "b": 0.5}), 1)
    for half in (rows[: len(rows) // 2], rows[len(rows) // 2 :]):
        found = tokens(dataset, half)
        assert 0.3 < found["a"] / sum(found.values()) < 0.7


def test_another_source_leaves_the_order_within_one_alone(dataset):
    """The rows of a that an epoch draws first do not depend on what else is mixed."""
    one, other = (
        Sampler(under(dataset, mix))._drawn("a", 0, 0) for mix in ({"a": 0.5, "b": 0.5}, {"a": 0.5, "c": 0.5})
    )
    shorter = min(len(one), len(other))
    assert one[:shorter].tolist() == other[:shorter].tolist()


def test_a_source_without_a_row_cannot_be_mixed(dataset):
    with pytest.raises(Failure) as caught:
        Sampler(under(dataset, {"a": 0.7, "elsewhere": 0.3}))
    (found,) = caught.value.diagnostics
    assert (found.code.id, found.message) == (
        "MCD653",
        "`mix` gives `elsewhere` 30% of the tokens, and it has no row here",
    )


# --- orders ----------------------------------------------------------------------------------------------------------


def test_rows_are_sorted_and_equal_ones_stay_shuffled(dataset):
    plain = epochs(under(dataset), 2)
    ordered = epochs(under(dataset, order=(LENGTH,)), 2)
    length = dataset.lengths()
    for before, after in zip(plain, ordered, strict=True):
        assert after == sorted(before, key=lambda row: length[row])  # stable
    assert ordered[0] != ordered[1]
    descending = epochs(under(dataset, order=(0.0, LENGTH, "-")), 1)[0]
    assert length[descending].tolist() == sorted(length.tolist(), reverse=True)


def test_a_field_orders_and_what_has_none_comes_last(dataset):
    values = values_of(dataset, (FieldTerm(field="rank"),))
    expected = [
        record["rank"]
        for name, n, seed in (("a", 100, 0), ("b", 30, 1), ("c", 10, 2))
        for record in records(name, n, seed)
    ]
    assert [None if np.isnan(value) else int(value) for value in values] == expected
    rows = epochs(dataset, 1)[0]
    ranks = [expected[row] for row in rows]
    assert ranks == sorted(ranks, key=lambda rank: 99 if rank is None else rank)
    assert ranks[-1] is None and ranks[0] == -1


def test_a_measure_orders_by_its_mean_over_the_tokens_that_have_it(dataset):
    """A row of n tokens with NaN and then 1, 2, .. has the mean n / 2; one of a single token has none."""
    shards = {shard.path: shard for shard in dataset.manifest.shards}
    with MeasureWriter(dataset.path, "hard", {"loss": "by hand"}) as writer:
        for chunk in dataset.chunks:
            offsets = chunk.tokens.offsets
            places = np.arange(len(chunk.tokens.used)) - np.repeat(offsets[:-1], np.diff(offsets))
            values = np.where(places == 0, np.nan, places).astype(np.float32)
            writer.write(shards[chunk.shard], chunk, {"loss": values})
    order = (MeasureTerm(file="hard", column="loss"), 100.0, "*", LENGTH, "-")
    length = dataset.lengths()
    expected = np.where(length > 1, 100 * length / 2 - length, np.nan)
    np.testing.assert_allclose(values_of(under(dataset, order=order), order), expected)


def test_an_order_sorts_what_the_mix_has_drawn(dataset):
    mixed = epochs(under(dataset, {"a": 0.5, "c": 0.5}), 1)[0]
    both = epochs(under(dataset, {"a": 0.5, "c": 0.5}, (LENGTH,)), 1)[0]
    length = dataset.lengths()
    assert both == sorted(mixed, key=lambda row: length[row])


# --- positions -------------------------------------------------------------------------------------------------------


def endless(sampler):
    return chain.from_iterable(repeat(sampler))


@pytest.mark.parametrize("mix", [None, {"a": 0.3, "c": 0.7}])
@pytest.mark.parametrize("order", [None, (LENGTH,)])
@pytest.mark.parametrize("done", [0, 1, 139, 140, 141, 400])
def test_a_saved_position_is_taken_up_exactly(dataset, mix, order, done):
    given = under(dataset, mix, order)
    whole = list(islice(endless(Sampler(given, 3)), done + 300))
    first = Sampler(given, 3)
    before = list(islice(endless(first), done))
    state = json.loads(json.dumps(first.state_dict()))
    again = Sampler(given)
    again.load_state_dict(state)
    assert before + list(islice(endless(again), 300)) == whole


def test_a_position_of_another_order_is_refused(dataset):
    state = Sampler(under(dataset, order=(LENGTH,))).state_dict()
    for other in (under(dataset), under(dataset, {"a": 1.0}), under(dataset, order=(0.0, LENGTH, "-"))):
        with pytest.raises(Failure, match="MCD730"):
            Sampler(other).load_state_dict(state)
    Sampler(under(dataset, order=(LENGTH,)), seed=9).load_state_dict(state)


def test_a_loader_of_torch_takes_it_epoch_by_epoch(dataset):
    given = under(dataset, {"a": 0.5, "b": 0.5}, (LENGTH,))
    sampler = Sampler(given)
    loader = DataLoader(given, batch_size=8, sampler=sampler, collate_fn=Collator(given.plan))
    names = [row.id for row in given.rows(range(140))]
    for expected in epochs(given, 2):
        assert len(loader) == -(-len(expected) // 8)
        assert [name for batch in loader for name in batch.ids] == [names[row] for row in expected]
