"""`mcd explain`: codes by number and by name, the list, JSON, and what no code is."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner, Result

from mcd.cli.main import mcd
from mcd.dsl.codes import CODES


def run(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(mcd, ["explain", *arguments], env=environment)


@pytest.mark.parametrize("name", ["MCD407", "mcd407", "407", "no-such-layer", "No-Such-Layer"])
def test_a_code(name: str) -> None:
    result = run(name)
    assert result.exit_code == 0
    assert result.stdout.startswith("MCD407 no-such-layer: A layer that the model")
    assert "\nWhy it is so\n  Layers are counted" in result.stdout
    failing, _, fixed = result.stdout.partition("\nThis does not\n")
    assert "    error[MCD407]: no layer 9: the model `m` has layers 0..4\n     --> spec.mcd:2:29\n" in failing
    assert f"      |{' ' * 29}^\n" in failing
    assert "layers = 50%" in fixed and "error" not in fixed


def test_a_file_and_a_command() -> None:
    shown = run("MCD504").stdout
    assert "  pets.jsonl:\n    {" in shown
    assert "    $ mcd compile spec.mcd -o out\n" in shown


def test_several_and_none_twice() -> None:
    shown = run("MCD407", "MCD209", "mcd407").stdout
    assert [line[:6] for line in shown.splitlines() if line.startswith("MCD")] == ["MCD407", "MCD209"]


def test_a_name_of_two_codes_gives_both() -> None:
    entries = json.loads(run("vector-width", "--format", "json").stdout)["codes"]
    assert [entry["code"] for entry in entries] == ["MCD409", "MCD622"]


def test_what_another_command_prints_is_told() -> None:
    failing, _, fixed = run("MCD604").stdout.partition("\nThis does not\n")
    assert "    error[MCD604]: `shards/train/00000.arrow` is not what was written" in failing
    assert "error" not in fixed


@pytest.mark.parametrize("width", [40, 60, 200])
def test_lines_fit_the_terminal(width: int) -> None:
    shown = run("MCD407", COLUMNS=str(width)).stdout
    prose = [line for line in shown.splitlines() if not line.startswith("    ")]
    assert max(map(len, prose)) <= min(width, 88)


def test_all_codes_are_listed() -> None:
    shown = run(COLUMNS="88").stdout
    assert [code for code in CODES if f"\n  {code}  " not in shown] == []
    assert shown.startswith("MCD1xx: syntax\n  MCD101  syntax: The text does not follow the grammar.\n")


@pytest.mark.parametrize(
    ("name", "near"),
    [("MCD4O7", "`MCD407`"), ("no-such-layr", "`no-such-layer`"), ("zzzzzzzz", "`mcd explain` lists all")],
)
def test_no_such_code(name: str, near: str) -> None:
    result = run("MCD407", name)
    assert result.exit_code == 2
    assert f"no code `{name}`; " in result.stderr and near in result.stderr
    assert result.stdout == ""


def test_json() -> None:
    found = json.loads(run("MCD504", "--format", "json").stdout)
    assert found["version"] == 1
    (entry,) = found["codes"]
    assert list(entry) == ["code", "name", "severity", "summary", "meaning", "why", "failing", "fixed"]
    assert entry["failing"]["steps"] == [{"language": "sh", "file": None, "text": "mcd compile spec.mcd -o out\n"}]
    assert entry["failing"]["files"]["spec.mcd"].startswith("mcd 1\n")
    assert json.loads(run("--format", "json").stdout)["codes"][0] == {
        "code": "MCD101",
        "name": "syntax",
        "severity": "error",
        "summary": "The text does not follow the grammar.",
    }
