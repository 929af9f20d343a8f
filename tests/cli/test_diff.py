"""`mcd diff` and `mcd breaking` as a user sees them, over a real repository of git."""

import json
import shutil
import subprocess

import pytest
from click.testing import CliRunner

from mcd.cli.main import mcd

from ..projects import project

SPEC = """source s = jsonl("data.jsonl") { id = .id  text = "{.text}" }
import "sets.mcd" as sets
weigh boost: sets.cat { factor = 2 }
signal kind: sets.cat { layers = 2  classify = .kind  classes = 2 }
"""


def run(*arguments):
    result = CliRunner().invoke(mcd, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr


def git(folder, *arguments):
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(folder), *who, *arguments], check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A project below the top of a repository, with two commits: the imported span is another in the second. git ignores the
    data."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    folder = tmp_path / "work" / "project"
    folder.mkdir(parents=True)
    path = project(folder, SPEC, [{"id": "a", "text": "the cat"}])
    (folder / ".gitignore").write_text("data.jsonl\n")
    (folder / "sets.mcd").write_text('mcd 1\nspan cat = phrases("cat")\n')
    git(tmp_path / "work", "init", "-q", "-b", "trunk")
    git(tmp_path / "work", "add", ".")
    git(tmp_path / "work", "commit", "-q", "-m", "one")
    (folder / "sets.mcd").write_text('mcd 1\nspan cat = phrases("cat", "bird")\n')
    path.write_text(path.read_text().replace("factor = 2", "factor = 3"))
    git(tmp_path / "work", "commit", "-q", "-a", "-m", "two")
    monkeypatch.chdir(folder)
    return path


def test_two_files(tmp_path):
    path = project(tmp_path, 'source s = [{text: "cat"}] { text = "{.text}" }\n')
    other = path.with_name("other.mcd")
    other.write_text(path.read_text().replace("context = 16", "context = 8").replace("layers = 4", "layers = 6"))
    code, out, _ = run("diff", path, other)
    assert (code, out) == (
        0,
        "the shards are compiled again\n  model: context 16 -> 8\nonly the plan changes\n  model: layers 4 -> 6\n",
    )
    assert run("diff", path, other, "--exit-code")[0] == 1
    assert run("diff", path, path, "--exit-code") == (0, "no change in meaning\n", "")


def test_a_revision_has_its_own_imports_and_todays_data(repository):
    code, out, err = run("diff", "HEAD~1:spec.mcd", "spec.mcd", "--format", "json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["version"] == 1
    assert [(c["effect"], c["subject"], c["fact"]) for c in found["changes"]] == [
        ("shards", "set sets.cat", "redefined: a set that it reads is another"),
        ("plan", "rule boost", "factor 2 -> 3"),
    ]
    assert found["changes"][1]["line"]["file"] == "spec.mcd"
    assert run("diff", "HEAD:spec.mcd", "spec.mcd")[1] == "no change in meaning\n"


def test_breaking_fails_where_a_column_is_gone(repository):
    assert run("breaking", "--against", "HEAD~1", "spec.mcd")[:2] == (0, "no change in meaning\n")
    text = repository.read_text()
    repository.write_text(text[: text.index("signal kind")])
    code, out, _ = run("breaking", "--against", "HEAD", "spec.mcd")
    assert code == 1
    assert out.splitlines() == [
        "breaking for readers of the shards",
        "  column span.at.index: no longer stored",
        "  column field.kind: no longer stored",
    ]


def test_a_new_spec_breaks_nothing(repository):
    shutil.copy("spec.mcd", "new.mcd")
    assert run("breaking", "--against", "HEAD", "new.mcd")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("diff", "nope:spec.mcd", "spec.mcd"), "no such revision"),
        (("diff", "HEAD:none.mcd", "spec.mcd"), "`none.mcd` is not in HEAD"),
        (("diff", "--upload-pack=x:spec.mcd", "spec.mcd"), "No such option"),
        (("breaking", "--against", "nope", "spec.mcd"), "git"),
    ],
)
def test_what_git_does_not_know_is_wrong_usage(repository, arguments, said):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "") and said in err


def test_a_spec_with_errors_is_no_side(repository):
    repository.write_text(repository.read_text().replace("sets.cat", "sets.dog"))
    code, out, err = run("diff", "HEAD:spec.mcd", "spec.mcd")
    assert (code, out) == (1, "") and err.startswith("spec.mcd:\n") and "MCD209" in err
