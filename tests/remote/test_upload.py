"""Datasets put below a URL: complete with the manifest, resumed, written once, the same to all who put the same."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import pytest

from mcd.compiler.compile import compile_program
from mcd.compiler.files import remote
from mcd.compiler.files.remote import upload
from mcd.dsl.diagnostics import Failure

from ..projects import checked, project
from .stores import Bucket, proxied

pytestmark = pytest.mark.slow

SPEC = """
source s = jsonl("data.jsonl") { text = .text  id = .id  split = hash(train: 50%, valid: 50%) }
span cat = phrases("cat")
concept c { spans = cat  anchor = orthonormal }
signal near: cat { layers = 2  toward = c.anchor }
"""
RECORDS = [{"id": str(at), "text": "the cat saw a bird"} for at in range(200)]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`one`, a dataset of two shards, with anchors and a measure, and `two`, of one shard."""
    folder = tmp_path_factory.mktemp("made")
    compile_program(checked(project(folder, SPEC, RECORDS)), folder / "one")
    (folder / "one/measures").mkdir()
    (folder / "one/measures/reference.00000.arrow").write_bytes(b"measured")
    (folder / "one/measures/.half").write_bytes(b"being written")
    compile_program(
        checked(project(folder, SPEC.replace("train: 50%, valid: 50%", "train: 100%"), RECORDS)), folder / "two"
    )
    return folder


@pytest.fixture
def out(made: Path, tmp_path: Path) -> Path:
    """The first of them, to be spoilt."""
    return shutil.copytree(made / "one", tmp_path / "out")


def options(bucket: Bucket) -> tuple[tuple[str, str], ...]:
    return (("endpoint_url", bucket.endpoint),)


def contents(bucket: Bucket, prefix: str) -> dict[str, bytes]:
    return {
        key.removeprefix(prefix): bucket.files.cat_file(f"{bucket.name}/{key}")
        for key in bucket.names()
        if key.startswith(prefix)
    }


def visible(out: Path) -> dict[str, bytes]:
    files = (path for path in out.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in files}


def puts(proxy) -> list[str]:
    return [path.partition("/run/")[2].partition("?")[0] for method, path in proxy.seen if method in ("PUT", "POST")]


def only(caught: pytest.ExceptionInfo[Failure]):
    (found,) = caught.value.diagnostics
    return found


def test_everything_is_there_and_the_manifest_is_last(out, bucket):
    told = []
    with proxied(bucket) as proxy:
        at = (("endpoint_url", proxy.endpoint),)
        assert upload(out, f"{bucket.url}/run", at, lambda done, total: told.append((done, total))) is True
        order = puts(proxy)
    assert contents(bucket, "run/") == visible(out)
    first = ["shards/train/00000.arrow", "shards/valid/00000.arrow"]
    assert order == [*first, *sorted(set(visible(out)) - {*first, "manifest.json"}), "manifest.json"]
    assert told == [(at, len(order) - 1) for at in range(1, len(order))]


def test_the_same_again_is_nothing_to_do(out, bucket):
    upload(out, f"{bucket.url}/run", options(bucket))
    with proxied(bucket) as proxy:
        assert upload(out, f"{bucket.url}/run/", (("endpoint_url", proxy.endpoint),)) is False
        assert not puts(proxy)


def test_another_dataset_is_refused(made, out, bucket):
    upload(out, f"{bucket.url}/run", options(bucket))
    before = contents(bucket, "run/")
    with pytest.raises(Failure) as caught:
        upload(made / "two", f"{bucket.url}/run", options(bucket))
    assert only(caught).code.id == "MCD285" and only(caught).help == "choose another URL"
    assert contents(bucket, "run/") == before


def test_a_prefix_with_anything_else_is_refused(out, bucket):
    bucket.write("run/notes.txt", b"mine")
    bucket.write("run-2/x", b"not below it")
    with pytest.raises(Failure) as caught:
        upload(out, f"{bucket.url}/run", options(bucket))
    assert only(caught).code.id == "MCD285" and "`notes.txt`" in only(caught).message
    assert bucket.names() == {"run/notes.txt", "run-2/x"}


@pytest.mark.parametrize("stop", range(6))
def test_a_stopped_upload_is_resumed(out, bucket, stop):
    """Stopped at every put: there is no manifest, and the next call puts what is missing."""
    with proxied(bucket) as proxy:
        at = (("endpoint_url", proxy.endpoint),)

        def fault(method: str, path: str, number: int) -> str | None:
            return "refuse" if method == "PUT" and len(puts(proxy)) > stop else None

        proxy.fault = fault
        with pytest.raises(Failure) as caught:
            upload(out, f"{bucket.url}/run", at)
        assert only(caught).code.id == "MCD528"
        assert len(contents(bucket, "run/")) == stop and "run/manifest.json" not in bucket.names()
        proxy.fault = lambda method, path, number: None
        proxy.seen.clear()
        assert upload(out, f"{bucket.url}/run", at) is True
        assert len(puts(proxy)) == len(visible(out)) - stop
    assert contents(bucket, "run/") == visible(out)


