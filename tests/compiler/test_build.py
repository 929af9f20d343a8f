"""The tasks of a dataset: who runs them never shows, what is done is not done again, and only one builds at a time."""

import errno
import fcntl
import json
import os
import signal
from dataclasses import replace
from multiprocessing import active_children
from pathlib import Path

import pytest

from mcd.compiler.build.engines import Pool
from mcd.compiler.build.worker import Request, Worker
from mcd.compiler.compile import compile_program
from mcd.compiler.execute import Executor
from mcd.compiler.files import disk
from mcd.compiler.part import compile_part, finish_parts
from mcd.dsl.diagnostics import Failure

from ..projects import WORDS, checked, content, project

FILES = 12
SPEC = """source s = jsonl("data/*.jsonl") { id = .id  text = "{.text}"  split = hash(train: 80%, valid: 20%) }
span cat = phrases("cat", "dog")
span all = tokens
attend back: cat -> cat where key before query { layers = 2  heads = any }
signal near: cat { layers = 2  classify = .label  classes = 3 }
weigh half: cat { factor = 0.5 }
"""


def write(folder: Path, number: int, records: int = 30) -> None:
    """A file of the source, of content that its number decides."""
    lines = []
    for record in range(records):
        words = [WORDS[(number * 7 + record * place) % 16] for place in range(1, 13)]
        lines.append(json.dumps({"id": f"{number}-{record}", "text": " ".join(words), "label": record % 3}) + "\n")
    (folder / "data" / f"{number:02}.jsonl").write_text("".join(lines), encoding="utf-8")


@pytest.fixture
def spec(tmp_path):
    (tmp_path / "data").mkdir()
    for number in range(FILES):
        write(tmp_path, number)
    return project(tmp_path, SPEC)


@pytest.fixture
def runs(monkeypatch):
    """The numbers of the tasks that run in this process."""
    found = []
    run = Executor.run

    def counting(self, task, number, work):
        found.append(number)
        return run(self, task, number, work)

    monkeypatch.setattr(Executor, "run", counting)
    return found


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if "out" in path.name)


def ids(caught) -> list[str]:
    return [found.code.id for found in caught.value.diagnostics]


def silent(progress) -> None:
    pass


# --- the same bytes --------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("workers", [2, 3, 8])
def test_a_pool_writes_what_one_process_writes(spec, tmp_path, workers):
    compile_program(checked(spec), tmp_path / "one")
    compiled = compile_program(checked(spec), tmp_path / "out", engine=Pool(workers))
    assert compiled.ran == FILES and content(tmp_path / "out") == content(tmp_path / "one")


@pytest.mark.parametrize("shares", [1, 3, 20])
def test_shares_of_the_tasks_make_the_same_dataset_in_any_order(spec, tmp_path, shares):
    compile_program(checked(spec), tmp_path / "one")
    done = [
        compile_part(checked(spec), tmp_path / "out", part, shares, Pool(1), silent) for part in reversed(range(shares))
    ]
    assert sum(part.ran for part in done) == sum(part.own for part in done) == FILES
    assert names(tmp_path) == [".out.build"]
    compiled = finish_parts(checked(spec), tmp_path / "out", silent)
    assert (compiled.ran, compiled.resumed) == (0, FILES)
    assert content(tmp_path / "out") == content(tmp_path / "one")
    assert names(tmp_path) == ["out"]


def test_tasks_that_no_share_did_are_named(spec, tmp_path):
    for part in (0, 2):
        compile_part(checked(spec), tmp_path / "out", part, 3, Pool(1), silent)
    with pytest.raises(Failure) as caught:
        finish_parts(checked(spec), tmp_path / "out", silent)
    (found,) = caught.value.diagnostics
    assert (found.code.id, found.message) == ("MCD619", "4 tasks are not done: 1, 4, 7, 10")
    compile_part(checked(spec), tmp_path / "out", 1, 3, Pool(1), silent)
    assert finish_parts(checked(spec), tmp_path / "out", silent).resumed == FILES


