"""`mcd check`: what it prints and how it exits. And what `mcd` does with a command that fails."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import click
import jsonschema
import pytest
from click.testing import CliRunner, Result

from mcd.cli import main
from mcd.dsl.diagnostics import Code, Diagnostic, Failure

from ..projects import project

ROOT = Path(__file__).parents[2]

FURTHER = "`mcd explain {}` tells why, and shows an example\n"

MODEL = """
model m { layers = 4  heads = 2  hidden = 8  vocab = 100  causal = true  tokenizer = "tokenizer.json"  context = 64 }
source s = [{ text: "a b" }] { text = .text }
"""


def run(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(main.mcd, arguments, env={"MCD_DEBUG": None, **environment})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project to work in."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mcd.toml").touch()
    (tmp_path / "tokenizer.json").write_text('{"added_tokens": []}')
    return tmp_path


@pytest.fixture
def spec(folder: Path) -> Path:
    path = folder / "a.mcd"
    path.write_text("mcd 1\nspan a = = b\n", "utf-8")
    return path


def test_clean(spec: Path) -> None:
    spec.write_text("mcd 1\n", "utf-8")
    result = run("check", str(spec))
    assert (result.exit_code, result.output) == (0, "")


def test_findings(spec: Path) -> None:
    result = run("check", str(spec))
    assert result.exit_code == 1
    assert result.stdout.startswith("error[MCD101]: expected a value after `=`, found `=`\n --> a.mcd:2:10\n")
    assert result.stdout.endswith("\n\n1 error in 1 file\n" + FURTHER.format("MCD101"))
    assert result.stderr == ""


def test_several_specs_and_a_missing_one(spec: Path) -> None:
    result = run("check", "a.mcd", "no.mcd", "a.mcd")
    assert result.exit_code == 1
    assert "no file `no.mcd`" in result.stdout
    assert result.stdout.endswith("\n\n2 errors in 2 files\n" + FURTHER.format("MCD101"))


def test_warnings_alone_are_clean(folder: Path) -> None:
    (folder / "a.mcd").write_text("mcd 1\nspan _a = tokens\n")
    result = run("check", "a.mcd")
    assert result.exit_code == 0
    assert result.stdout.endswith("1 warning in 1 file\n" + FURTHER.format("MCD231"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["check"],
        ["check", "--format", "xml", "a.mcd"],
        ["check", "-", "a.mcd"],
        ["check", "--diff", "a.mcd"],
        ["check", "--write-baseline", "a.mcd"],
        ["check", "--allow", "nothing", "a.mcd"],
        ["check", "--allow", "syntax", "a.mcd"],
        ["check", "."],
        ["chekc"],
        ["--nope"],
    ],
)
def test_usage(folder: Path, arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2


# --- files


def test_a_folder_is_every_spec_below_it(folder: Path) -> None:
    """Hidden folders, environments and what the project leaves out are passed over; a file that was named is not."""
    for place in ("deep/er", ".hidden", "venv", "old"):
        (folder / place).mkdir(parents=True)
        (folder / place / "b.mcd").write_text("mcd 1\nspan = 1\n")
    (folder / "venv" / "pyvenv.cfg").touch()
    (folder / "mcd.toml").write_text('[check]\nexclude = ["old"]\n')
    (folder / "deep" / "note.txt").write_text("span = 1")
    assert paths(run("check", "--format", "json", ".")) == {"deep/er/b.mcd"}
    assert paths(run("check", "--format", "json", "old/b.mcd")) == {"old/b.mcd"}


def paths(result: Result) -> set[str]:
    return {found["path"] for found in json.loads(result.stdout)["diagnostics"]}


def test_a_module_needs_no_model(folder: Path) -> None:
    """A file that declares nothing for a root alone; with a source, it is a spec that lacks its model."""
    (folder / "lib.mcd").write_text(
        "mcd 1\nspan a = tokens\nsignal s: a { layers = 50%  classify = .x  classes = 2 }\n"
    )
    assert (run("check", "lib.mcd").exit_code, run("check", "lib.mcd").stdout) == (0, "")
    (folder / "main.mcd").write_text('mcd 1\nimport "lib.mcd" as lib\nsource s = [{ text: "a" }] { text = .text }\n')
    result = run("check", "--format", "concise", ".")
    assert (result.exit_code, result.stdout.splitlines()[0]) == (
        1,
        "main.mcd:1:1: error[MCD223]: the spec has no model",
    )


def test_what_several_specs_import_is_found_once(folder: Path) -> None:
    (folder / "lib.mcd").write_text("mcd 1\nspan a = nothing\n")
    for name in ("one", "two"):
        (folder / f"{name}.mcd").write_text(f'mcd 1\nimport "lib.mcd" as lib\nweigh lib.a {{ factor = 2 }}\n{MODEL}')
    result = run("check", "--format", "concise", ".")
    assert result.stdout == "lib.mcd:2:10: error[MCD209]: no span or concept `nothing`\n1 error in 1 file\n"


def test_standard_input(folder: Path) -> None:
    """It is taken for the file that its name says, whose imports are found."""
    (folder / "lib.mcd").write_text("mcd 1\nspan a = tokens\n")
    text = 'mcd 1\nimport "lib.mcd" as lib\nweigh lib.b { factor = 2 }\n' + MODEL
    command = ["check", "--format", "concise", "--stdin-filename", "x.mcd", "-"]
    result = CliRunner().invoke(main.mcd, command, input=text)
    assert result.stdout == "x.mcd:3:7: error[MCD209]: no span or concept `lib.b`\n1 error in 1 file\n"
    result = CliRunner().invoke(main.mcd, ["check", "--format", "concise", "-"], input="span\n")
    assert result.stdout.startswith("<stdin>:")
    assert CliRunner().invoke(main.mcd, ["check", "-"], input=b"mcd 1 # \xff").exit_code == 1


# --- forms


def test_forms(spec: Path) -> None:
    found = json.loads(run("check", "--format", "json", "a.mcd").stdout)
    assert [item["code"] for item in found["diagnostics"]] == ["MCD101"]
    assert (found["files"], found["summary"]) == (["a.mcd"], {"errors": 1, "warnings": 0})
    log = json.loads(run("check", "--format", "sarif", "a.mcd").stdout)
    assert [item["ruleId"] for item in log["runs"][0]["results"]] == ["MCD101"]
    suite = ElementTree.fromstring(run("check", "--format", "junit", "a.mcd").stdout)
    assert [case.get("name") for case in suite.iter("testcase")] == ["a.mcd"]
    assert run("check", "--format", "github", "a.mcd").stdout.startswith("::error file=a.mcd,line=2,")


def test_to_a_file(spec: Path) -> None:
    result = run("check", "--format", "json", "-o", "out.json", "a.mcd")
    assert (result.exit_code, result.output) == (1, "")
    assert json.loads(Path("out.json").read_text())["summary"]["errors"] == 1
    assert run("check", "-o", "no/out.txt", "a.mcd").exit_code == 1


def test_paths_are_relative_to_the_working_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or to the project, where it lies elsewhere."""
    project = folder / "sub"
    project.mkdir()
    (project / "mcd.toml").touch()
    (project / "a.mcd").write_text("mcd 1\nspan = 1\n")
    assert run("check", "--format", "concise", "sub").stdout.startswith("sub/a.mcd:2:")
    (folder / "other").mkdir()
    monkeypatch.chdir(folder / "other")
    assert run("check", "--format", "concise", "../sub").stdout.startswith("a.mcd:2:")


