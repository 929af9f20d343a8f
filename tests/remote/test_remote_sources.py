"""Sources below URLs: the same bytes as from a copy in the project, and one line about whatever a store does wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mcd.compiler.compile import compile_program
from mcd.compiler.remote import looked_up, store_of
from mcd.dsl.check import check
from mcd.dsl.diagnostics import Failure

from ..projects import checked, project
from .stores import Bucket, proxied

SENTENCE = """# text = the cat saw
1 the the DET _ _ 2 det _ _
2 cat cat NOUN _ _ 3 nsubj _ _
3 saw see VERB _ _ 0 root _ _
""".replace(" ", "\t").replace("#\ttext\t=\tthe\tcat\tsaw", "# text = the cat saw")
FORMATS = """
source lines = jsonl("data/lines/**/*.jsonl", "data/one file.jsonl") { text = .text  id = .id }
source columns = parquet("data/*.parquet") { text = .text  split = .split }
source cells = csv("data/*.csv") { text = .text }
source batches = arrow("data/*.arrow") { text = .text }
source words = conllu("data/*.conllu") { text = .text }
source here = jsonl("here.jsonl") { text = .text }
span cat = phrases("cat")
weigh cat { factor = 2 }
"""


def records(name: str, count: int) -> list[dict]:
    return [
        {"id": f"{name}/{i}", "text": f"the cat saw {'a red bird ' * (i % 4)}", "split": "train" if i % 3 else "valid"}
        for i in range(count)
    ]


def lay_out(data: Path) -> None:
    """A file of every format, and names that are paths, if odd ones."""
    for name in (
        "lines/a.jsonl",
        "lines/b/c d.jsonl",
        "lines/b/e/ü%41+#&?.jsonl",
        "lines/Z.jsonl",
        "lines/.hidden.jsonl",
        "one file.jsonl",
    ):
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_text("".join(json.dumps(each) + "\n" for each in records(name, 40)))
    (data / "lines/b/not.json").write_text("{}")
    table = pa.Table.from_pylist(records("t", 300))
    pq.write_table(table, data / "t.parquet", row_group_size=50)
    with pa.ipc.new_file(data / "file.arrow", table.schema) as file:
        file.write_table(table, max_chunksize=40)
    with pa.ipc.new_stream(data / "stream.arrow", table.schema) as stream:
        stream.write_table(table, max_chunksize=40)
    (data / "cells.csv").write_text("id,text\n" + "".join(f"{i},the dog ran off\n" for i in range(50)))
    (data / "words.conllu").write_text((SENTENCE + "\n") * 30)


def declare(root: Path, bucket: Bucket, prefix: str = "", **options: str | float) -> None:
    lines = [
        f'url = "{bucket.url}/{prefix}"',
        f'endpoint_url = "{bucket.endpoint}"',
        *(f"{k} = {json.dumps(v)}" for k, v in options.items()),
    ]
    (root / "mcd.toml").write_text("[remote.data]\n" + "\n".join(lines) + "\n")


def written(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def compiled(path: Path, out: Path) -> dict[str, bytes]:
    compile_program(looked_up(checked(path)), out)
    return written(out)


def only(caught: pytest.ExceptionInfo[Failure]):
    (found,) = caught.value.diagnostics
    return found


def test_the_same_bytes_from_a_copy_and_from_a_bucket(tmp_path, bucket):
    data = tmp_path / "data"
    lay_out(data)
    (tmp_path / "here.jsonl").write_text('{"text": "it ran"}\n')
    path = project(tmp_path, FORMATS)
    declare(tmp_path, bucket, "some/prefix/")
    compile_program(checked(path), tmp_path / "local")
    bucket.put(data, "some/prefix/")
    bucket.write("some/prefix-of-others/x.parquet", b"no")
    shutil.rmtree(data)
    local = written(tmp_path / "local")
    assert compiled(path, tmp_path / "remote") == local
    inputs = [each["path"] for each in json.loads(local["manifest.json"])["inputs"]]
    assert "data/lines/b/e/ü%41+#&?.jsonl" in inputs and "data/lines/.hidden.jsonl" in inputs


def test_a_copy_in_the_project_is_read_without_leave_and_not_with_it(tmp_path, bucket):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.jsonl").write_text('{"text": "the cat"}\n')
    path = project(
        tmp_path,
        'source s = jsonl("data/*.jsonl") { text = .text }\nspan cat = phrases("cat")\nweigh cat { factor = 2 }\n',
    )
    declare(tmp_path, bucket)
    bucket.write("a.jsonl", b'{"text": "the cat"}\n')
    bucket.write("b.jsonl", b'{"text": "the cat"}\n' * 2)
    assert compile_program(checked(path), tmp_path / "local").manifest.records == {"train": 1}
    assert compile_program(looked_up(checked(path)), tmp_path / "remote").manifest.records == {"train": 3}


ONE = 'source s = jsonl("data/a.jsonl") { text = .text }\nspan cat = phrases("cat")\nweigh cat { factor = 2 }\n'
ALL = ONE.replace("a.jsonl", "*.jsonl")


@pytest.mark.parametrize("spec", [ONE, ALL])
def test_without_leave_and_without_a_copy(tmp_path, bucket, spec):
    path = project(tmp_path, spec)
    declare(tmp_path, bucket)
    program, findings = check(path)
    assert program is not None and not findings.items
    with pytest.raises(Failure) as caught:
        compile_program(program, tmp_path / "out")
    found = only(caught)
    assert (
        found.code.id == "MCD525"
        and found.place.text == spec[spec.index('"') : spec.index('"', spec.index('"') + 1) + 1]
    )
    assert f"below `{bucket.url}`" in found.message and "--allow-remote" in found.help


@pytest.mark.parametrize("spec", [ONE, ALL])
def test_nothing_there(tmp_path, bucket, spec):
    path = project(tmp_path, spec)
    declare(tmp_path, bucket)
    bucket.write("a.json", b"")
    bucket.write("below/a.jsonl", b"")
    with pytest.raises(Failure) as caught:
        looked_up(checked(path))
    assert only(caught).code.id == "MCD529" and "matches no file below `s3://" in only(caught).message


def test_no_such_bucket(tmp_path, bucket):
    path = project(tmp_path, ALL)
    declare(tmp_path, bucket)
    text = (tmp_path / "mcd.toml").read_text().replace(bucket.name, "no-such-bucket")
    (tmp_path / "mcd.toml").write_text(text)
    with pytest.raises(Failure) as caught:
        looked_up(checked(path))
    assert only(caught).code.id == "MCD529"


@pytest.mark.slow
def test_more_files_than_a_page_of_a_listing(tmp_path, bucket):
    for at in range(1203):
        bucket.write(f"{at % 2}/{at:04}.jsonl", b'{"text": "cat"}\n')
    store = store_of(bucket.url, (("endpoint_url", bucket.endpoint),))
    assert len(list(store.expand(("*", "*.jsonl")))) == len(list(store.expand(("**", "*.jsonl")))) == 1203
    for at in range(1100):
        bucket.write(f"flat/{at:04}.jsonl", b"{}")
    assert len(list(store.expand(("flat", "*")))) == 1100


@pytest.mark.parametrize(
    "parts",
    [
        ("*",),
        ("*", "*"),
        ("**", "*.txt"),
        ("a", "**", "b.txt"),
        ("**", "a", "*"),
        ("[ab]", "?.txt"),
        ("**", "**", "c"),
        ("a", "*", "b.txt"),
        ("**",),
        ("a", "b.txt"),
        ("*", "b.txt"),
        ("a", "**"),
    ],
)
def test_patterns_match_as_they_do_on_disk(tmp_path, bucket, parts):
    names = [
        "x",
        "a/b.txt",
        "a/c",
        "b/a/b.txt",
        "b/a/c",
        "a/a/a/b.txt",
        "a/.b/b.txt",
        ".a/b.txt",
        "A/b.txt",
        "a/b c/[d]",
        "c",
    ]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
        bucket.write(f"p/{name}", b"-")
    bucket.write("p/folder/", b"")
    bucket.write("pp/x", b"-")
    store = store_of(f"{bucket.url}/p", (("endpoint_url", bucket.endpoint),))
    found = sorted(store.expand(parts))
    wanted = sorted(
        {path.relative_to(tmp_path).as_posix() for path in tmp_path.glob("/".join(parts)) if path.is_file()}
    )
    assert sorted(set(found)) == found == wanted


@pytest.mark.parametrize("key", ["a//b.jsonl", "../b.jsonl", "a/../../b.jsonl", "./b.jsonl", "/b.jsonl"])
def test_a_name_that_is_no_path(tmp_path, bucket, key):
    bucket.write(f"p/{key}", b"{}")
    store = store_of(f"{bucket.url}/p", (("endpoint_url", bucket.endpoint),))
    with pytest.raises(Failure) as caught:
        list(store.expand(("**", "*.jsonl")))
    assert only(caught).code.id == "MCD530"


# --- what goes wrong -------------------------------------------------------------------------------------------------


LINES = b'{"text": "the cat saw a red bird and it ran off because of rain"}\n' * 40_000
"""2.6 MB."""


def remote_project(tmp_path: Path, bucket: Bucket, endpoint: str, **options: str | float) -> Path:
    path = project(tmp_path, ONE)
    bucket.write("a.jsonl", LINES)
    declare(tmp_path, Bucket(endpoint, bucket.name, bucket.files), **options)
    return path


FAULTS = {
    "refuse": ("MCD528", "access denied"),
    "missing": ("MCD529", "nothing is there"),
    "broken": ("MCD527", "InternalError"),
    "close": ("MCD527", "the request failed"),
}


RETRIED = [pytest.param(fault, marks=[pytest.mark.slow] * (fault == "close")) for fault in FAULTS]


@pytest.mark.parametrize("fault", RETRIED)
@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_what_a_store_refuses(tmp_path, bucket, fault, method):
    with proxied(bucket) as proxy:
        path = remote_project(tmp_path, bucket, proxy.endpoint)
        program = looked_up(checked(path))
        proxy.fault = lambda m, p, n: fault if m == method else None
        with pytest.raises(Failure) as caught:
            compile_program(program, tmp_path / "out")
    found = only(caught)
    code, words = FAULTS[fault]
    if (method, fault) == ("HEAD", "broken"):
        words = "Internal Server Error"  # an answer to HEAD has no text
    assert found.code.id == code, found.message
    assert (
        "Errno" not in found.message
        and found.message.startswith(f"`{bucket.url}/a.jsonl`: ")
        and words in found.message
    )
    assert not (tmp_path / "out").exists()


def test_a_listing_that_is_refused(tmp_path, bucket):
    with proxied(bucket) as proxy:
        path = project(tmp_path, ALL)
        declare(tmp_path, Bucket(proxy.endpoint, bucket.name, bucket.files))
        proxy.fault = lambda method, path, number: "refuse"
        with pytest.raises(Failure) as caught:
            looked_up(checked(path))
    assert only(caught).code.id == "MCD528" and only(caught).message.startswith(f"`{bucket.url}`: access denied")


def test_a_store_that_passes_what_was_busy_for_a_while(tmp_path, bucket):
    with proxied(bucket) as proxy:
        path = remote_project(tmp_path, bucket, proxy.endpoint)
        proxy.fault = lambda method, path, number: "busy" if method == "GET" and number % 3 == 1 else None
        assert compiled(path, tmp_path / "out")
        answered = [method for method, _ in proxy.seen]
    assert len(answered) > 4


def test_a_body_cut_once_is_fetched_again(tmp_path, bucket):
    cut = []

    def fault(method: str, path: str, number: int) -> str | None:
        if method != "GET" or cut:
            return None
        cut.append(path)
        return "truncate"

    with proxied(bucket) as proxy:
        path = remote_project(tmp_path, bucket, proxy.endpoint)
        proxy.fault = fault
        through = compiled(path, tmp_path / "out")
    assert cut
    declare(tmp_path, bucket)
    assert compiled(path, tmp_path / "again") == through


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["truncate", "stall", "busy"])
def test_a_store_that_never_recovers(tmp_path, bucket, fault):
    with proxied(bucket) as proxy:
        path = remote_project(tmp_path, bucket, proxy.endpoint, timeout=0.5)
        program = looked_up(checked(path))
        proxy.fault = lambda method, path, number: fault if method == "GET" else None
        with pytest.raises(Failure) as caught:
            compile_program(program, tmp_path / "out")
    assert only(caught).code.id == "MCD527" and only(caught).message.startswith(f"`{bucket.url}/a.jsonl`: ")


def test_a_server_that_stops_in_the_middle(tmp_path, bucket):
    with proxied(bucket) as proxy:
        path = remote_project(tmp_path, bucket, proxy.endpoint)
        bucket.write("a.jsonl", LINES * 4)  # more than is fetched at a time
        program = looked_up(checked(path))
        gets: list[str] = []

        def fault(method: str, path: str, number: int) -> str | None:
            gets.extend(["GET"] * (method == "GET"))
            if len(gets) < 2:
                return None
            proxy.stop()
            return "close"

        proxy.fault = fault
        with pytest.raises(Failure) as caught:
            compile_program(program, tmp_path / "out")
    assert len(gets) == 2
    assert only(caught).code.id == "MCD527" and "the request failed: " in only(caught).message


def test_a_file_that_changes_between_survey_and_task(tmp_path, bucket):
    path = remote_project(tmp_path, bucket, bucket.endpoint)
    program = looked_up(checked(path))
    with proxied(bucket) as proxy:
        declare(tmp_path, Bucket(proxy.endpoint, bucket.name, bucket.files))
        program = looked_up(checked(path))

        def fault(method: str, path: str, number: int) -> None:
            if [m for m, _ in proxy.seen].count("GET") == 1 and method == "GET":
                bucket.write("a.jsonl", LINES + LINES)

        proxy.fault = fault
        with pytest.raises(Failure) as caught:
            compile_program(program, tmp_path / "out")
    assert only(caught).code.id == "MCD501" and "changed while it was read" in only(caught).message


@pytest.mark.parametrize("name", ["t.parquet", "file.arrow", "stream.arrow", "cells.csv", "words.conllu"])
def test_what_fails_inside_a_library_is_told_all_the_same(tmp_path, bucket, name):
    """Failures pass through pyarrow's readers, which call back into ours."""
    lay_out(tmp_path / "data")
    bucket.put(tmp_path / "data")
    shutil.rmtree(tmp_path / "data")
    form = name.partition(".")[2]
    path = project(
        tmp_path,
        f'source s = {form}("data/{name}") {{ text = .text }}\nspan cat = phrases("cat")\nweigh cat {{ factor = 2 }}\n',
    )
    with proxied(bucket) as proxy:
        declare(tmp_path, Bucket(proxy.endpoint, bucket.name, bucket.files))
        program = looked_up(checked(path))
        gets = []

        def fault(method: str, path: str, number: int) -> str | None:
            gets.append(method) if method == "GET" else None
            return "refuse" if len(gets) > 1 else None  # the first is who digests

        proxy.fault = fault
        with pytest.raises(Failure) as caught:
            compile_program(program, tmp_path / "out")
    assert only(caught).code.id == "MCD528", only(caught).message


