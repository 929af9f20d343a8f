"""`mcd export`: files, card and metadata, written whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import re
import shutil
import warnings
from pathlib import Path

import mlcroissant
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import CliRunner

import mcd
from mcd.cli.main import mcd as main
from mcd.compiler.export import staging
from mcd.compiler.export.export import export
from mcd.compiler.inspect.opened import Opened, open_dataset
from mcd.dsl.diagnostics import Failure

from ..inspected import record, rich

NAMES = {"train": "train", "valid": "valid", "valid-2": "valid_2"}


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("rich")
    rich(folder)
    return folder / "out"


@pytest.fixture(scope="module")
def exported(out) -> Path:
    assert run(out, "-o", out.parent / "hub") == (0, "")
    return out.parent / "hub"


def run(*arguments) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["export", "-q", *map(str, arguments)])
    return result.exit_code, result.output


def quiet(done, total):
    pass


def front(folder: Path) -> dict:
    _, matter, _ = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(matter)


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


# --- files


def test_the_files_of_an_export(out, exported):
    assert set(tree(exported)) == {
        "README.md",
        "croissant.json",
        "data/train-00000-of-00001.parquet",
        "data/valid-00000-of-00001.parquet",
        "data/valid_2-00000-of-00001.parquet",
        "mcd/manifest.json",
        "mcd/program.json",
        "mcd/anchors.safetensors",
    }
    for name in ("manifest.json", "program.json", "anchors.safetensors"):
        assert (exported / "mcd" / name).read_bytes() == (out / name).read_bytes()


def test_parquet_holds_what_the_shards_do(out, exported):
    for shard in open_dataset(out).shards():
        with pa.memory_map(str(out / shard.path)) as file:
            table = pa.ipc.open_file(file).read_all()
        (path,) = (exported / "data").glob(f"{NAMES[shard.split]}-*.parquet")
        found = pq.ParquetFile(path, page_checksum_verification=True)
        assert found.schema_arrow.equals(table.schema) and found.schema_arrow.metadata == table.schema.metadata
        assert found.read().equals(table)
        assert found.metadata.row_group(0).column(0).compression == "ZSTD"


def test_a_flipped_bit_in_a_page_is_found(exported, tmp_path):
    path = exported / "data/train-00000-of-00001.parquet"
    column = pq.ParquetFile(path).metadata.row_group(0).column(3)
    content = bytearray(path.read_bytes())
    first = column.dictionary_page_offset or column.data_page_offset
    content[first + column.total_compressed_size - 1] ^= 16
    (tmp_path / "x.parquet").write_bytes(content)
    with pytest.raises(OSError, match="CRC"):
        pq.read_table(tmp_path / "x.parquet", page_checksum_verification=True)


def test_the_same_dataset_gives_the_same_bytes(out, exported, tmp_path):
    assert run(out, "-o", tmp_path / "hub") == (0, "")
    assert tree(tmp_path / "hub") == tree(exported)


# --- the card


def test_the_front_of_the_card(exported):
    found = front(exported)
    assert "license" not in found and found["tags"] == ["mcd"] and found["size_categories"] == ["n<1K"]
    (config,) = found["configs"]
    assert config["data_files"] == [{"split": name, "path": f"data/{name}-*"} for name in NAMES.values()]
    info = found["dataset_info"]
    assert [(each["name"], each["num_examples"]) for each in info["splits"]] == [
        ("train", 5),
        ("valid", 1),
        ("valid_2", 1),
    ]
    assert info["download_size"] == sum(path.stat().st_size for path in exported.rglob("*.parquet"))
    assert info["dataset_size"] == sum(each["num_bytes"] for each in info["splits"])
    assert {"name": "field.vector", "list": "float16"} in info["features"]
    assert {"name": "part", "dtype": "int32"} in info["features"]


def test_a_licence_is_the_user_s(out, tmp_path):
    assert run(out, "-o", tmp_path / "hub", "--license", 'odd: "one"') == (0, "")
    assert front(tmp_path / "hub")["license"] == 'odd: "one"'
    assert json.loads((tmp_path / "hub/croissant.json").read_text())["license"] == 'odd: "one"'


def test_the_card_tells_how_to_read_rows(exported):
    """Its first block runs as it is, in the folder; tests/test_other_readers.py does what the second one does."""
    text = (exported / "README.md").read_text(encoding="utf-8")
    block, second = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    printed = io.StringIO()
    with contextlib.chdir(exported), contextlib.redirect_stdout(printed):
        exec(block, {})
    first = printed.getvalue().splitlines()
    assert first[0] == "a 0 s [0, 1, 7, 0, 2, 9]"
    assert "   animal  [1]" in first and "   clause  [1, 7, 0, 2, 9]" in first
    assert 'load_dataset(".", split="train")' in second


def test_the_card_tells_what_was_counted(exported):
    text = (exported / "README.md").read_text(encoding="utf-8")
    assert (
        "| `back` | attend | `cat -> dog where key before query` | layers 1..2 | 2 | 6 | 3 | 2 cut off by the context |"
        in text
    )
    assert "| `pairs` | attend | `dog -> cat` | layers 2 | 5 | 8 |  |  |" in text
    assert "| `input_ids` | `list<int32>` | token ids, added tokens included |" in text
    assert "This is an export. `mcd.load` and `mcd train` read the compiled directory" in text
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.endswith("|") for line in lines)


# --- Croissant


def test_croissant_is_valid_and_reads_the_rows(out, exported):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        described = mlcroissant.Dataset(jsonld=exported / "croissant.json")
        records = list(described.records("rows"))
    assert not described.metadata.ctx.issues.errors
    rows = [row for shard in open_dataset(out).shards() for row in read(out / shard.path)]
    splits = [NAMES[shard.split] for shard in open_dataset(out).shards() for _ in read(out / shard.path)]
    assert [found["rows/split"].decode() for found in records] == splits
    for found, row in zip(records, rows, strict=True):
        assert found["rows/id"].decode() == row["id"]
        for name in ("input_ids", "span.set", "span.start", "span.end", "edge.query_start", "edge.weight"):
            assert list(found[f"rows/{name}"]) == row[name]


def read(path: Path) -> list[dict]:
    with pa.memory_map(str(path)) as file:
        return pa.ipc.open_file(file).read_all().to_pylist()


def test_croissant_has_the_digest_of_every_file(exported):
    found = json.loads((exported / "croissant.json").read_text(encoding="utf-8"))
    files = {each["contentUrl"]: each for each in found["distribution"] if each["@type"] == "cr:FileObject"}
    assert set(files) == {path.relative_to(exported).as_posix() for path in exported.rglob("*.parquet")}
    for path, entry in files.items():
        content = (exported / path).read_bytes()
        assert entry["sha256"] == hashlib.sha256(content).hexdigest()
        assert entry["contentSize"] == f"{len(content)} B"
    assert found["conformsTo"] == "http://mlcommons.org/croissant/1.1"


def test_odd_names(tmp_path):
    """A field whose name is no word goes through tables, YAML and IRIs."""
    spec = """source s = jsonl("data.jsonl") { id = .id  split = .split  text = "{.text}" }
