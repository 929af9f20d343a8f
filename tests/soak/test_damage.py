"""The soak of damaged and of hostile files in short: the commands `tests.soak.damage` and `tests.soak.hostile` do more."""

from __future__ import annotations

import mmap
import shutil
from collections import Counter

import numpy as np
import pytest

from mcd.compiler.audit.dataset import verify_dataset
from mcd.compiler.files.shard_reader import open_shard
from mcd.compiler.manifest import read_manifest
from mcd.dsl.diagnostics import Failure
from mcd.runtime.dataset import load

from . import damage, hostile
from .everything import write_everything
from .forged import BOMBS


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return write_everything(tmp_path_factory.mktemp("everything"))


@pytest.fixture
def out(good, tmp_path):
    shutil.copytree(good, tmp_path / "out")
    return tmp_path / "out"


def test_a_dataset_as_it_was_written_is_served_and_nothing_is_wrong_with_it(good):
    assert damage.served(good)
    audit = verify_dataset(good)
    assert (audit.findings, audit.damaged, audit.notes) == ((), (), ())
    assert audit.files == len(damage.files(good)) == 10
    assert audit.bytes == sum(path.stat().st_size for path in damage.files(good))


def test_every_flipped_bit_and_every_cut_is_found_before_a_row_is_served(out):
    found = list(damage.damages(out, range(60)))
    assert not [one for one in found if one[2]]
    touched = Counter(path.relative_to(out).parts[0] for _, path, _ in found)
    assert len(found) == 120 and len(touched) == 7  # shards, teachers, measures, anchors, plan, tasks, manifest


def test_a_cut_at_any_boundary_of_a_record_batch_is_found(out):
    found = list(damage.cuts_at_batches(out))
    assert len(found) > 20
    assert not [one for one in found if one[2]]


def test_a_file_that_ends_early_is_no_shard_whatever_the_manifest_says(out):
    (shard, *_), wanted = read_manifest(out).shards, load(out)[0].chunk.wanted
    path = out / shard.path
    data, random = path.read_bytes(), np.random.default_rng(0)
    for keep in [*damage.boundaries(path), *random.integers(len(data), size=60).tolist()]:
        path.write_bytes(data[:keep])
        with pytest.raises(Failure) as caught:
            open_shard(path, shard.path, wanted)
        assert caught.value.diagnostics[0].code.id == "MCD605"


@pytest.mark.timeout(900)
def test_hostile_files_end_in_a_failure_or_in_rows(good):
    found, wrong = hostile.run(good, 0, 100)
    assert not wrong, "\n".join(wrong)
    ends = Counter(one["end"] for one in found)
    assert len(found) == 100 and ends["valid"] > 3 and {"MCD605", "MCD607", "MCD608"} <= set(ends)


@pytest.mark.slow
def test_files_that_declare_more_than_they_hold(good):
    found, wrong = hostile.run(good, -len(BOMBS), len(BOMBS))
    assert not wrong, "\n".join(wrong)
    assert len(found) == len(BOMBS) and all(one["end"] != "valid" for one in found)


def test_the_soak_sees_memory_that_is_taken():
    """A mapping of its own: what other tests freed may still be resident, and be given out again."""
    before = hostile.forget()
    with mmap.mmap(-1, 64 << 20) as taken:
        taken.write(b"x" * len(taken))
    assert hostile.peak() - before >= 60 << 20