# --- over http -------------------------------------------------------------------------------------------------------


def http_project(tmp_path: Path, bucket: Bucket, endpoint: str, spec: str = ONE) -> Path:
    path = project(tmp_path, spec)
    (tmp_path / "mcd.toml").write_text(f'[remote.data]\nurl = "{endpoint}/{bucket.name}"\n')
    return path


def test_files_over_http(tmp_path, bucket):
    name = "odd #%41+ ü.jsonl"
    path = http_project(tmp_path, bucket, bucket.endpoint, ONE.replace("a.jsonl", name))
    bucket.files.chmod(bucket.name, "public-read")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / name).write_bytes(LINES)
    compile_program(checked(path), tmp_path / "local")
    bucket.files.pipe_file(f"{bucket.name}/{name}", LINES, ACL="public-read")
    shutil.rmtree(tmp_path / "data")
    assert compiled(path, tmp_path / "remote") == written(tmp_path / "local")


@pytest.mark.parametrize("fault", FAULTS)
def test_what_a_server_refuses(tmp_path, bucket, fault):
    bucket.files.pipe_file(f"{bucket.name}/a.jsonl", LINES, ACL="public-read")
    with proxied(bucket) as proxy:
        path = http_project(tmp_path, bucket, proxy.endpoint)
        program = looked_up(checked(path))
        proxy.fault = lambda method, path, number: fault
        with pytest.raises(Failure) as caught:
            compile_program(program, tmp_path / "out")
    assert only(caught).code.id == FAULTS[fault][0], only(caught).message


def test_a_missing_package_is_named(monkeypatch):
    with pytest.raises(Failure) as caught:
        store_of("gs://bucket/data")
    found = only(caught)
    assert (found.code.id, found.help) == ("MCD526", "pip install fsspec gcsfs") and "`gcsfs`" in found.message
    monkeypatch.setitem(__import__("sys").modules, "mcd.compiler.store", None)
    with pytest.raises(Failure) as caught:
        store_of("s3://bucket/data")
    assert only(caught).help == "pip install 'mcd-lang[remote]'"
