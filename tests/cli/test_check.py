"""`mcd check`: what it prints and how it exits. And what `mcd` does with a command that fails."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
from click.testing import CliRunner, Result

from mcd.cli import check as check_command
from mcd.cli import main
from mcd.dsl.diagnostics import Code, Diagnostic, Failure, Findings, Severity
from mcd.dsl.parse import parse, read_source
from mcd.dsl.source import Place, SourceText

ODD = Code("MCD198", "odd", "Something odd.", Severity.WARNING)


def run(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(main.mcd, arguments, env={"MCD_DEBUG": None, **environment})


@pytest.fixture
def syntax_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A check that only parses, so that these tests are about the command."""

    def check(path: Path, *_: object) -> tuple[None, Findings]:
        findings = Findings()
        try:
            parse(read_source(path, path.name), findings)
        except Failure as failure:
            findings.items.extend(failure.diagnostics)
        return None, findings

    monkeypatch.setattr(check_command, "check", check)


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "a.mcd"
    path.write_text("mcd 1\nspan a = = b\n", "utf-8")
    return path


def test_clean(syntax_only: None, spec: Path) -> None:
    spec.write_text("mcd 1\n", "utf-8")
    result = run("check", str(spec))
    assert (result.exit_code, result.output) == (0, "")


def test_findings(syntax_only: None, spec: Path) -> None:
    result = run("check", str(spec))
    assert result.exit_code == 1
    assert result.stdout.startswith("error[MCD101]: expected a value after `=`, found `=`\n --> a.mcd:2:10\n")
    assert result.stdout.endswith("\n\n1 error\n`mcd explain MCD101` tells why, and shows an example\n")
    assert result.stderr == ""


def test_json(syntax_only: None, spec: Path) -> None:
    result = run("check", "--format", "json", str(spec))
    assert result.exit_code == 1
    assert [found["code"] for found in json.loads(result.stdout)["diagnostics"]] == ["MCD101"]


def test_several_specs_and_a_missing_one(syntax_only: None, spec: Path) -> None:
    result = run("check", str(spec), str(spec.parent / "no.mcd"), str(spec))
    assert result.exit_code == 1
    assert "no file `no.mcd`" in result.stdout
    assert result.stdout.endswith("\n\n2 errors\n`mcd explain MCD112` tells why, and shows an example\n")


def test_warnings_alone_are_clean(monkeypatch: pytest.MonkeyPatch, spec: Path) -> None:
    found = ODD.at(Place(SourceText("a.mcd", "mcd 1"), 0, 3), "odd")
    monkeypatch.setattr(check_command, "check", lambda path, *_: (None, Findings([found])))
    result = run("check", str(spec))
    assert result.exit_code == 0
    assert result.stdout.endswith("1 warning\n`mcd explain MCD198` tells why, and shows an example\n")


@pytest.mark.parametrize("arguments", [["check"], ["check", "--format", "xml", "a.mcd"], ["chekc"], ["--nope"]])
def test_usage(arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2


def raises(error: Exception) -> object:
    @click.command
    def command() -> None:
        raise error

    return SimpleNamespace(command=command)


def failing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setattr(main, "import_module", lambda name, package: raises(error))


def test_an_internal_error_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, KeyError("a\nb"))
    result = run("plan")
    assert result.exit_code == 2
    assert result.stderr == "internal error (bug): KeyError: 'a\\nb'; MCD_DEBUG=1 shows the traceback\n"
    result = run("plan", MCD_DEBUG="1")
    assert result.exit_code == 2
    assert "Traceback (most recent call last)" in result.stderr


def test_a_failure_prints_its_findings(monkeypatch: pytest.MonkeyPatch) -> None:
    found: Diagnostic = Code("MCD199", "bad", "Bad.").at(None, "no")
    failing(monkeypatch, Failure(found))
    result = run("compile")
    assert result.exit_code == 1
    assert result.stderr == "error[MCD199]: no\n\n1 error\n`mcd explain MCD199` tells why, and shows an example\n"


def test_a_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str, package: str) -> object:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr(main, "import_module", missing)
    result = run("train", "out")
    assert result.exit_code == 2
    assert result.stderr == "error: this command needs torch: pip install 'mcd-lang[train]'\n"


def test_help_and_version_load_no_command() -> None:
    result = run("--help")
    assert result.exit_code == 0
    for name, (_, summary) in main.COMMANDS.items():
        assert f"{name} " in result.output
        assert summary in result.output
    assert run("--version").output.startswith("mcd, version 0.")


def test_the_start_is_light() -> None:
    script = (
        "import sys, mcd.cli.main; print([m for m in ('torch', 'pyarrow', 'tokenizers', 'lark') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