def test_colour_is_for_terminals(spec: Path) -> None:
    """What a pseudo-terminal shows, with and without NO_COLOR."""
    pty = pytest.importorskip("pty")

    def shown(**environment: str) -> bytes:
        parent, child = pty.openpty()
        script = "from mcd.cli.main import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", script, "check", "a.mcd"],
            stdout=child,
            stderr=child,
            env={key: value for key, value in os.environ.items() if key != "NO_COLOR"} | environment,
            check=False,
        )
        os.close(child)
        assert done.returncode == 1
        return os.read(parent, 10_000)

    assert b"\x1b[1;31merror[MCD101]\x1b[0m" in shown()
    assert b"\x1b" not in shown(NO_COLOR="1")


# --- levels, baselines, fixes


def test_levels(folder: Path) -> None:
    (folder / "a.mcd").write_text("mcd 1\nspan _a = tokens\n")
    assert run("check", "-W", "a.mcd").exit_code == 1
    assert run("check", "--error", "unused-declaration", "a.mcd").exit_code == 1
    assert run("check", "-W", "--allow", "MCD231", "a.mcd").exit_code == 0
    (folder / "mcd.toml").write_text('[check]\nerror = "all"\n')
    assert run("check", "a.mcd").exit_code == 1
    (folder / "mcd.toml").write_text('[chekc]\nerror = "all"\n')
    assert "error[MCD251]" in run("check", "a.mcd").stdout


