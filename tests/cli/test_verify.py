"""`mcd verify`: what it prints and how it exits."""

import json
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner, Result

from mcd.cli import main, verify

from ..projects import compiled, project

ROOT = Path(__file__).parents[2]
SPEC = """source s = jsonl("data.jsonl") { id = .id  text = "{.text}" }
span cat = phrases("cat")
weigh more: cat { factor = 2 }
"""
SHARD = "shards/train/00000.arrow"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main.mcd, ["verify", *arguments], env={"MCD_DEBUG": None})


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    compiled(project(tmp_path, SPEC, [{"id": "a", "text": "the cat ran"}]), tmp_path / "out")
    return tmp_path / "out"


def test_a_sound_dataset_is_one_line(out):
    result = run("out")
    assert result.exit_code == 0
    assert result.output.startswith("out: 4 files, ") and result.output.endswith("/s): nothing is wrong\n")
    assert run("out", "-q").output == ""
    assert run("out", "--quick").output.endswith("by their sizes alone: nothing is wrong\n")


def test_a_damaged_one_says_so_and_exits_with_1(out):
    (out / SHARD).write_bytes(b"x")
    (out / "stray").touch()
    result = run("out", "-q")
    assert result.exit_code == 1
    assert result.output.startswith(
        f"error[MCD603]: `{SHARD}` has 1 bytes; {len_of(out)} were written\n --> {SHARD}\n"
        "help: copy it again, or rebuild it: `mcd repair SPEC -o DIR`\n"
    )
    assert "1 error, 1 warning in 2 files" in result.output


def len_of(out: Path) -> int:
    return int(json.loads((out / "manifest.json").read_text())["shards"][0]["bytes"])


def test_warnings_alone_exit_with_0(out):
    (out / "stray").touch()
    result = run("out", "--format", "concise")
    assert (result.exit_code, result.output) == (
        0,
        "stray: warning[MCD660]: `stray` is no file of the dataset\n1 warning in 1 file\n",
    )


def test_json_follows_the_schema_and_names_what_is_damaged(out):
    (out / SHARD).unlink()
    result = run("out", "--format", "json")
    found = json.loads(result.output)
    jsonschema.validate(found, json.loads((ROOT / "docs/schema/check.json").read_text()))
    assert (result.exit_code, found["files"], found["dataset"]["damaged"]) == (1, ["out"], [SHARD])
    assert found["diagnostics"][0]["code"] == "MCD602"


def test_what_is_no_dataset(out):
    assert run("nowhere").exit_code == 1 and "MCD601" in run("nowhere").output
    assert run("out", "--quack").exit_code == 2


@pytest.mark.parametrize(
    ("count", "written"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (12_345_678, "12.3 MB"), (5e15, "5,000.0 TB")],
)
def test_sizes(count, written):
    assert verify._size(count) == written