@pytest.mark.parametrize("left", [b"", b"shorter", None])
def test_what_was_left_wrong_is_put_again(out, bucket, left):
    """None: of the same size, and other content."""
    shard = out / "shards/train/00000.arrow"
    bucket.write("run/shards/train/00000.arrow", bytes(shard.stat().st_size) if left is None else left)
    upload(out, f"{bucket.url}/run", options(bucket))
    assert contents(bucket, "run/") == visible(out)


def test_large_files_go_in_parts_and_are_known_by_them(out, bucket, monkeypatch):
    monkeypatch.setattr(remote, "PART", 5 << 20)
    monkeypatch.setattr(remote, "_BLOCK", 1 << 18)
    for name, size in {"edge": 10 << 20, "below": (10 << 20) - 1, "odd": (11 << 20) + 7}.items():
        (out / "measures" / name).write_bytes(bytes(range(256)) * (size // 256) + bytes(size % 256))
    with proxied(bucket) as proxy:
        at = (("endpoint_url", proxy.endpoint),)
        proxy.fault = lambda method, path, number: (
            "refuse" if path.startswith(f"/{bucket.name}/run/manifest") and method == "PUT" else None
        )
        with pytest.raises(Failure):
            upload(out, f"{bucket.url}/run", at)
        assert any(method == "POST" for method, _ in proxy.seen)
        proxy.fault = lambda method, path, number: None
        proxy.seen.clear()
        upload(out, f"{bucket.url}/run", at)
        assert puts(proxy) == ["manifest.json"]
    assert contents(bucket, "run/") == visible(out)


def test_many_put_the_same_at_once(out, bucket):
    failures: list[Failure] = []

    def put() -> None:
        try:
            upload(out, f"{bucket.url}/run", at)
        except Failure as failure:
            failures.append(failure)

    with proxied(bucket) as proxy:
        at = (("endpoint_url", proxy.endpoint),)
        threads = [threading.Thread(target=put) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not failures and contents(bucket, "run/") == visible(out)


@pytest.mark.parametrize("late", [False, True])
def test_another_dataset_that_comes_in_between(made, out, bucket, late):
    """It is seen before the manifest is put, or, `late`, by the manifest itself; what the other wrote stays."""
    second = made / "two"
    with proxied(bucket) as proxy:

        def fault(method: str, path: str, number: int) -> None:
            last = "manifest.json" if late else "program.json"
            if method == "PUT" and path.partition("?")[0].endswith(last):
                proxy.fault = lambda method, path, number: None
                for file, content in visible(second).items():
                    bucket.write(f"run/{file}", content)

        proxy.fault = fault
        with pytest.raises(Failure) as caught:
            upload(out, f"{bucket.url}/run", (("endpoint_url", proxy.endpoint),))
    assert only(caught).code.id == ("MCD285" if late else "MCD286")
    assert contents(bucket, "run/")["manifest.json"] == (second / "manifest.json").read_bytes()


@pytest.mark.parametrize("what", ["flipped", "shorter", "gone", "no manifest", "a broken manifest", "a link"])
def test_no_whole_dataset_is_put(out, bucket, what):
    shard = out / "shards/train/00000.arrow"
    content = shard.read_bytes()
    match what:
        case "flipped":
            shard.write_bytes(content[:1000] + bytes([content[1000] ^ 1]) + content[1001:])
        case "shorter":
            shard.write_bytes(content[:-1])
        case "gone":
            shard.unlink()
        case "no manifest":
            (out / "manifest.json").unlink()
        case "a broken manifest":
            (out / "manifest.json").write_text(json.dumps({"format": 1}))
        case "a link":
            shutil.move(shard, out.parent / "elsewhere.arrow")
            shard.symlink_to(out.parent / "elsewhere.arrow")
    with pytest.raises(Failure) as caught:
        upload(out, f"{bucket.url}/run", options(bucket))
    codes = {"gone": "MCD602", "a link": "MCD602", "no manifest": "MCD601", "a broken manifest": "MCD607"}
    assert only(caught).code.id == codes.get(what, "MCD604")
    assert not bucket.names()


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://127.0.0.1/x", "MCD282"),
        ("gs://b/x", "MCD282"),
        ("file:///tmp/x", "MCD282"),
        ("s3://user:hunter2@b/x", "MCD281"),
        ("s3://b/x?X-Amz-Signature=hunter2", "MCD281"),
        ("s3://", "MCD280"),
        ("s3://b/../x", "MCD280"),
    ],
)
def test_urls_that_no_dataset_goes_to(out, url, code):
    with pytest.raises(Failure) as caught:
        upload(out, url)
    assert only(caught).code.id == code and "hunter2" not in only(caught).message


def test_a_store_that_refuses(out, bucket):
    with proxied(bucket) as proxy:
        proxy.fault = lambda method, path, number: "refuse"
        with pytest.raises(Failure) as caught:
            upload(out, f"{bucket.url}/run", (("endpoint_url", proxy.endpoint),))
    assert only(caught).code.id == "MCD528" and only(caught).message.startswith(
        f"`{bucket.url}/run/manifest.json`: access denied"
    )
