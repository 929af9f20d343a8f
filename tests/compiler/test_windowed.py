"""Edges under sliding windows: what is counted, said and promised, and what another model changes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mcd.compiler.compile import Compiled, compile_program
from mcd.compiler.describe import describe
from mcd.compiler.difference import Effect, Side, differences
from mcd.compiler.prepare import prepare
from mcd.compiler.sample.sample import sample
from mcd.compiler.verify import broken_invariants
from mcd.dsl.check import check
from mcd.dsl.codes import model as codes
from mcd.dsl.codes import sources
from mcd.dsl.diagnostics import Failure

from ..projects import project

SPEC = """mcd 1
model m { config = "config.json"  tokenizer = "tokenizer.json"  context = 16 }
source s = jsonl("data.jsonl") { id = .id  text = "{.text}" }
span cat = phrases("cat")
span dog = phrases("dog")
"""
SHAPE = {"num_hidden_layers": 4, "num_attention_heads": 2, "hidden_size": 8, "vocab_size": 64}
RECORDS = [
    # the0 cat1 saw2 a3 dog4 and5 the6 dog7: 4 - 1 = 3, 7 - 1 = 6
    {"id": "a", "text": "the cat saw a dog and the dog"},
    # a0 dog1 saw2 the3 cat4: forward
    {"id": "b", "text": "a dog saw the cat"},
]
LINK = "attend link: dog -> cat where key before query or query before key { layers = %s  heads = any }\n"


def windowed(tmp_path: Path, rules: str, config: dict[str, object]) -> Path:
    project(tmp_path, "", RECORDS, config_json=json.dumps({**SHAPE, **config}))
    path = tmp_path / "spec.mcd"
    path.write_text(SPEC + rules, encoding="utf-8")
    return path


def compiled(path: Path, out: Path, model: Path | None = None) -> Compiled:
    program, findings = check(path, model)
    assert program is not None, findings.items
    return compile_program(program, out)


def counts(result: Compiled, rule: str = "link") -> dict[str, int]:
    return dict(result.manifest.rules[rule].splits["train"])


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        (16, {"matched": 3, "forward": 1, "rows": 2}),
        (7, {"matched": 3, "forward": 1, "rows": 2}),
        (6, {"matched": 3, "forward": 1, "window": 1, "rows": 1}),
        (4, {"matched": 3, "forward": 1, "window": 1, "rows": 1}),
        (3, {"matched": 3, "forward": 1, "window": 2, "rows": 0}),
    ],
)
def test_edges_outside_the_window_of_every_layer(tmp_path: Path, window: int, expected: dict[str, int]) -> None:
    """The distances are 3 and 6: a window of 4 has the first, one of 7 both."""
    config = {"model_type": "mistral", "sliding_window": window}
    assert counts(compiled(windowed(tmp_path, LINK % "2..3", config), tmp_path / "out")) == expected


def test_edges_outside_the_window_of_some_layers_are_said(tmp_path: Path) -> None:
    """Gemma 2's layers 1 and 3 slide."""
    path = windowed(tmp_path, LINK % "1..2", {"model_type": "gemma2", "sliding_window": 4})
    result = compiled(path, tmp_path / "out")
    assert counts(result) == {"matched": 3, "forward": 1, "narrow": 1, "rows": 2}
    (found,) = (found for found in result.warnings if found.code is codes.NARROW_WINDOWS)
    expected = "`link`: 1 of 3 edges reach beyond the window of some layers and act in the others (4 tokens at layer 1)"
    assert found.message == expected
    full = compiled(
        windowed(tmp_path, LINK % "[2, 4]", {"model_type": "gemma2", "sliding_window": 4}), tmp_path / "out"
    )
    assert full.reused and counts(full) == {"matched": 3, "forward": 1, "rows": 2}


