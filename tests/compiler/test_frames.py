"""Frames and settings from end to end: the plan, the shards, and what a change of a setting rebuilds."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from mcd.cli.main import mcd
from mcd.compiler.compile import compile_program
from mcd.compiler.describe import describe
from mcd.compiler.plan import AttendPlan, ClassifyPlan, RampPlan
from mcd.compiler.prepare import prepare
from mcd.dsl.check import check

from ..projects import checked, compiled, project

SOURCE = """source s = jsonl("data.jsonl") { id = .id  text = .text }
span mention = offsets(.mentions)
span pronoun = mention where kind == "pronoun"
span noun    = mention where kind == "noun"
let middle: layers = 50%..75%
"""
BINDING = """mcd 1
frame binding(holder: span, value: span, depth: layers = 50%) {
  attend copy: $holder -> $value where key before query { layers = $depth  heads = any  weight = 0.5 }
  signal same: $holder { layers = $depth  classify = kind  classes = ["noun", "pronoun"] }
}
"""
FRAMES = (
    'import "logic.mcd" as logic\n'
    + SOURCE
    + """use logic.binding(pronoun, noun, depth: $middle) as anaphora
curriculum {
  stage one 50% { only = [anaphora.copy] }
  stage two 50% { anaphora.copy.factor = ramp(1, 0.3, cosine) }
}
"""
)
BY_HAND = (
    SOURCE
    + """attend copy: pronoun -> noun where key before query { layers = $middle  heads = any  weight = 0.5 }
signal same: pronoun { layers = $middle  classify = kind  classes = ["noun", "pronoun"] }
"""
)
RECORDS = [
    {
        "id": "a",
        "text": "the cat saw it",
        "mentions": [{"start": 0, "end": 7, "kind": "noun"}, {"start": 12, "end": 14, "kind": "pronoun"}],
    },
    {"id": "b", "text": "it ran", "mentions": [{"start": 0, "end": 2, "kind": "pronoun"}]},
]


def frames(folder: Path) -> Path:
    return project(folder, FRAMES, RECORDS, logic_mcd=BINDING)


def test_a_used_frame_compiles_to_what_it_is_written_out_to(tmp_path: Path) -> None:
    used, by_hand = tmp_path / "used", tmp_path / "by_hand"
    used.mkdir()
    by_hand.mkdir()
    one = compiled(frames(used), used / "out")
    two = compiled(project(by_hand, BY_HAND, RECORDS), by_hand / "out")
    assert one.plan.sets == two.plan.sets
    assert one.manifest.shards_key == two.manifest.shards_key
    assert [shard.sha256 for shard in one.manifest.shards] == [shard.sha256 for shard in two.manifest.shards]
    ids = [rule.id for rule in one.plan.rules]
    assert ids == ["anaphora.copy", "anaphora.same"]
    assert list(one.manifest.rules) == ids
    for rule, other in zip(one.plan.rules, two.plan.rules, strict=True):
        assert rule.model_copy(update={"id": other.id, "line": other.line}) == other
        assert rule.line.file == "logic.mcd"
        assert one.manifest.rules[rule.id] == two.manifest.rules[other.id]
    assert one.manifest.rules["anaphora.copy"].total("rows") == 1
    assert one.manifest.rules["anaphora.same"].total("rows") == 2
    assert {entry.path for entry in one.manifest.inputs} > {"spec.mcd", "logic.mcd"}
    assert one.plan.stages[0].only == ("anaphora.copy",)
    assert one.plan.stages[1].factors == {"anaphora.copy": RampPlan(start=1, end=0.3, shape="cosine")}


def test_another_argument_for_layers_writes_the_plan_alone(tmp_path: Path) -> None:
    path = frames(tmp_path)
    assert not compiled(path, tmp_path / "out").reused
    program, findings = check(path, settings=("middle=1",))
    assert program is not None, findings.items
    again = compile_program(program, tmp_path / "out")
    assert again.reused
    assert [rule.layers for rule in again.plan.rules if isinstance(rule, AttendPlan | ClassifyPlan)] == [(1,), (1,)]


def test_what_is_lost_shows_the_use(tmp_path: Path) -> None:
    (tmp_path / "mcd.toml").touch()
    spec = FRAMES.replace("(pronoun, noun,", '(mention where kind == "none", noun,').replace(
        "only = [anaphora.copy]", ""
    )
    path = project(tmp_path, spec, RECORDS, logic_mcd=BINDING)
    warnings = compiled(path, tmp_path / "out").warnings
    assert [found.message.split("`")[1] for found in warnings] == ["anaphora.copy", "anaphora.same"]
    assert all(found.related[0].place.source.path == "spec.mcd" for found in warnings)


def test_settings_on_the_command_line(tmp_path: Path) -> None:
    path = frames(tmp_path)
    run = CliRunner().invoke
    plan = run(mcd, ["plan", str(path), "--set", "middle=25%", "--format", "json"])
    assert plan.exit_code == 0, plan.output
    assert [rule["layers"] for rule in json.loads(plan.stdout)["rules"]] == [[1], [1]]
    shown = run(mcd, ["plan", str(path), "--set", "middle=25%"]).stdout
    assert "settings\n  middle = 25%\n" in shown
    assert "anaphora.copy  logic.mcd:3" in shown
    out = str(tmp_path / "out")
    assert run(mcd, ["compile", str(path), "--set", "middle=[1, 4]", "-o", out]).exit_code == 0
    assert json.loads((tmp_path / "out" / "program.json").read_text())["rules"][0]["layers"] == [1, 4]
    bad = run(mcd, ["check", str(path), "--set", "middle=9", "--set", "nothing=1"])
    assert bad.exit_code == 1
    assert " --> --set middle:1:8\n" in bad.stdout
    assert " --> --set nothing:1:1\n" in bad.stdout
    assert "\n\n2 errors\n" in bad.stdout


def test_the_plan_without_settings_says_nothing_of_them(tmp_path: Path) -> None:
    program = checked(frames(tmp_path))
    assert program.settings == ()
    assert "settings" not in describe(program, prepare(program)[0])
