"""`mcd evaluate`: the table, the claims and their exit codes, other runs, and what it is not given."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mcd.cli.main import mcd

from ..projects import compiled, project

SPEC = """source s = jsonl("data.jsonl") { id = .id  split = .split  text = .text }
span cat = phrases("cat")
span dog = phrases("dog")
attend look: dog -> cat where key before query { layers = 2  heads = any }
signal kind: cat { layers = 2  classify = .kind  classes = 2 }
weigh boost: cat { factor = 2 }
"""
RECORDS = [
    {"id": f"{split}{i}", "split": split, "text": "the cat saw a dog" + " ran" * (i % 3), "kind": i % 2}
    for split, count in (("train", 8), ("valid", 5))
    for i in range(count)
]
CONFIG = {
    "model_type": "gpt2",
    "n_layer": 4,
    "n_head": 2,
    "n_embd": 8,
    "vocab_size": 64,
    "n_positions": 16,
    "bos_token_id": None,
    "eos_token_id": None,
}


def run(*arguments: Any) -> Any:
    return CliRunner().invoke(mcd, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A compiled project and two runs: `run`, under its rules, and `off`, without."""
    folder = tmp_path_factory.mktemp("evaluate")
    compiled(project(folder, SPEC, RECORDS), folder / "out")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    given = ["train", folder / "out", "--config", folder / "config.json", "--steps", 2, "--device", "cpu"]
    assert run(*given, "-o", folder / "run").exit_code == 0
    assert run(*given, "--without-rules", "-o", folder / "off").exit_code == 0
    return folder


def evaluate(folder: Path, *claims: str, options: tuple[Any, ...] = ()) -> Any:
    """Compile with `claims`, which writes the plan alone, and evaluate the run."""
    path = project(folder, SPEC + "".join(f"expect trained {claim}\n" for claim in claims), RECORDS)
    assert compiled(path, folder / "out").reused
    return run("evaluate", folder / "out", "--model", folder / "run", "--device", "cpu", *options)


def test_every_metric_stands_beside_that_of_the_untrained_model(folder: Path) -> None:
    result = evaluate(folder)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "valid: 5 records"
    assert lines[1].split() == ["rows", "trained", "untrained"]
    assert [[word for word in line.split() if word.isalpha()] for line in lines[2:]] == [
        ["loss"],
        ["unweighted"],
        ["look", "mass"],
        ["loss"],
        ["kind", "accuracy"],
        ["majority"],
        ["loss"],
        ["boost", "loss"],
        ["outside"],
    ]
    # Labels 0, 1, 0, 1, 0.
    assert [line.split() for line in lines if "majority" in line] == [["majority", "0.6000", "0.6000"]]
    assert "claims" not in result.stdout


def test_claims_are_decided_with_an_exit_code(folder: Path) -> None:
    holds = evaluate(folder, "mass(look, of: valid) >= 0", "loss <= 100")
    assert holds.exit_code == 0, holds.output
    assert "  holds  mass(look) of valid >= 0: found 0." in holds.stdout
    assert "train: 8 records" in holds.stdout and "valid: 5 records" in holds.stdout
    fails = evaluate(folder, "loss(of: valid) <= 0.01", "gain(loss, over: random) > 0")
    assert fails.exit_code == 1
    assert "  fails  loss of valid <= 0.01: found " in fails.stdout
    assert "  open   gain(loss, over: random) of train > 0  (spec.mcd:" in fails.stdout
    assert "error[MCD760]: `loss of valid` is " in fails.stderr and ", expected <= 0.01\n" in fails.stderr
    assert "error[MCD761]: `gain(loss, over: random) of train` cannot be decided: no run `random`" in fails.stderr
    line = 1 + (folder / "spec.mcd").read_text().splitlines().index("expect trained loss(of: valid) <= 0.01")
    assert f" --> spec.mcd:{line}\n" in fails.stderr