def test_what_no_layer_sees_is_lost(tmp_path: Path) -> None:
    path = windowed(tmp_path, LINK % "1", {"model_type": "gemma2", "sliding_window": 4})
    said = [found.message for found in compiled(path, tmp_path / "out").warnings if found.code is sources.LOST]
    assert said == [
        "`link`: 1 of 3 edges that only point forward in time",
        "`link`: 1 of 3 edges outside the window of every layer of the rule",
    ]
    strict = windowed(
        tmp_path, (LINK % "1").replace("heads = any", "heads = any  lost = error"), {"model_type": "gpt2"}
    )
    strict.write_text(strict.read_text().replace(" or query before key", ""))
    compiled(strict, tmp_path / "strict")
    program, _ = check(strict, windowed_model(tmp_path, 4))
    assert program is not None
    with pytest.raises(Failure, match="MCD581 `link`: 1 of 2 edges outside the window of every layer of the rule"):
        compile_program(program, tmp_path / "strict")


def windowed_model(tmp_path: Path, window: int | None) -> Path:
    path = tmp_path / f"other-{window}.json"
    path.write_text(json.dumps({**SHAPE, "model_type": "mistral", "sliding_window": window}))
    return path


def test_another_model_writes_the_plan_alone_and_counts_anew(tmp_path: Path) -> None:
    path, out = windowed(tmp_path, LINK % "1..2", {"model_type": "llama"}), tmp_path / "out"
    first = compiled(path, out)
    assert counts(first)["rows"] == 2 and first.plan.model.windows == ()
    narrow = compiled(path, out, windowed_model(tmp_path, 4))
    assert narrow.reused and counts(narrow) == {"matched": 3, "forward": 1, "window": 1, "rows": 1}
    assert narrow.plan.model.windows == (4, 4, 4, 4) and broken_invariants(narrow.plan) == []
    assert narrow.manifest.sets == first.manifest.sets and narrow.manifest.shards == first.manifest.shards
    wide = compiled(path, out, windowed_model(tmp_path, None))
    assert wide.reused and wide.manifest.rules == first.manifest.rules


@pytest.mark.parametrize("layers", ["1", "2", "1..2"])
def test_a_sample_counts_as_a_compilation_does(tmp_path: Path, layers: str) -> None:
    path = windowed(tmp_path, LINK % layers, {"model_type": "gemma2", "sliding_window": 4})
    program, _ = check(path)
    assert program is not None
    (found,) = sample(program, 10).rules
    assert +found.counts == counts(compiled(path, tmp_path / "out"))


def test_pairs_of_whole_sets_are_not_counted(tmp_path: Path) -> None:
    rule = "attend every: dog -> cat { layers = 1  heads = any }\n"
    result = compiled(windowed(tmp_path, rule, {"model_type": "mistral", "sliding_window": 3}), tmp_path / "out")
    assert "rows" not in counts(result, "every") and "window" not in counts(result, "every")


def test_a_plan_and_a_difference_say_the_windows(tmp_path: Path) -> None:
    path = windowed(tmp_path, LINK % "1", {"model_type": "gemma2", "sliding_window": 4})
    sides = []
    for model in (None, windowed_model(tmp_path, 8)):
        program, _ = check(path, model)
        assert program is not None
        sides.append(Side(program, prepare(program)[0]))
    assert "  sliding windows: 4 tokens at layers 1, 3\n" in describe(sides[0].program, sides[0].lowered)
    (found,) = (change for change in differences(*sides) if change.fact.startswith("windows"))
    assert found.fact == "windows 4 tokens at layers 1, 3 -> 8 tokens at layers 1..4"
    assert found.effect is Effect.PLAN


def test_windows_that_do_not_fit_break_a_plan(tmp_path: Path) -> None:
    plan = compiled(windowed(tmp_path, LINK % "1", {"model_type": "llama"}), tmp_path / "out").plan
    short = plan.model_copy(update={"model": plan.model.model_copy(update={"windows": (4,)})})
    assert broken_invariants(short) == ["has windows of 1 layers of 4"]
    long = plan.model_copy(update={"model": plan.model.model_copy(update={"windows": (16,) * 4})})
    assert broken_invariants(long) == ["has windows (16, 16, 16, 16) in a context of 16"]
