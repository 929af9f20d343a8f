"""`mcd compile --allow-remote` as a user sees it: from a bucket, to a bucket."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from mcd.cli.main import mcd

from ..projects import project
from .stores import Bucket

SPEC = """source s = jsonl("data/*.jsonl") { text = .text }
span cat = phrases("cat")
weigh cat { factor = 2 }
"""


def run(*arguments):
    result = CliRunner().invoke(mcd, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def spec(tmp_path: Path, bucket: Bucket) -> Path:
    """A project whose data, and whose datasets, lie in a bucket."""
    bucket.write("in/a.jsonl", b'{"text": "the cat saw a cat"}\n' * 20)
    path = project(tmp_path, SPEC)
    (tmp_path / "mcd.toml").write_text(
        f'[remote.data]\nurl = "{bucket.url}/in"\nendpoint_url = "{bucket.endpoint}"\n'
        f'[remote.datasets]\nurl = "{bucket.url}/out"\nendpoint_url = "{bucket.endpoint}"\n'
    )
    return path


def visible(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files if not path.name.startswith(".")}


def held(bucket: Bucket, prefix: str) -> dict[str, bytes]:
    names = {name for name in bucket.names() if name.startswith(prefix)}
    return {name.removeprefix(prefix): bucket.files.cat_file(f"{bucket.name}/{name}") for name in names}


def test_from_a_bucket_to_a_bucket(spec, bucket, tmp_path):
    code, out, err = run("compile", spec, "-o", f"{bucket.url}/out/run", "--allow-remote")
    assert (code, err) == (0, "")
    assert out.startswith(f"{bucket.url}/out/run: 1 shards; train 20 records, ")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.jsonl").write_bytes(b'{"text": "the cat saw a cat"}\n' * 20)
    assert run("compile", spec, "-o", tmp_path / "local")[0] == 0
    assert held(bucket, "out/run/") == visible(tmp_path / "local")


def test_the_folder_of_work_is_kept_and_used_again(spec, bucket, tmp_path):
    target = ("compile", spec, "-o", f"{bucket.url}/out/run", "--allow-remote", "--work", tmp_path / "work")
    assert run(*target)[0] == 0
    assert "plan written, shards kept" in run(*target)[1]
    assert held(bucket, "out/run/") == visible(tmp_path / "work")
    bucket.write("in/b.jsonl", b'{"text": "a dog"}\n')
    code, _, err = run(*target)
    assert code == 1 and "error[MCD285]" in err and "another dataset lies there" in err


def test_shares_of_array_jobs(spec, bucket, tmp_path):
    target = ("compile", spec, "-o", f"{bucket.url}/out/run", "--allow-remote", "--work", tmp_path / "work")
    for part in range(2):
        code, out, _ = run(*target, "--task", part, "--of", 2)
        assert code == 0 and out.startswith(f"{bucket.url}/out/run: share {part} of 2")
    assert "out/run/manifest.json" not in bucket.names()
    assert run(*target, "--finish")[0] == 0
    assert held(bucket, "out/run/") == visible(tmp_path / "work")


def test_several_tasks(spec, bucket, tmp_path, monkeypatch):
    """Of several files: a task each, as many as there are cores."""
    for name in "bcd":
        bucket.write(f"in/{name}.jsonl", b'{"text": "a cat ran"}\n' * 5)
    code, out, err = run("compile", spec, "-o", tmp_path / "out", "--allow-remote", "--workers", 2)
    assert (code, err) == (0, "") and "4 shards; train 35 records" in out
    code, out, err = run("compile", spec, "-o", tmp_path / "one", "--allow-remote", "--workers", 1)
    assert (code, err) == (0, "") and visible(tmp_path / "one") == visible(tmp_path / "out")


def test_nothing_remote_without_leave(spec, bucket, tmp_path):
    code, _, err = run("compile", spec, "-o", tmp_path / "out")
    assert code == 1 and "error[MCD525]" in err and "--allow-remote" in err
    code, _, err = run("compile", spec, "-o", f"{bucket.url}/out/run")
    assert code == 1 and "error[MCD284]" in err
    code, out, _ = run("check", spec)
    assert code == 0, out
    code, out, err = run("check", "--data", spec)
    assert code == 1 and "MCD525" in out + err


def test_wrong_usage(spec, bucket, tmp_path):
    url = f"{bucket.url}/out/run"
    code, _, err = run("compile", spec, "-o", tmp_path / "out", "--work", tmp_path / "work")
    assert code == 2 and "--work goes with a URL" in err
    code, _, err = run("compile", spec, "-o", url, "--allow-remote", "--task", 0, "--of", 2)
    assert code == 2 and "need --work DIR" in err
    code, _, err = run("compile", spec, "-o", "gs://bucket/x", "--allow-remote")
    assert code == 1 and "error[MCD282]" in err


def test_a_spec_names_no_url(tmp_path, bucket):
    path = project(tmp_path, SPEC.replace("data/*.jsonl", f"{bucket.url}/in/*.jsonl"))
    code, _, err = run("compile", path, "-o", tmp_path / "out", "--allow-remote")
    assert code == 1 and "error[MCD219]" in err


def test_nothing_of_it_is_imported_where_nothing_is_remote():
    program = "import sys, mcd.cli.compile, mcd.compiler.remote; print(sorted({'fsspec', 's3fs', 'aiohttp'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