def test_a_share_lists_the_sources_once_and_again_when_they_look_otherwise(spec, tmp_path, monkeypatch):
    counted = []
    stock = compile_part.__globals__["take_stock"]
    monkeypatch.setattr("mcd.compiler.part.take_stock", lambda program: counted.append(1) or stock(program))
    for part in range(3):
        compile_part(checked(spec), tmp_path / "out", part, 3, Pool(1), silent)
    assert len(counted) == 1
    write(tmp_path, 3, records=31)
    done = [compile_part(checked(spec), tmp_path / "out", part, 3, Pool(1), silent).ran for part in range(3)]
    assert len(counted) == 2 and done == [1, 0, 0]
    finish_parts(checked(spec), tmp_path / "out", silent)
    compile_program(checked(spec), tmp_path / "one")
    assert content(tmp_path / "out") == content(tmp_path / "one")


# --- what is done stays done -----------------------------------------------------------------------------------------


def test_a_stopped_build_goes_on_where_it_was(spec, tmp_path, runs, monkeypatch):
    compile_program(checked(spec), tmp_path / "one")
    runs.clear()

    def stop(progress):
        if progress.done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compile_program(checked(spec), tmp_path / "out", stop)
    assert runs == [0, 1, 2, 3, 4] and names(tmp_path) == [".out.build"]
    compiled = compile_program(checked(spec), tmp_path / "out")
    assert runs == list(range(FILES)) and (compiled.ran, compiled.resumed) == (7, 5)
    assert content(tmp_path / "out") == content(tmp_path / "one") and names(tmp_path) == ["out"]


@pytest.mark.parametrize("step", ["before write program.json", "before rename out"])
def test_a_build_that_is_stopped_at_its_end_has_nothing_to_run(spec, tmp_path, runs, monkeypatch, step):
    def stop(at, path):
        if f"{at} {path.name}" == step:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(disk, "reached", stop)
        compile_program(checked(spec), tmp_path / "out")
    assert names(tmp_path) == [".out.build"] and not (tmp_path / ".out.build" / "tasks").exists()
    runs.clear()
    assert compile_program(checked(spec), tmp_path / "out").resumed == FILES and runs == []
    compile_program(checked(spec), tmp_path / "one")
    assert content(tmp_path / "out") == content(tmp_path / "one") and names(tmp_path) == ["out"]


def test_a_refusal_names_the_file_and_says_what_to_do(spec, tmp_path, monkeypatch):
    def full(at, path):
        if f"{at} {path.name}" == "before sync 00003.arrow":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(disk, "reached", full)
    with pytest.raises(Failure) as caught:
        compile_program(checked(spec), tmp_path / "out")
    (found,) = caught.value.diagnostics
    assert (found.code.id, found.place.path) == ("MCD613", str(tmp_path / "out"))
    assert found.message.startswith("`out` cannot be written: No space left on device: `.out.build/shards/")
    assert found.message.endswith("/00003.arrow`")
    assert found.help == "make room on the disk; then compile again, which goes on from the tasks that are done"


def test_a_record_that_is_wrong_costs_only_its_own_task(spec, tmp_path, runs):
    path = tmp_path / "data" / "07.jsonl"
    right = path.read_text("utf-8")
    path.write_text(right.replace('"label": 1', '"label": ', 1), encoding="utf-8")
    with pytest.raises(Failure):
        compile_program(checked(spec), tmp_path / "out")
    path.write_text(right, encoding="utf-8")
    assert compile_program(checked(spec), tmp_path / "out").resumed == 7
    assert runs == [*range(8), *range(7, 12)]


def test_nothing_is_left_where_no_task_was_done(spec, tmp_path):
    (tmp_path / "data" / "00.jsonl").write_text("{\n")
    with pytest.raises(Failure):
        compile_program(checked(spec), tmp_path / "out")
    assert names(tmp_path) == []


