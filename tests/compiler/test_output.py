"""The output directory appears complete or not at all, and what was there stays whole on any failure."""

import os

import numpy as np
import pytest

from mcd.compiler.files.output import building, finish
from mcd.compiler.manifest import Manifest, ShardEntry, read_manifest
from mcd.compiler.plan import Contract, Plan, Tokenizer
from mcd.dsl.diagnostics import Failure


def plan(spec="a.mcd") -> Plan:
    contract = Contract(architecture=None, layers=1, heads=1, hidden=2, vocab=9, causal=True, context=8)
    return Plan(
        version="0",
        edition=1,
        spec=spec,
        model=contract,
        tokenizer=Tokenizer(digest="0"),
        columns=(),
        sets={},
        anchors={},
        rules=(),
        stages=(),
    )


def manifest(*shards: ShardEntry) -> Manifest:
    return Manifest(
        version="0",
        shards_key="k",
        inputs=(),
        records={},
        tokens={},
        dropped={},
        sets={},
        labels={},
        rules={},
        files=(),
        shards=shards,
    )


def write(target, text="one", spec="a.mcd"):
    with building(target) as work:
        (work / "shards").mkdir()
        (work / "shards" / "0.arrow").write_text(text)
        entry = ShardEntry(path="shards/0.arrow", bytes=3, sha256="0", split="train", records=1, tokens=1)
        return finish(work, plan(spec), {"axis": np.ones(2, np.float32)}, manifest(entry))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_directory_appears_whole_with_its_files_listed(tmp_path):
    found = write(tmp_path / "deep" / "out")
    assert names(tmp_path / "deep") == ["out"]
    assert names(tmp_path / "deep" / "out") == ["anchors.safetensors", "manifest.json", "program.json", "shards"]
    assert [entry.path for entry in found.files] == ["program.json", "anchors.safetensors"]
    assert read_manifest(tmp_path / "deep" / "out") == found
    assert (tmp_path / "deep" / "out").stat().st_mode & 0o077 == 0o077 & ~umask()


def umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_second_run_replaces_the_first(tmp_path):
    write(tmp_path / "out")
    write(tmp_path / "out", "two")
    assert (tmp_path / "out" / "shards" / "0.arrow").read_text() == "two"
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, OSError])
def test_any_exception_leaves_the_old_directory_whole(tmp_path, error):
    write(tmp_path / "out")
    with pytest.raises(error), building(tmp_path / "out") as work:
        (work / "half").write_text("x")
        raise error
    assert names(tmp_path) == ["out"]
    assert (tmp_path / "out" / "shards" / "0.arrow").read_text() == "one"


def test_a_directory_without_a_manifest_does_not_appear(tmp_path):
    with pytest.raises(ValueError, match="manifest"), building(tmp_path / "out") as work:
        (work / "half").write_text("x")
    assert names(tmp_path) == []


@pytest.mark.parametrize("kind", ["directory", "file"])
def test_what_no_compilation_wrote_is_refused(tmp_path, kind):
    target = tmp_path / "out"
    if kind == "file":
        target.write_text("thesis")
    else:
        target.mkdir()
        (target / "thesis.txt").write_text("thesis")
    with pytest.raises(Failure) as caught:
        write(target)
    (found,) = caught.value.diagnostics
    assert (found.code.id, found.place.path) == ("MCD612", str(target))
    assert names(tmp_path) == ["out"]


def test_an_empty_directory_is_taken(tmp_path):
    (tmp_path / "out").mkdir()
    write(tmp_path / "out")
    assert names(tmp_path) == ["out"]


def test_a_link_keeps_pointing_at_what_is_replaced(tmp_path):
    write(tmp_path / "real")
    (tmp_path / "out").symlink_to(tmp_path / "real")
    write(tmp_path / "out", "two")
    assert (tmp_path / "out").is_symlink()
    assert (tmp_path / "real" / "shards" / "0.arrow").read_text() == "two"


def test_where_the_file_system_refuses_it_says_so(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(Failure) as caught:
        write(tmp_path / "file" / "out")
    (found,) = caught.value.diagnostics
    assert (found.code.id, found.place.path) == ("MCD613", str(tmp_path / "file" / "out"))


def test_what_a_stopped_process_left_is_cleared_and_the_old_directory_put_back(tmp_path):
    write(tmp_path / "out")
    (tmp_path / "out").rename(tmp_path / ".out.old-1")
    (tmp_path / ".out.new-1").mkdir()
    with pytest.raises(RuntimeError), building(tmp_path / "out"):
        assert (tmp_path / "out" / "shards" / "0.arrow").read_text() == "one"
        assert not (tmp_path / ".out.new-1").exists()
        raise RuntimeError
    assert names(tmp_path) == ["out"]


def test_what_a_running_process_writes_is_left_alone(tmp_path):
    with building(tmp_path / "out") as first:
        (first / "half").write_text("x")
        write(tmp_path / "out", "two")
        assert (first / "half").exists()
        finish(first, plan(), {}, manifest())
    assert names(tmp_path / "out") == ["half", "manifest.json", "program.json"]