span cat = phrases("cat")
signal one: cat { layers = 1  classify = ."a | <b>"  classes = 3 }
signal two: cat { layers = 1  contrast = ."a | <b>" }
"""
    more = [record("a", "the cat", **{"a | <b>": 1}), record("b", "a cat", **{"a | <b>": 2})]
    rich(tmp_path, more, spec)
    assert run(tmp_path / "out", "-o", tmp_path / "hub") == (0, "")
    found = json.loads((tmp_path / "hub/croissant.json").read_text(encoding="utf-8"))
    names = {each["name"]: each["@id"] for each in found["recordSet"][0]["field"]}
    odd = [name for name in names if "<b>" in name]
    assert odd and all(re.fullmatch(r"rows/column-\d+", names[name]) for name in odd)
    assert {each["name"] for each in front(tmp_path / "hub")["dataset_info"]["features"]} >= set(odd)
    text = (tmp_path / "hub/README.md").read_text(encoding="utf-8")
    assert "| `field.a \\| <b>` |" in text
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        records = list(mlcroissant.Dataset(jsonld=tmp_path / "hub/croissant.json").records("rows"))
    assert [found["rows/id"].decode() for found in records] == ["a", "b"]


# --- whole or not at all


def code_of(output: str) -> str:
    return re.search(r"error\[(MCD\d+)\]", output)[1]


def test_an_export_is_no_dataset(exported):
    with pytest.raises(Failure) as failure:
        mcd.load(exported)
    (found,) = failure.value.diagnostics
    assert found.code.id == "MCD601" and found.help == "it is an export: give the directory that it was made from"


def test_what_is_there_stays(out, tmp_path):
    target = tmp_path / "hub"
    assert run(out, "-o", target) == (0, "")
    before = tree(target)
    status, output = run(out, "-o", target)
    assert (status, code_of(output)) == (1, "MCD677") and "--overwrite" in output and tree(target) == before
    (target / "NOTES.md").write_text("mine", encoding="utf-8")
    status, output = run(out, "-o", target, "--overwrite")
    assert (status, code_of(output)) == (1, "MCD677") and "NOTES.md" in tree(target)
    (target / "NOTES.md").unlink()
    (target / "README.md").write_text("other", encoding="utf-8")
    assert run(out, "-o", target, "--overwrite") == (0, "") and tree(target) == before
    assert names(tmp_path) == ["hub"]


@pytest.mark.parametrize(
    "make", [lambda path: path.write_text("x"), lambda path: shutil.copytree(path.parent / "out", path)]
)
def test_no_export_is_no_export(out, tmp_path, make):
    shutil.copytree(out, tmp_path / "out")
    make(tmp_path / "target")
    status, output = run(tmp_path / "out", "-o", tmp_path / "target", "--overwrite")
    assert (status, code_of(output)) == (1, "MCD677")


def test_a_damaged_dataset_is_refused(out, tmp_path):
    for number, pattern in enumerate(("shards/valid/*.arrow", "shards/train/*.arrow", "anchors.safetensors")):
        copy = tmp_path / str(number)
        shutil.copytree(out, copy)
        (file,) = copy.glob(pattern)
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
        status, output = run(copy, "-o", tmp_path / "hub")
        assert (status, code_of(output)) == (1, "MCD604")
        assert not (tmp_path / "hub").exists() and not list(tmp_path.glob(".hub*"))


def test_splits_of_one_name_are_refused(out, tmp_path):
    opened = open_dataset(out)
    shards = tuple(
        shard.model_copy(update={"split": {"valid": "valid_2"}.get(shard.split, shard.split)})
        for shard in opened.manifest.shards
    )
    manifest = opened.manifest.model_copy(update={"shards": shards})
    with pytest.raises(Failure) as failure:
        export(Opened(out, manifest, opened.plan), tmp_path / "hub", None, False, quiet)
    assert failure.value.diagnostics[0].code.id == "MCD678"


def test_an_error_on_the_way_leaves_what_was_there(out, tmp_path, monkeypatch):
    target = tmp_path / "hub"
    assert run(out, "-o", target) == (0, "")
    before = tree(target)
    for name in ("card", "croissant", "write_parquet"):
        with monkeypatch.context() as patch:
            patch.setattr(f"mcd.compiler.export.export.{name}", full)
            status, output = run(out, "-o", target, "--overwrite")
        assert (status, code_of(output)) == (1, "MCD613") and "`hub` cannot be written: No space left" in output
        assert tree(target) == before and names(tmp_path) == ["hub"]


def full(*arguments):
    raise OSError(28, "No space left on device")


def test_what_a_stopped_export_left_is_cleaned_up(out, tmp_path):
    """One was stopped while it wrote, another between the two renames: the old export comes back, the rest goes."""
    target = tmp_path / "hub"
    assert run(out, "-o", target) == (0, "")
    before = tree(target)
    (tmp_path / ".hub.new-1234").mkdir()
    target.rename(tmp_path / ".hub.old-5678")
    status, output = run(out, "-o", target)
    assert (status, code_of(output)) == (1, "MCD677")
    assert tree(target) == before and names(tmp_path) == ["hub"]


def test_what_a_running_export_writes_is_left_alone(out, tmp_path):
    with staging.staged(tmp_path / "hub", False) as work:
        (work / "README.md").write_text("of the first", encoding="utf-8")
        assert run(out, "-o", tmp_path / "hub") == (0, "")
        assert (work / "README.md").is_file()
        shutil.rmtree(tmp_path / "hub")
    assert tree(tmp_path / "hub") == {"README.md": b"of the first"}


def test_a_read_only_folder(out, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.mkdtemp", denied)
    status, output = run(out, "-o", tmp_path / "hub")
    assert (status, code_of(output)) == (1, "MCD613")


def denied(*arguments, **more):
    raise PermissionError(13, "Permission denied")