@pytest.mark.parametrize("damage", ["shard", "note", "shard gone"])
def test_a_task_whose_shard_or_note_was_damaged_is_run_again(spec, tmp_path, runs, damage):
    compile_program(checked(spec), tmp_path / "one")
    for part in range(2):
        compile_part(checked(spec), tmp_path / "out", part, 2, Pool(1), silent)
    stage = tmp_path / ".out.build"
    path = stage / ("tasks/00004.json" if damage == "note" else "shards/train/00004.arrow")
    if damage == "shard gone":
        path.unlink()
    else:
        bytes_ = bytearray(path.read_bytes())
        bytes_[len(bytes_) // 2 if damage == "shard" else 3] ^= 4
        path.write_bytes(bytes_)
    runs.clear()
    compile_program(checked(spec), tmp_path / "out")
    assert runs == [4] and content(tmp_path / "out") == content(tmp_path / "one")


def test_strange_files_of_an_unfinished_build_do_not_get_into_the_dataset(spec, tmp_path):
    stage = tmp_path / ".out.build"
    for name in (
        "shards/train/00099.arrow",
        "shards/.00001.arrow.ab12.part",
        "tasks/00099.json",
        "manifest.json",
        "x/y",
    ):
        (stage / name).parent.mkdir(parents=True, exist_ok=True)
        (stage / name).write_text("{}")
    compile_program(checked(spec), tmp_path / "out")
    compile_program(checked(spec), tmp_path / "one")
    assert content(tmp_path / "out") == content(tmp_path / "one")


# --- a rebuild costs what changed ------------------------------------------------------------------------------------


def test_another_file_costs_its_own_task_wherever_it_stands(spec, tmp_path, runs):
    compile_program(checked(spec), tmp_path / "out")
    write(tmp_path, 5)
    (tmp_path / "data" / "05.jsonl").rename(tmp_path / "data" / "04b.jsonl")
    write(tmp_path, 5)
    text = (tmp_path / "data" / "04b.jsonl").read_text("utf-8").replace('"5-', '"5b-')
    (tmp_path / "data" / "04b.jsonl").write_text(text, encoding="utf-8")
    runs.clear()
    compiled = compile_program(checked(spec), tmp_path / "out")
    assert runs == [5] and (compiled.ran, compiled.kept, compiled.reused) == (1, FILES, False)
    compile_program(checked(spec), tmp_path / "one")
    assert content(tmp_path / "out") == content(tmp_path / "one")


def test_a_file_under_another_name_keeps_its_shards(spec, tmp_path, runs):
    compile_program(checked(spec), tmp_path / "out")
    (tmp_path / "data" / "02.jsonl").rename(tmp_path / "data" / "99.jsonl")
    runs.clear()
    compiled = compile_program(checked(spec), tmp_path / "out")
    assert runs == [] and compiled.reused
    compile_program(checked(spec), tmp_path / "one")
    assert content(tmp_path / "out") == content(tmp_path / "one")


def test_ids_that_count_over_the_files_are_part_of_what_a_shard_follows_from(tmp_path, runs):
    (tmp_path / "data").mkdir()
    for number in range(3):
        write(tmp_path, number)
    spec = project(tmp_path, SPEC.replace("id = .id  ", "").replace("  split = hash(train: 80%, valid: 20%)", ""))
    compile_program(checked(spec), tmp_path / "out")
    write(tmp_path, 0, records=31)
    runs.clear()
    compile_program(checked(spec), tmp_path / "out")
    assert runs == [0, 1, 2]  # every later record has another number
    compile_program(checked(spec), tmp_path / "one")
    assert content(tmp_path / "out") == content(tmp_path / "one")


# --- one at a time ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("theirs", [fcntl.LOCK_EX, fcntl.LOCK_SH])
def test_a_second_build_of_one_directory_is_refused(spec, tmp_path, theirs):
    stage = tmp_path / ".out.build"
    stage.mkdir()
    (stage / "half").write_text("x")
    handle = os.open(stage, os.O_RDONLY)
    fcntl.flock(handle, theirs)
    with pytest.raises(Failure) as caught:
        compile_program(checked(spec), tmp_path / "out")
    assert ids(caught) == ["MCD616"] and (stage / "half").exists() and names(tmp_path) == [".out.build"]
    os.close(handle)
    compile_program(checked(spec), tmp_path / "out")
    assert names(tmp_path) == ["out"]


def test_shares_build_side_by_side_and_keep_a_whole_build_out(spec, tmp_path):
    stage = tmp_path / ".out.build"
    stage.mkdir()
    handle = os.open(stage, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_SH)
    compile_part(checked(spec), tmp_path / "out", 0, 2, Pool(1), silent)
    with pytest.raises(Failure) as caught:
        finish_parts(checked(spec), tmp_path / "out", silent)
    assert ids(caught) == ["MCD616"]
    os.close(handle)


def test_without_a_step_that_swaps_names_the_old_dataset_is_put_aside(spec, tmp_path, monkeypatch):
    compile_program(checked(spec), tmp_path / "out")
    monkeypatch.setattr(disk, "exchange", lambda one, other: False)
    write(tmp_path, 3, records=31)
    compile_program(checked(spec), tmp_path / "out")
    compile_program(checked(spec), tmp_path / "one")
    assert content(tmp_path / "out") == content(tmp_path / "one") and names(tmp_path) == ["out"]


# --- processes -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_of_several_tasks_that_fail_the_first_is_told(spec, tmp_path):
    for number in (3, 4, 9):
        (tmp_path / "data" / f"{number:02}.jsonl").write_text(f'{{"id": {number}\n', encoding="utf-8")
    with pytest.raises(Failure) as caught:
        compile_program(checked(spec), tmp_path / "out", engine=Pool(2))
    (found,) = caught.value.diagnostics
    assert (found.code.id, found.place.path, found.place.line) == ("MCD504", "data/03.jsonl", 1)


@pytest.mark.slow
def test_a_killed_process_is_told_and_what_was_done_is_kept(spec, tmp_path):
    def kill(progress):
        if progress.done == 3:
            os.kill(active_children()[0].pid, signal.SIGKILL)

    with pytest.raises(Failure) as caught:
        compile_program(checked(spec), tmp_path / "out", kill, engine=Pool(2))
    assert ids(caught) == ["MCD617"]
    compiled = compile_program(checked(spec), tmp_path / "out", engine=Pool(2))
    assert compiled.resumed >= 3 and compiled.resumed + compiled.ran == FILES
    compile_program(checked(spec), tmp_path / "one")
    assert content(tmp_path / "out") == content(tmp_path / "one")


def test_processes_that_cannot_be_started_are_told(spec, tmp_path, monkeypatch):
    def refused(*given):
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr("mcd.compiler.build.engines.ProcessPoolExecutor.submit", refused)
    with pytest.raises(Failure) as caught:
        compile_program(checked(spec), tmp_path / "out", engine=Pool(2))
    (found,) = caught.value.diagnostics
    assert found.code.id == "MCD617"
    assert found.message == "processes that run tasks cannot be started: Resource temporarily unavailable"


def test_a_spec_that_changed_since_is_noticed(spec, tmp_path):
    request = Request(spec, None, (), "0" * 32, tmp_path / ".out.build", tmp_path / "out")
    with pytest.raises(Failure) as caught:
        Worker.of_request(request)
    assert ids(caught) == ["MCD618"]
    spec.write_text(spec.read_text("utf-8") + "span\n", encoding="utf-8")
    with pytest.raises(Failure) as caught:
        Worker.of_request(replace(request, settings=()))
    assert ids(caught) == ["MCD101"]
