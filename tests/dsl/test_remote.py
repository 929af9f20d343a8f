"""Remote folders of a project: what is read of them, and what is wrong with them, without a network."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcd.dsl.check import check
from mcd.dsl.codes import project
from mcd.dsl.diagnostics import Findings
from mcd.dsl.lint.project import read_project
from mcd.dsl.remote import read_remotes
from mcd.dsl.render import render_text
from mcd.dsl.source import DataPlace, Place

from ..projects import project as lay_out


def read(tmp_path: Path, mcd: str):
    (tmp_path / "mcd.toml").write_text(mcd)
    findings = Findings()
    remotes = read_remotes(tmp_path, findings)
    read_project(tmp_path, findings)
    return remotes, findings.items


def test_what_is_read(tmp_path: Path) -> None:
    text = """[remote.data]
url = "s3://bucket/some/prefix/"
endpoint_url = "http://localhost:9000/"
region = "eu-central-1"
anon = true
timeout = 2.5
[remote."below/web"]
url = "https://example.org/files"
[remote.other]
url = "hf://datasets/me/mine"
mount = "third/./folder/"
"""
    (data, web, other), found = read(tmp_path, text)
    assert not found
    assert (data.folder, data.url) == (tmp_path / "data", "s3://bucket/some/prefix")
    wanted = {"endpoint_url": "http://localhost:9000/", "region": "eu-central-1", "anon": True, "timeout": 2.5}
    assert dict(data.options) == wanted
    assert (web.folder, web.options) == (tmp_path / "below/web", ())
    assert other.folder == tmp_path / "third/folder"


def test_in_pyproject(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.mcd.remote.data]\nurl = "s3://bucket"\n')
    findings = Findings()
    (remote,) = read_remotes(tmp_path, findings)
    assert remote.url == "s3://bucket" and not findings.items


URL = 'url = "s3://bucket/a"\n'


@pytest.mark.parametrize(
    ("text", "code", "marked", "message"),
    [
        ("remote = 1\n", project.BAD_REMOTE, "remote", "is a table of tables, found int"),
        ("[remote]\ndata = 1\n", project.BAD_REMOTE, "data", "`data` is a table with a `url`, found int"),
        ("[remote.data]\n", project.BAD_REMOTE, "[remote.data]", "has to have `url`, a string, found nothing"),
        ("[remote.data]\nurl = 1\n", project.BAD_REMOTE, "url", "has to have `url`, a string, found int"),
        ('[remote.data]\nurl = "bucket/a"\n', project.REMOTE_SCHEME, "url", "`` is no scheme"),
        ('[remote.data]\nurl = "file:///tmp"\n', project.REMOTE_SCHEME, "url", "`file` is no scheme"),
        ('[remote.data]\nurl = "simplecache::s3://b"\n', project.REMOTE_SCHEME, "url", "is no scheme"),
        ('[remote.data]\nurl = "s3://b//c"\n', project.BAD_REMOTE, "url", "names no folder"),
        ('[remote.data]\nurl = "s3://b/../c"\n', project.BAD_REMOTE, "url", "names no folder"),
        ('[remote.data]\nurl = "s3://b/*"\n', project.BAD_REMOTE, "url", "names no folder"),
        ('[remote.data]\nurl = "s3://"\n', project.BAD_REMOTE, "url", "names no folder"),
        (f'[remote.data]\n{URL}mount = "../x"\n', project.BAD_REMOTE, '"../x"', "no folder below the project root"),
        (f'[remote.data]\n{URL}mount = "/x"\n', project.BAD_REMOTE, '"/x"', "no folder below the project root"),
        (f'[remote.data]\n{URL}mount = "."\n', project.BAD_REMOTE, '"."', "no folder below the project root"),
        (f'[remote.a]\n{URL}[remote."a/b"]\n{URL}', project.BAD_REMOTE, '[remote."a/b"]', "one lies in the other"),
        (f"[remote.data]\n{URL}regoin = 'x'\n", project.BAD_REMOTE, "regoin", "`data` has no key `regoin`"),
        (f"[remote.data]\n{URL}region = 1\n", project.BAD_REMOTE, "region", "a string, found int"),
        (f"[remote.data]\n{URL}anon = 'yes'\n", project.BAD_REMOTE, "anon", "true or false, found str"),
        (f"[remote.data]\n{URL}timeout = true\n", project.BAD_REMOTE, "timeout", "a number of seconds, found bool"),
        (f"[remote.data]\n{URL}timeout = 0\n", project.BAD_REMOTE, "timeout", "above 0"),
        (f"[remote.data]\n{URL}timeout = nan\n", project.BAD_REMOTE, "timeout", "above 0"),
        (f"[remote.data]\n{URL}endpoint_url = 'ftp://x'\n", project.REMOTE_SCHEME, "endpoint_url", "URL of a server"),
        ('[remote.data]\nurl = "https://b/c"\nanon = true\n', project.BAD_REMOTE, "anon", "has no key `anon`"),
        ("[remote]\ndata.url = 's3://b'\n[chekc]\n", project.UNKNOWN_KEY, "[chekc]", "no key `chekc`"),
    ],
)
def test_what_is_wrong_has_its_place(tmp_path: Path, text: str, code: object, marked: str, message: str) -> None:
    _, (only,) = read(tmp_path, text)
    assert isinstance(only.place, Place)
    assert (only.code, only.place.source.path, only.place.text) == (code, "mcd.toml", marked)
    assert message in only.message


@pytest.mark.parametrize(
    "line",
    [
        'secret = "hunter2"',
        'key = "hunter2"',
        'aws_access_key = "hunter2"',
        'session_token = "hunter2"',
        'password = "hunter2"',
        'sas_url = "hunter2"',
        'url = "s3://me:hunter2@bucket/a"',
        'url = "https://example.org/a?sig=hunter2"',
        'url = "https://example.org/a#hunter2"',
        'endpoint_url = "https://me:hunter2@example.org"',
    ],
)
def test_a_secret_is_refused_and_not_shown(tmp_path: Path, line: str) -> None:
    url = "" if line.startswith("url") else URL
    _, (only,) = read(tmp_path, f"[remote.data]\n{url}{line}\n")
    assert only.code is project.REMOTE_SECRET
    assert only.place == DataPlace("mcd.toml", 2 + bool(url))
    assert "hunter2" not in render_text([only])


SOURCE = 'source s = jsonl("PATTERN") { text = .text }\nspan cat = phrases("cat")\nweigh cat { factor = 2 }\n'


def found(tmp_path: Path, pattern: str, table: str):
    path = lay_out(tmp_path, SOURCE.replace("PATTERN", pattern))
    (tmp_path / "mcd.toml").write_text(table)
    return check(path)


DATA = '[remote."data/web"]\nurl = "s3://bucket"\n'


@pytest.mark.parametrize(
    ("pattern", "parts"),
    [
        ("data/web/a.jsonl", ("a.jsonl",)),
        ("data/web/*/[ab]?.jsonl", ("*", "[ab]?.jsonl")),
        ("data/other/../web/**/*.jsonl", ("**", "*.jsonl")),
        ("./data/web//x/*.jsonl", ("x", "*.jsonl")),
    ],
)
def test_a_pattern_below_a_remote_folder(tmp_path: Path, pattern: str, parts: tuple[str, ...]) -> None:
    program, findings = found(tmp_path, pattern, DATA)
    assert program is not None and not findings.items
    (source,) = program.sources
    (only,) = source.patterns
    assert source.amount == "files below s3://bucket"
    assert (only.parts, only.written, only.here, source.files) == (parts, pattern, False, ())


def test_a_copy_is_found(tmp_path: Path) -> None:
    (tmp_path / "data/web").mkdir(parents=True)
    (tmp_path / "data/web/a.jsonl").touch()
    program, _ = found(tmp_path, "data/web/*.jsonl", DATA)
    assert program is not None
    assert program.sources[0].files == (tmp_path / "data/web/a.jsonl",) and program.sources[0].patterns[0].here


@pytest.mark.parametrize(
    "pattern",
    ["*/web/a.jsonl", "data/*/a.jsonl", "**/*.jsonl", "data/**/a.jsonl", "data/w?b/**/x", "*/*/*", "**/web/**/a.jsonl"],
)
def test_a_wildcard_above_a_remote_folder(tmp_path: Path, pattern: str) -> None:
    _, findings = found(tmp_path, pattern, DATA)
    (only,) = findings.items
    assert only.code is project.REMOTE_WILDCARD and only.place.text == f'"{pattern}"'
    assert "would reach into the remote folder `data/web`" in only.message


@pytest.mark.parametrize(
    "pattern", ["data/*.jsonl", "*/*.jsonl", "data/webs/*.jsonl", "data/[xy]*/*.jsonl", "data.jsonl"]
)
def test_other_patterns_are_local_as_ever(tmp_path: Path, pattern: str) -> None:
    _, findings = found(tmp_path, pattern, DATA)
    assert [item.code.id for item in findings.items] == ["MCD219"]


def test_a_server_that_lists_nothing(tmp_path: Path) -> None:
    table = DATA.replace("s3://bucket", "https://example.org/web")
    program, findings = found(tmp_path, "data/web/a.jsonl", table)
    assert program is not None and not findings.items
    _, findings = found(tmp_path, "data/web/*.jsonl", table)
    assert [item.code.id for item in findings.items] == ["MCD283"] and "cannot list" in findings.items[0].message


def test_a_wrong_table_is_said_once(tmp_path: Path) -> None:
    _, findings = found(tmp_path, "data/web/*.jsonl", DATA.replace("s3:", "file:"))
    assert [item.code.id for item in findings.items] == ["MCD282"]


def test_patterns_that_leave_the_root_do_so_still(tmp_path: Path) -> None:
    _, findings = found(tmp_path, "data/web/../../../x.jsonl", DATA)
    assert [item.code.id for item in findings.items] == ["MCD202"]