def test_a_gain_compares_with_another_run(folder: Path) -> None:
    """`off` has no probe, so that it says nothing of `kind`; of itself the run is no better."""
    claims = (
        "gain(loss, over: off) > -100",
        "gain(mass(look), over: same) == 0",
        "gain(accuracy(kind), over: off) > 0",
    )
    others = ("--over", f"off={folder / 'off'}", "--over", f"same={folder / 'run'}", "--format", "json")
    result = evaluate(folder, *claims, options=others)
    assert result.exit_code == 1
    found = json.loads(result.stdout)["claims"]
    assert [entry["holds"] for entry in found] == [True, True, None]
    assert found[1]["found"] == 0
    assert found[2]["open"] == "the run `off` holds no trained part of rule `kind`"


def test_json_has_everything(folder: Path) -> None:
    result = evaluate(folder, "mass(look, of: valid) >= 0.999", options=("--format", "json", "--seed", 0))
    assert result.exit_code == 1 and result.stderr == ""
    found = json.loads(result.stdout)
    assert (found["version"], found["seed"]) == (1, 0)
    assert found["dataset"] == str(folder / "out") and found["model"] == str(folder / "run")
    assert list(found["splits"]) == ["valid"]
    runs = found["splits"]["valid"]
    assert list(runs) == ["trained", "untrained"]
    assert runs["trained"]["records"] == 5
    assert runs["trained"]["rules"]["look"]["rows"] == 5
    assert runs["trained"]["rules"]["kind"]["metrics"]["majority"] == {"value": pytest.approx(0.6), "more": True}
    assert runs["trained"]["model"]["loss"]["value"] != runs["untrained"]["model"]["loss"]["value"]
    (claim,) = found["claims"]
    mass = runs["trained"]["rules"]["look"]["metrics"]["mass"]["value"]
    assert (claim["found"], claim["holds"], claim["open"], claim["line"]["file"]) == (mass, False, None, "spec.mcd")


def test_the_untrained_model_is_the_one_that_training_started_from(folder: Path) -> None:
    """A run of one step at a rate of next to nothing comes to what the untrained model comes to, probes too."""
    given = ["train", folder / "out", "--config", folder / "config.json", "--steps", 1, "--lr", 1e-12, "--seed", 3]
    assert run(*given, "--device", "cpu", "-o", folder / "start").exit_code == 0
    arguments = ["evaluate", folder / "out", "--model", folder / "start", "--device", "cpu", "--format", "json"]
    same, other = (json.loads(run(*arguments, "--seed", seed).stdout)["splits"]["valid"] for seed in (3, 4))
    for rule, scores in same["untrained"]["rules"].items():
        values = {name: score["value"] for name, score in scores["metrics"].items()}
        trained = same["trained"]["rules"][rule]["metrics"]
        assert values == pytest.approx({name: score["value"] for name, score in trained.items()}, rel=1e-5)
    assert other["untrained"]["model"] != same["untrained"]["model"]


def test_a_train_that_has_claims_says_what_decides_them(folder: Path) -> None:
    evaluate(folder, "loss(of: valid) <= 100")
    given = ["train", folder / "out", "--config", folder / "config.json", "--steps", 1, "--device", "cpu"]
    result = run(*given, "-o", folder / "claimed")
    assert (
        f"to decide 1 claim about the trained model: mcd evaluate {folder / 'out'} --model {folder / 'claimed'}"
        in result.stdout
    )
    evaluate(folder)
    assert "mcd evaluate" not in run(*given, "-o", folder / "unclaimed").stdout


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--split", "test"), 1, "MCD611"),
        (("--over", "off"), 2, "'off' is no run: off=runs/off, say"),
        (("--over", "untrained=x"), 2, "`untrained` is a run of every evaluation"),
        (("--over", "off=nowhere"), 1, "MCD732"),
    ],
)
def test_what_cannot_be_measured_is_said(folder: Path, options: tuple[str, ...], code: int, said: str) -> None:
    result = evaluate(folder, options=options)
    assert result.exit_code == code
    assert said in result.stderr


def test_a_file_of_probes_that_is_none_is_refused(folder: Path, tmp_path: Path) -> None:
    for file in (folder / "run").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "probes.safetensors").write_bytes(b"nothing")
    evaluate(folder)
    result = run("evaluate", folder / "out", "--model", tmp_path, "--device", "cpu")
    assert result.exit_code == 1
    assert "MCD709" in result.stderr
