"""What a loader hands out: every row once, the same whoever asks, and from any saved position the same again."""

from __future__ import annotations

import json
import pickle
import shutil
from collections import Counter
from itertools import chain, islice, pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

import mcd
from mcd.compiler.files.opening import Opener
from mcd.dsl.codes.runtime import NO_ROWS
from mcd.dsl.diagnostics import Failure
from mcd.runtime.dataset import load
from mcd.runtime.loader.fetch import Maker, Wanted

from ...projects import compiled
from .orders import LENGTH, SETTINGS, ahead, make, names, stored, under, write


def code(call, *args, **options):
    with pytest.raises(Failure) as caught:
        call(*args, **options)
    (found,) = caught.value.diagnostics
    return found.code.id


# --- epochs


@pytest.mark.parametrize("case", SETTINGS)
def test_an_epoch_is_what_the_curriculum_says_in_an_order_of_its_own(dataset, case):
    """Without a mix every row once; with one, what `Sampler` draws."""
    chosen = SETTINGS[case]
    loader = make(dataset, seed=5, **chosen)
    count = len(loader)
    batches = list(loader)
    assert len(batches) == count and loader.epoch == 1
    sampler = mcd.Sampler(under(dataset, chosen.get("mix")), seed=5)
    rows = dataset.rows(sampler.epoch(0))
    assert Counter(names(batches)) == Counter(row.id for row in rows)
    if case != "as stored":
        assert names(loader) != names(batches)
        assert names(make(dataset, seed=6, **chosen)) != names(batches)
    assert names(make(dataset, seed=5, **chosen)) == names(batches)


def test_as_stored_is_the_order_of_the_shards(dataset):
    assert names(make(dataset, shuffle=False)) == [row.id for row in dataset]


def test_by_shards_few_shards_are_met_at_a_time(dataset):
    """One at a time: the sources, each in a shard of its own, come one after another; rows within them are shuffled."""
    found = names(make(dataset, shuffle="shards", together=1))
    sources = [name[0] for name in found]
    assert sum(one != other for one, other in pairwise(sources)) == 2
    assert [name for name in found if name[0] == "a"] != [f"a{n}" for n in range(100)]


def test_buckets_bring_together_what_is_of_one_length(dataset):
    """All 140 rows in one bucket: batches are what is left of sorting and cutting them, and are shuffled."""
    spread = [batch.attention_mask.sum(1).tolist() for batch in make(dataset, buckets=140)]
    ranked = sorted(dataset.lengths().tolist())
    runs = [ranked[at : at + 4] for at in range(0, 140, 4)]
    assert sorted(sorted(lengths) for lengths in spread) == sorted(runs)
    assert [min(lengths) for lengths in spread] != sorted(min(lengths) for lengths in spread)


def test_an_order_holds_over_windows_that_are_packed(dataset):
    loader = make(dataset, order=(LENGTH,), packed=24, window=37)
    lengths = {row.id: len(row.input_ids) for row in dataset}
    found = [lengths[name] for name in names(loader)]
    for window in range(3):
        assert max(found[window * 37 : window * 37 + 37]) <= min(found[window * 37 + 37 :])


def test_packed_rows_are_of_one_width_and_hold_their_records(dataset):
    texts = {row.id: row.input_ids.tolist() for row in dataset}
    for batch in make(dataset, packed=24, window=37):
        assert batch.input_ids.shape[1] == 24 and len(batch.input_ids) <= 4
        for place, name in enumerate(batch.ids):
            assert batch.input_ids[batch.document == place].tolist() == texts[name]


def test_drop_last_leaves_out_the_step_that_is_not_whole(dataset):
    assert [len(make(dataset, 32, drop_last=drop)) for drop in (False, True)] == [5, 4]
    batches = list(make(dataset, 32, drop_last=True))
    assert [len(batch.ids) for batch in batches] == [32] * 4
    assert names(batches) == names(make(dataset, 32))[:128]


# --- ranks