def test_baseline(folder: Path) -> None:
    (folder / "a.mcd").write_text("mcd 1\nspan _a = tokens\n")
    missing = run("check", "--baseline", "b.json", "a.mcd")
    assert (missing.exit_code, "error[MCD257]" in missing.stdout) == (1, True)
    result = run("check", "-W", "--baseline", "b.json", "--write-baseline", "a.mcd")
    assert (result.exit_code, result.output) == (0, "")
    assert run("check", "-W", "--baseline", "b.json", "a.mcd").exit_code == 0
    (folder / "a.mcd").write_text("mcd 1\n\nspan _a = tokens\nspan _b = tokens\n")
    assert run("check", "--format", "concise", "--baseline", "b.json", "a.mcd").stdout.startswith("a.mcd:4:6: ")
    (folder / "a.mcd").write_text("mcd 1\n")
    result = run("check", "-W", "--baseline", "b.json", "a.mcd")
    assert (result.exit_code, "[MCD258]" in result.stdout) == (1, True)


def test_fix(folder: Path) -> None:
    path = folder / "a.mcd"
    path.write_text("span a = phrases('x')\nspan b = nothing\n")
    path.chmod(0o640)
    result = run("check", "--fix", "--diff", "a.mcd")
    assert result.exit_code == 1
    assert result.stdout == (
        "--- a.mcd\n+++ a.mcd\n@@ -1,2 +1,4 @@\n"
        "-span a = phrases('x')\n+mcd 1\n+\n+span a = phrases(\"x\")\n span b = nothing\n"
    )
    assert path.read_text().startswith("span")
    result = run("check", "--fix", "--format", "concise", "a.mcd")
    assert result.stdout == "a.mcd:4:10: error[MCD209]: no span or concept `nothing`\n1 error in 1 file\n"
    assert path.read_text() == 'mcd 1\n\nspan a = phrases("x")\nspan b = nothing\n'
    assert path.stat().st_mode & 0o777 == 0o640


def test_fix_of_standard_input(folder: Path) -> None:
    result = CliRunner().invoke(main.mcd, ["check", "--fix", "-"], input="span a = tokens\n")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "mcd 1\n\nspan a = tokens\n", "")


# --- data


def test_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    spans = "".join(f'span {name} = regex("{name}")\n' for name in ("cat", "ca", "wolf"))
    rules = spans + "weigh cat | ca | wolf { factor = 2 }\n"
    spec = project(
        tmp_path, f'source s = jsonl("data.jsonl") {{ text = .text }}\n{rules}', [{"text": "the cat \x1b"}] * 5
    )
    result = run("check", "--data", spec.name)
    assert result.exit_code == 0
    assert result.stdout.startswith("spec.mcd: looked at 5 of `s`, ")
    assert "  ca            5          5\n    ragged: 5 edges inside a token\n" in result.stdout, result.stdout
    assert "      data.jsonl:1: the |[ca]t |\\u{1B}\n" in result.stdout
    assert "warning[MCD350]: `wolf` matches nothing in the 5 records that were looked at" in result.stdout
    assert run("check", "--data", "3", "-W", "spec.mcd").exit_code == 1
    found = json.loads(run("check", "--data=3", "--format", "json", "spec.mcd").stdout)
    schema = json.loads((ROOT / "docs" / "schema" / "check.json").read_text("utf-8"))
    jsonschema.Draft202012Validator(schema).validate(found)
    (data,) = found["data"]
    assert (data["records"], [spans["name"] for spans in data["spans"]]) == ({"s": 3}, ["cat", "ca", "wolf"])
    assert data["spans"][1]["examples"]["ragged"]["text"] == "the |[ca]t |\x1b"


def test_what_is_wrong_with_the_data_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = 'source s = jsonl("data.jsonl") { text = .text }\nspan cat = phrases("cat")\nweigh cat { factor = 2 }\n'
    project(tmp_path, text, [{"text": ["no"]}])
    assert run("check", "spec.mcd").exit_code == 0
    result = run("check", "--format", "concise", "--data", "spec.mcd")
    assert (result.exit_code, result.stdout.splitlines()[0][:34]) == (1, "data.jsonl:1: error[MCD508]: `data")


# --- the start of a process


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
    assert (result.exit_code, result.stderr) == (1, "error[MCD199]: no\n\n1 error\n" + FURTHER.format("MCD199"))


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


def loaded(script: str, cwd: Path) -> set[str]:
    """The libraries that a process has loaded at its end."""
    names = ("torch", "transformers", "pyarrow", "numpy", "tokenizers", "pydantic", "safetensors", "lark")
    script += f"; print(*[name for name in {names} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=cwd)
    return set(done.stdout.split())


def test_the_start_is_light(folder: Path) -> None:
    """A check loads what reads a spec, and nothing that reads data or trains."""
    assert loaded("import sys, mcd.cli.main", folder) == set()
    (folder / "a.mcd").write_text(f"mcd 1\nweigh tokens {{ factor = 2 }}\n{MODEL}")
    check = "import sys; from mcd.cli.main import mcd; mcd(['check', 'a.mcd'], standalone_mode=False)"
    assert loaded(check, folder) <= {"lark", "safetensors"}
