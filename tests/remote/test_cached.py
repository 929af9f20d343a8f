"""Datasets read at a URL: each shard is fetched once, is what was written, and goes when there is no room."""

from __future__ import annotations

import hashlib
import shutil
import threading
from itertools import islice

import numpy as np
import pytest

import mcd
from mcd.compiler.files.cached import Cached, origin
from mcd.compiler.plan import MeasureTerm
from mcd.dsl.diagnostics import Failure
from mcd.runtime.dataset import load
from mcd.runtime.measures import MeasureWriter

from ..runtime.loader.orders import names, stored, under, write
from .stores import proxied


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """Three shards."""
    return write(tmp_path_factory.mktemp("cached"))


@pytest.fixture
def served(out, bucket):
    bucket.put(out, "run/")
    return bucket


def remote(bucket, cache, endpoint=None, **given):
    options = {"endpoint_url": endpoint or bucket.endpoint}
    return load(f"{bucket.url}/run", cache=cache, options=options, split="train", **given)


def got(proxy, method="GET"):
    """The files that were asked for."""
    paths = [path.partition("/run/")[2].partition("?")[0] for verb, path in proxy.seen if verb == method]
    return sorted(path for path in paths if path.startswith("shards/"))


def kept(cache):
    return {path.name: path for path in (cache / "files").glob("*/*")}


def code(call, *args, **options):
    with pytest.raises(Failure) as caught:
        call(*args, **options)
    (found,) = caught.value.diagnostics
    return found.code.id


def test_rows_are_those_of_the_folder_and_each_shard_comes_once(out, served, tmp_path):
    local = load(out, split="train")
    with proxied(served) as proxy:
        dataset = remote(served, tmp_path, proxy.endpoint)
        loader = mcd.Loader(under(dataset), 8, shuffle="shards", together=1)
        assert (len(dataset), len(loader)) == (140, 18) and not got(proxy)  # nothing of a shard was read
        next(iter(loader))
        assert len(set(got(proxy))) == 1
        assert [row.input_ids.tolist() for row in dataset] == [row.input_ids.tolist() for row in local]
        assert np.array_equal(dataset.lengths(), local.lengths())
        once = got(proxy)
        assert len(once) == len(set(once)) == 3
        again = remote(served, tmp_path, proxy.endpoint)
        assert [row.id for row in again] == [row.id for row in local] and got(proxy) == once
    assert set(kept(tmp_path)) == {shard.sha256 for shard in dataset.shards}
    assert all(hashlib.sha256(path.read_bytes()).hexdigest() == name for name, path in kept(tmp_path).items())


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings", [{}, {"buckets": 32}, {"packed": 24, "window": 30}, {"shuffle": "shards", "together": 1}]
)
def test_a_state_goes_from_the_folder_to_the_url_and_back(out, served, tmp_path, settings):
    local, dataset = under(load(out, split="train")), under(remote(served, tmp_path))
    one, other = mcd.Loader(local, 8, **settings), mcd.Loader(dataset, 8, **settings)
    whole = names(mcd.Loader(local, 8, **settings))
    found = names(islice(one, 2))
    other.load_state_dict(stored(one))
    found += names(islice(other, 1))
    one.load_state_dict(stored(other))
    assert found + names(one) == whole


@pytest.mark.slow
def test_what_was_used_longest_ago_goes_and_what_is_open_stays(served, tmp_path):
    whole = remote(served, tmp_path / "a")
    sizes = sorted(shard.bytes for shard in whole.shards)
    limit = sizes[-1] + sizes[0]  # two shards of three
    dataset = remote(served, tmp_path / "b", cache_limit=limit)
    ids = [row.id for row in remote(served, tmp_path / "a")]
    for _ in range(2):
        for at in range(0, 140, 7):
            assert dataset[at].id == ids[at]
            assert sum(path.stat().st_size for path in kept(tmp_path / "b").values()) <= limit
    at = origin(f"{served.url}/run", {"endpoint_url": served.endpoint}.items(), tmp_path / "c", sizes[-1])
    first, second, third = (Cached(at) for _ in range(3))
    shards = sorted(whole.shards, key=lambda shard: shard.bytes)
    path = first.file(shards[0])
    second.file(shards[2])
    assert path.exists()  # too much, and open
    first.release(shards)
    third.file(shards[1])
    assert not path.exists()
    assert first.file(shards[0]).exists()


def test_a_shard_that_the_cache_has_no_room_for(served, tmp_path):
    dataset = remote(served, tmp_path, cache_limit=1000)
    assert code(dataset.lengths) == "MCD739"