@pytest.mark.parametrize("ranks", [1, 2, 3, 8, 16, 150])
def test_ranks_share_an_epoch_in_as_many_batches(dataset, ranks):
    """A rank that gets no row has a batch of no record; those of a step differ by one row at most."""
    every = [list(make(dataset, rank=rank, ranks=ranks)) for rank in range(ranks)]
    assert {len(batches) for batches in every} == {len(make(dataset, rank=0, ranks=ranks))}
    assert sorted(names(chain.from_iterable(every))) == sorted(row.id for row in dataset)
    for step in zip(*every, strict=True):
        counts = [len(batch.ids) for batch in step]
        assert max(counts) - min(counts) <= 1 and max(counts) <= 4


@pytest.mark.parametrize("case", SETTINGS)
def test_world_sizes_change_in_mid_epoch(dataset, case):
    """8 ranks, then 3, 16 and 1: what the epoch holds, each row as often as it holds it."""
    chosen = SETTINGS[case]
    whole = Counter(names(make(dataset, 1, **chosen)))
    seen, state = Counter(), None
    for ranks, steps in ((8, 2), (3, 3), (16, 1), (1, None)):
        states = []
        for rank in range(ranks):
            loader = make(dataset, 1, rank=rank, ranks=ranks, workers=0, **chosen)
            if state is not None:
                loader.load_state_dict(state)
            seen.update(names(islice(loader, steps)))
            states.append(stored(loader))
        assert states.count(states[0]) == ranks
        state = states[0]
    assert seen == whole and state["epoch"] == 1


def test_ranks_are_those_of_torch_distributed_or_given(dataset, monkeypatch):
    assert code(make, dataset, batch_size=0) == "MCD737"
    assert code(len, make(dataset, rank=0)) == "MCD737"
    assert code(len, make(dataset, rank=3, ranks=3)) == "MCD737"
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert code(iter, make(dataset)) == "MCD737"
    assert len(make(dataset, rank=0, ranks=1)) == 35


# --- positions


@pytest.mark.slow
@pytest.mark.parametrize("case", SETTINGS)
@settings(max_examples=40, deadline=None)
@given(stops=st.lists(st.integers(0, 45), min_size=1, max_size=3))
def test_stopped_anywhere_and_taken_up_again_it_is_the_same(compiled_once, case, stops):
    """One, two and three times in a row, within epochs and over their edges."""
    stopped_it_is_the_same(load(compiled_once, split="train", verify="size"), SETTINGS[case], stops)


@pytest.mark.parametrize("case", SETTINGS)
def test_stopped_three_times_it_is_the_same(dataset, case):
    """In the middle of an epoch of 18 batches, at its edge where units are rows, and in the second."""
    stopped_it_is_the_same(dataset, SETTINGS[case], (5, 13, 9))


def stopped_it_is_the_same(dataset, chosen, stops):
    whole = [batch.ids for batch in ahead(make(dataset, 8, seed=2, **chosen), sum(stops) + 9)]
    found, state = [], None
    for stop in (*stops, 9):
        loader = make(dataset, 8, seed=None if state else 2, **chosen)
        if state is not None:
            loader.load_state_dict(state)
        found += [batch.ids for batch in ahead(loader, stop)]
        state = stored(loader)
    assert found == whole


@pytest.mark.parametrize("case", ["plain", "packed"])
def test_at_the_edge_of_an_epoch_the_next_one_begins(dataset, case):
    """The last batch was handed out, and nobody asked for another: the state is one of the next epoch."""
    loader = make(dataset, **SETTINGS[case])
    count = len(loader)
    list(islice(loader, count))
    assert (loader.epoch, len(loader), stored(loader)["epoch"]) == (0, 0, 1)
    again = make(dataset, **SETTINGS[case])
    again.load_state_dict(stored(loader))
    assert again.epoch == 1
    assert names(again) == names(loader)
    assert again.epoch == loader.epoch == 2


def test_len_is_what_is_left(dataset):
    for chosen in SETTINGS.values():
        loader = make(dataset, **chosen)
        count = len(loader)
        for done, _ in enumerate(loader, 1):
            assert len(loader) == count - done


