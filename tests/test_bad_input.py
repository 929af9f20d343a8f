"""Every kind of bad input that a user brings: its code, the line it points at, and that nothing is lost by it.

The commands run as a user runs them, in process. Each case is a small project with one thing wrong in it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import save_file

from mcd.cli.main import mcd
from mcd.dsl.diagnostics import Failure
from mcd.runtime.dataset import load

from .projects import compiled, project

SOURCE = 'source s = jsonl("data.jsonl") { id = .id  text = "{.text}" }\n'
CAT = 'span cat = phrases("cat")\n'
GOOD = SOURCE + CAT + "signal near: cat { layers = 2  classify = .label  classes = 2 }\n"
RECORDS = [{"id": str(i), "text": "the cat saw a dog", "label": i % 2} for i in range(4)]


def run(*arguments: str | Path) -> tuple[int, str]:
    """Exit code and everything printed."""
    result = CliRunner().invoke(mcd, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return result.exit_code, result.output


SPEC_CASES = [
    pytest.param(
        SOURCE.replace("data.jsonl", "dat.jsonl") + CAT, '"dat.jsonl"', "MCD219", id="a file that is not there"
    ),
    pytest.param(GOOD.replace("layers = 2", "layers = 5"), "5", "MCD407", id="a layer that the model lacks"),
    pytest.param(
        GOOD + "attend look: cat -> cat { layers = 2  heads = [2] }\n", "2", "MCD408", id="a head that the model lacks"
    ),
    pytest.param(
        GOOD + 'concept axis { anchor = vector("v.safetensors", "axis") }\n',
        'vector("v.safetensors", "axis")',
        "MCD409",
        id="a vector of the wrong width",
    ),
    pytest.param(GOOD.replace("near: cat", "near: cta"), "cta", "MCD209", id="an unknown name"),
    pytest.param(GOOD + 'import "../other.mcd" as other\n', '"../other.mcd"', "MCD202", id="a path outside the root"),
    pytest.param(GOOD + 'import "loop.mcd" as loop\n', '"loop.mcd"', "MCD204", id="an import cycle"),
    pytest.param(
        GOOD + "attend look: cat -> cat where query before key { layers = 2  heads = any }\n",
        "look",
        "MCD322",
        id="edges that can only point forward in time",
    ),
]


@pytest.mark.parametrize(("spec", "fragment", "code"), SPEC_CASES)
def test_a_wrong_spec_is_underlined(tmp_path, spec, fragment, code):
    path = project(tmp_path, spec, RECORDS)
    (tmp_path / "loop.mcd").write_text('mcd 1\nimport "loop2.mcd" as l2\n')
    (tmp_path / "loop2.mcd").write_text('mcd 1\nimport "loop.mcd" as l1\n')
    save_file({"axis": np.ones(7, np.float32)}, tmp_path / "v.safetensors")
    exit_code, output = run("check", path)
    assert exit_code == 1
    assert code in output
    assert "^" * len(fragment) in output, output
    found = json.loads(run("check", path, "--format", "json")[1])["diagnostics"]
    (mine,) = (d for d in found if d["code"] == code)
    text = (tmp_path / mine["path"]).read_text()
    assert text[mine["start"]["offset"] : mine["end"]["offset"]] == fragment


def test_an_unknown_name_comes_with_a_suggestion(tmp_path):
    assert "did you mean `cat`" in run("check", project(tmp_path, GOOD.replace("near: cat", "near: cta"), RECORDS))[1]


def spoil_json(folder: Path) -> None:
    (folder / "data.jsonl").write_text('{"id": "0", "text": "the cat", "label": 0}\n{"id": "1", "text": \n')


def spoil_encoding(folder: Path) -> None:
    (folder / "data.jsonl").write_bytes(
        b'{"id": "0", "text": "the cat", "label": 0}\n{"id": "1", "text": "\xff", "label": 0}\n'
    )


def empty(folder: Path) -> None:
    (folder / "data.jsonl").write_text("")


def rename_field(folder: Path) -> None:
    text = (folder / "data.jsonl").read_text()
    (folder / "data.jsonl").write_text(text.replace('"label"', '"lable"'))


DATA_CASES = [
    pytest.param(spoil_json, "MCD504", "data.jsonl:2", id="broken JSON at line 2"),
    pytest.param(spoil_encoding, "MCD506", "data.jsonl:2", id="invalid UTF-8 at line 2"),
    pytest.param(empty, "MCD502", "source `s` holds no record", id="an empty source"),
    pytest.param(rename_field, "MCD587", "`near` reads `.label`, which no record has", id="a field that no record has"),
]


@pytest.mark.parametrize(("spoil", "code", "said"), DATA_CASES)
def test_wrong_data_is_said_and_the_old_output_stays(tmp_path, spoil: Callable[[Path], None], code, said):
    path, out = project(tmp_path, GOOD, RECORDS), tmp_path / "out"
    compiled(path, out)
    before = {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}
    spoil(tmp_path)
    exit_code, output = run("compile", path, "-o", out)
    assert exit_code == 1
    assert code in output and said in output
    assert {file: file.read_bytes() for file in out.rglob("*") if file.is_file()} == before


@pytest.mark.parametrize(
    ("rule", "marked"),
    [
        ("weigh mention where kind == 1 { factor = 2 }", "kind == 1"),
        ("attend look: cat -> mention where key.kind == 1 { layers = 2  heads = any }", "key.kind == 1"),
    ],
)
def test_a_condition_that_the_data_does_not_fit_is_underlined(tmp_path, rule, marked):
    records = [{**record, "mentions": [{"start": 4, "end": 7, "kind": "noun"}]} for record in RECORDS]
    path = project(tmp_path, SOURCE + CAT + f"span mention = offsets(.mentions)\n{rule}\n", records)
    exit_code, output = run("compile", path, "-o", tmp_path / "out")
    assert exit_code == 1
    assert f"in `{marked}`, over source `s`: `==` compares a string with a number\n --> spec.mcd:9:" in output
    assert f" {'^' * len(marked)}\n" in output


def test_a_class_out_of_range_is_counted_and_can_be_refused(tmp_path):
    records = [*RECORDS, {"id": "9", "text": "a cat", "label": 7}]
    exit_code, output = run("compile", project(tmp_path, GOOD, records), "-o", tmp_path / "out")
    assert exit_code == 0
    assert "MCD580" in output and "`near`: 1 of 5 spans with a label outside the classes" in output
    assert "outside 1" in output
    strict = project(tmp_path, GOOD.replace("classes = 2", "classes = 2  lost = error"), records)
    exit_code, output = run("compile", strict, "-o", tmp_path / "strict")
    assert exit_code == 1 and "MCD581" in output
    assert not (tmp_path / "strict").exists()


def test_a_truncated_span_is_counted(tmp_path):
    path = project(tmp_path, GOOD.replace('"cat"', '"dog"'), RECORDS)
    path.write_text(path.read_text().replace("context = 16", "context = 3"))
    exit_code, output = run("compile", path, "-o", tmp_path / "out")
    assert exit_code == 0
    assert "`near`: 4 of 4 spans cut off by the context" in output


def test_an_edge_forward_in_time_is_counted(tmp_path):
    spec = SOURCE + CAT + 'span dog = phrases("dog")\n'
    spec += "attend look: cat -> dog where query.index == key.index { layers = 2  heads = any }\n"
    exit_code, output = run("compile", project(tmp_path, spec, RECORDS), "-o", tmp_path / "out")
    assert exit_code == 0
    assert "`look`: 4 of 4 edges that only point forward in time" in output
    assert "attend look: cat -> dog" in output and "^^^^" in output


def load_failure(out: Path) -> tuple[str, str]:
    with pytest.raises(Failure) as failure:
        dataset = load(out)
        len(dataset)
    (found,) = failure.value.diagnostics
    return found.code.id, found.message


def test_a_flipped_byte_in_a_shard_is_found(tmp_path):
    out = tmp_path / "out"
    compiled(project(tmp_path, GOOD, RECORDS), out)
    (shard,) = (out / "shards" / "train").glob("*.arrow")
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    code, message = load_failure(out)
    assert code == "MCD604" and "`shards/train/00000.arrow` is not what was written" in message


@pytest.mark.parametrize("name", ["program.json", "manifest.json"])
def test_a_file_from_a_newer_version_is_refused(tmp_path, name):
    out = tmp_path / "out"
    compiled(project(tmp_path, GOOD, RECORDS), out)
    text = (out / name).read_text().replace('"format": 1', '"format": 999', 1)
    (out / name).write_text(text)
    if name == "program.json":  # its digest is checked first, so the manifest must agree with it
        manifest = json.loads((out / "manifest.json").read_text())
        for entry in manifest["files"]:
            if entry["path"] == name:
                entry |= {"bytes": len(text.encode()), "sha256": hashlib.sha256(text.encode()).hexdigest()}
        (out / "manifest.json").write_text(json.dumps(manifest | {"checksum": None}))
    code, message = load_failure(out)
    assert code == "MCD606" and f"`{name}` has format 999; this version reads up to 1" in message


def test_a_directory_that_is_not_ours_is_left_alone(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years of work")
    exit_code, output = run("compile", project(tmp_path, GOOD, RECORDS), "-o", tmp_path / "out")
    assert exit_code == 1 and "MCD612" in output
    assert (tmp_path / "out" / "thesis.txt").read_text() == "years of work"