def spoilt(content):
    return content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]


FAULTS = {"truncate": "MCD527", "missing": "MCD529", "refuse": "MCD528", "other": "MCD604", "short": "MCD604"}


@pytest.mark.parametrize("fault", [pytest.param(each, marks=[pytest.mark.slow] * (each != "other")) for each in FAULTS])
def test_what_goes_wrong_is_said_of_the_file_and_leaves_nothing(out, served, tmp_path, fault):
    dataset = remote(served, tmp_path / "cache")
    shard = dataset.shards[0]
    content = (out / shard.path).read_bytes()
    with proxied(served) as proxy:
        dataset = remote(served, tmp_path / "cache", proxy.endpoint)
        if fault in ("other", "short"):
            served.write(f"run/{shard.path}", spoilt(content) if fault == "other" else content[:-100])
        else:
            proxy.fault = lambda method, path, number: fault if shard.path in path and method == "GET" else None
        with pytest.raises(Failure, match=f"run/{shard.path}") as caught:
            dataset[0]
        assert [found.code.id for found in caught.value.diagnostics] == [FAULTS[fault]]
        assert not list((tmp_path / "cache/files").rglob("*.arrow*")) and not kept(tmp_path / "cache")
        proxy.fault = lambda method, path, number: None
        served.write(f"run/{shard.path}", content)
        assert dataset[0].id == load(out, split="train")[0].id


def test_a_kept_file_that_is_cut_is_fetched_again(out, served, tmp_path):
    next(iter(remote(served, tmp_path)))
    for path in kept(tmp_path).values():
        path.write_bytes(path.read_bytes()[:100])
    assert [row.id for row in remote(served, tmp_path)] == [row.id for row in load(out, split="train")]


@pytest.mark.slow
def test_many_at_once_fetch_a_file_once(served, tmp_path):
    with proxied(served) as proxy:
        every = [remote(served, tmp_path, proxy.endpoint) for _ in range(6)]
        found: list[int] = []
        threads = [threading.Thread(target=lambda each=each: found.append(int(each.lengths().sum()))) for each in every]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 6 and len(set(found)) == 1
        assert len(got(proxy)) == len(set(got(proxy))) == 3


@pytest.mark.slow
def test_measures_come_along(out, bucket, tmp_path):
    copy = shutil.copytree(out, tmp_path / "out")
    local = load(copy)
    shards = {shard.path: shard for shard in local.manifest.shards}
    with MeasureWriter(copy, "mine", {"loss": "as an example"}) as writer:
        for chunk in local.chunks:
            writer.write(shards[chunk.shard], chunk, {"loss": np.arange(len(chunk.tokens.used)).astype(np.float32)})
    bucket.put(copy, "run/")
    order = (MeasureTerm(file="mine", column="loss"),)
    expected = mcd.Sampler(under(load(copy, split="train"), order=order)).epoch(0)
    assert mcd.Sampler(under(remote(bucket, tmp_path / "cache"), order=order)).epoch(0).tolist() == expected.tolist()
    missing = (MeasureTerm(file="other", column="loss"),)
    assert code(mcd.Sampler, under(remote(bucket, tmp_path / "cache"), order=missing)) == "MCD650"


def test_what_cannot_be_read_is_refused(out, served, tmp_path):
    assert code(load, out, cache=tmp_path) == "MCD739"
    assert code(load, f"{served.url}/run", cache=tmp_path, cache_limit=0) == "MCD739"
    assert code(load, "ftp://x/run") == "MCD282"
    assert code(load, "s3://user:hunter2@b/x") == "MCD281"
    assert code(load, f"{served.url}/run", options={"secret_key": "hunter2"}) == "MCD281"
    assert code(load, f"{served.url}/run", options={"colour": "red"}) == "MCD280"
    at = {"endpoint_url": served.endpoint}
    assert code(load, f"{served.url}/elsewhere", options=at, cache=tmp_path) == "MCD601"
    assert code(load, f"{served.url}/run", options=at, cache=tmp_path, split="trian") == "MCD611"
    (tmp_path / "file").touch()
    assert code(load, f"{served.url}/run", options=at, cache=tmp_path / "file") == "MCD739"


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_fetch_for_themselves(out, served, tmp_path, method):
    """Also after this process has fetched, so that its connections are there when it forks."""
    expected = names(mcd.Loader(under(load(out, split="train")), 8))
    dataset = remote(served, tmp_path)
    assert dataset[0].id
    loader = mcd.Loader(under(dataset), 8, workers=2, method=method)
    assert names(loader) == expected
    loader.close()