def test_the_batch_size_may_change_where_the_order_does_not_hang_on_it(dataset):
    loader = make(dataset, 8)
    before = names(islice(loader, 3))
    again = make(dataset, 5)
    again.load_state_dict(stored(loader))
    assert before + names(again) == names(make(dataset, 140))
    loader = make(dataset, 8, buckets=64)
    assert code(make(dataset, 4, buckets=64).load_state_dict, stored(loader)) == "MCD730"


def test_what_is_no_state_of_this_loader_is_refused(dataset):
    loader = make(dataset, seed=3)
    list(islice(loader, 3))
    state = stored(loader)
    for key in state:
        edited = {**state, key: 1 if state[key] != 1 else 2}
        assert code(make(dataset).load_state_dict, edited) in ("MCD733", "MCD734"), key
        del edited[key]
        assert code(make(dataset).load_state_dict, edited) == "MCD733", key
    for broken in (None, [], {}, {**state, "more": 1}, {**state, "format": True}):
        assert code(make(dataset).load_state_dict, broken) == "MCD733"
    assert code(make(dataset).load_state_dict, {**state, "format": 2}) == "MCD734"
    assert code(make(dataset, seed=4).load_state_dict, state) == "MCD736"
    for case in SETTINGS:
        if case != "plain":
            assert code(make(dataset, **SETTINGS[case]).load_state_dict, state) == "MCD730", case
    assert loader.state_dict() == state


def test_a_state_of_other_rows_is_refused(dataset, tmp_path):
    other = load(write(tmp_path), split="train")
    state = stored(make(other))
    make(dataset).load_state_dict(state)  # the same spec and texts: the same rows
    text = (tmp_path / "b.jsonl").read_text().replace('"b3"', '"b99"')
    (tmp_path / "b.jsonl").write_text(text)
    changed = load(recompiled(tmp_path), split="train")
    assert len(changed) == len(dataset)
    assert code(make(changed).load_state_dict, state) == "MCD735"


def recompiled(folder):
    compiled(folder / "spec.mcd", folder / "out2")
    return folder / "out2"


# --- how it is read


def test_one_iteration_at_a_time(dataset):
    loader = make(dataset)
    first = iter(loader)
    next(first)
    second = iter(loader)
    next(second)
    assert code(next, first) == "MCD738"
    loader.load_state_dict(loader.state_dict())
    assert code(next, second) == "MCD738"


def test_settings_that_contradict_each_other(dataset):
    mix, order = {"mix": {"a": 1.0}}, {"order": (LENGTH,)}
    wrong = [
        {"shuffle": "rows"}, {"buckets": 0}, {"packed": 0}, {"window": 0}, {"together": 0},
        {**mix, "shuffle": "shards"}, {**order, "shuffle": "shards"}, {**mix, "shuffle": False},
        {**order, "buckets": 64}, {"buckets": 64, "packed": 24}, {"packed": 3},
    ]  # fmt: skip
    for chosen in wrong:
        assert code(make, dataset, **chosen) == "MCD737", chosen
    assert code(list, make(dataset, 200, drop_last=True)) == "MCD737"


def test_a_loader_of_torch_reads_it_in_this_process_alone(dataset):
    loader = make(dataset, 8)
    found = names(DataLoader(loader, batch_size=None))
    assert found == names(make(dataset, 8))
    assert loader.epoch == 1


def test_drawing_batches_leaves_the_random_state_of_torch_alone(dataset):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    list(make(dataset, 32))
    assert torch.equal(before, torch.get_rng_state())


# --- with worker processes


@pytest.mark.slow
@pytest.mark.parametrize("case", ["plain", "buckets", "packed", "mix", "by shards"])
def test_any_number_of_workers_hands_out_the_same(dataset, case):
    """Stopped with 3 workers, taken up with 0, 1, 2: at every step, and over the edge of an epoch."""
    chosen = SETTINGS[case]
    whole = [batch.ids for batch in ahead(make(dataset, 8, seed=2, **chosen), 40)]
    found, state = [], None
    for workers, count in ((3, 5), (0, 1), (1, 14), (2, 20)):
        torch.manual_seed(0)
        before = torch.get_rng_state()
        loader = make(dataset, 8, seed=2, workers=workers, **chosen)
        if state is not None:
            loader.load_state_dict(state)
        found += [batch.ids for batch in ahead(loader, count)]
        state = stored(loader)
        assert torch.equal(before, torch.get_rng_state())
        loader.close()
    assert found == whole


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_stay_over_epochs_and_broken_off_iterations(dataset, method):
    loader = make(dataset, 8, workers=2, method=method)
    expected = make(dataset, 8)
    for count in (3, 4, 40, 2, 40):
        assert [b.ids for b in islice(loader, count)] == [b.ids for b in islice(expected, count)]
        assert stored(loader) == stored(expected)
    loader.close()


