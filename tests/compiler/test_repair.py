"""What is damaged of a dataset becomes what it was, and nothing else changes."""

import json

import pytest

from mcd.compiler.compile import compile_program
from mcd.compiler.repair import repair
from mcd.dsl.diagnostics import Failure

from ..projects import checked, content
from .test_build import ids, names, runs, spec, write  # noqa: F401

DAMAGES = {
    "a bit of a shard": ("shards/train/00004.arrow", [4]),
    "a shard that is gone": ("shards/valid/00007.arrow", [7]),
    "a bit of the plan": ("program.json", []),
    "a bit of the list of tasks": ("tasks.jsonl", None),
}
"""What is damaged, and which tasks run again; None where that depends on the line."""


def damage(out, path, gone) -> None:
    file = out / path
    if gone:
        file.unlink()
        return
    held = bytearray(file.read_bytes())
    held[len(held) // 2] ^= 16
    file.write_bytes(held)


@pytest.mark.parametrize("case", DAMAGES)
def test_damage_is_repaired(spec, tmp_path, runs, case):  # noqa: F811
    path, again = DAMAGES[case]
    out = tmp_path / "out"
    compile_program(checked(spec), out)
    before = content(out)
    damage(out, path, case.endswith("gone"))
    runs.clear()
    repaired = repair(checked(spec), out)
    assert repaired.damaged == (path,) and repaired.known
    assert runs == again if again is not None else len(runs) == 1
    assert content(out) == before and names(tmp_path) == ["out"]
    assert repair(checked(spec), out).damaged == ()


def test_of_a_damaged_manifest_the_shards_are_kept(spec, tmp_path, runs):  # noqa: F811
    out = tmp_path / "out"
    compile_program(checked(spec), out)
    before = content(out)
    text = (out / "manifest.json").read_text("utf-8")
    (out / "manifest.json").write_text(text.replace('"tokens": ', '"tokens":  ', 1), encoding="utf-8")
    runs.clear()
    repaired = repair(checked(spec), out)
    assert not repaired.known and runs == [] and content(out) == before


@pytest.mark.parametrize("change", ["source", "spec"])
def test_another_spec_or_source_repairs_nothing(spec, tmp_path, change):  # noqa: F811
    out = tmp_path / "out"
    compile_program(checked(spec), out)
    damage(out, "shards/train/00004.arrow", gone=False)
    before = content(out)
    if change == "source":
        write(tmp_path, 4, records=31)
    else:
        spec.write_text(spec.read_text("utf-8").replace("factor = 0.5", "factor = 0.25"), encoding="utf-8")
    with pytest.raises(Failure) as caught:
        repair(checked(spec), out)
    assert ids(caught) == ["MCD632"] and content(out) == before
    assert json.loads((out / "manifest.json").read_text("utf-8"))["records"]


def test_what_is_no_dataset_is_not_repaired(spec, tmp_path):  # noqa: F811
    with pytest.raises(Failure) as caught:
        repair(checked(spec), tmp_path / "out")
    assert ids(caught) == ["MCD601"] and names(tmp_path) == []