@pytest.mark.slow
def test_what_fails_in_a_worker_is_said_here(dataset):
    def collate(rows):
        raise Failure(NO_ROWS.at(None, "as a test has it"))

    loader = make(dataset, workers=1, method="fork", collate=collate)
    assert code(list, loader) == "MCD754"
    loader.close()


@pytest.mark.slow
def test_a_worker_of_torch_is_no_place_for_it(dataset):
    with pytest.raises(Exception, match="MCD738"):
        list(DataLoader(make(dataset), batch_size=None, num_workers=1))


# --- what it reads


def test_no_shard_is_opened_before_a_row_of_it_is_read(compiled_once, monkeypatch):
    """Three shards; by shards, one at a time, a batch opens one."""
    opened: list[str] = []
    read = Opener.open

    def watched(self, shard):
        opened.append(shard.path)
        return read(self, shard)

    monkeypatch.setattr(Opener, "open", watched)
    lazy = under(load(compiled_once, split="train", verify="size"))
    loader = mcd.Loader(lazy, 8, shuffle="shards", together=1)
    assert (len(lazy), len(loader), loader.state_dict()["done"]) == (140, 18, 0) and not opened
    next(iter(loader))
    assert len(opened) == 1
    lazy.lengths([0, 139])
    list(lazy)
    assert len(opened) == len(set(opened)) == 3
    load(compiled_once, split="train")
    assert len(opened) == 6  # with digests, all are read at once


def test_a_shard_that_has_other_record_batches_than_the_manifest_states(compiled_once, tmp_path):
    out = shutil.copytree(compiled_once, tmp_path / "out")
    manifest = json.loads((out / "manifest.json").read_text())
    manifest["shards"][0]["batches"] = [manifest["shards"][0]["batches"][0] + 1]
    (out / "manifest.json").write_text(json.dumps(manifest | {"checksum": None}))
    lazy = load(out, split="train", verify="size")
    assert len(lazy) == 141 and code(list, lazy) == "MCD664"
    del manifest["shards"][0]["batches"]  # as an older version wrote it
    (out / "manifest.json").write_text(json.dumps(manifest | {"checksum": None}))
    assert len(load(out, split="train", verify="size")) == 140


def test_what_a_worker_process_is_given_makes_the_same_batches(dataset):
    maker = Maker(under(dataset), mcd.Collator(dataset.plan, 3, multiple=5), 50)
    wanted = Wanted(0, [np.array([1, 7]), np.array([139])])
    before = maker.batch(wanted)  # what it keeps of record batches stays here
    after = pickle.loads(pickle.dumps(maker)).batch(wanted)
    assert after.ids == before.ids and torch.equal(after.input_ids, before.input_ids)


def test_a_collator_that_asks_for_the_epoch_is_told(dataset):
    seen = []
    plain = mcd.Collator(dataset.plan)

    def collate(rows, *, epoch):
        seen.append(epoch)
        return plain(rows)

    ahead(make(dataset, 70, collate=collate), 5)
    assert seen == [0, 0, 1, 1, 2]


def test_a_rank_without_packed_rows_has_a_padded_record_that_counts_for_nothing(dataset):
    every = [list(make(dataset, 1, packed=24, window=140, rank=rank, ranks=100)) for rank in range(100)]
    empty = [batch for batches in every for batch in batches if not batch.ids]
    assert empty and all(batch.document is None and len(batch.input_ids) == 1 for batch in empty)
    assert not any(batch.scored.any() for batch in empty)
