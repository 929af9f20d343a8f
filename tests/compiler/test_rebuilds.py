"""What an edit costs: a table of inputs against the parts of a dataset that are made again. docs/compile.md has it in words.

Each row compiles a project, edits it, compiles again over what is there, and holds which tasks ran, which files have other
bytes, and whether the teacher was asked. And each dataset is, byte for byte, what compiling into an empty place gives.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from mcd.compiler.compile import compile_program
from mcd.compiler.execute import Executor
from mcd.dsl.check import check

from ..projects import project, write_tokenizer
from ..soak.whole import CONFIG, content, teach, write_file

SPEC = """import "lists/words.mcd" as words
let depth: layers = 2
teacher big { weights = "big" }
source s = jsonl("data/*.jsonl") { id = .id  text = "{.text}"  split = hash(train: 70%, valid: 30%) }
span cat = phrases("cat", "dog")
span bird = phrases(file: "lists/birds.txt")
span named = offsets(.mentions, of: .text) where kind == "name"
concept pet { spans = cat  anchor = orthonormal }
concept wing { spans = bird  anchor = vector("dirs.safetensors", "wing") }
attend back: cat -> named where key before query { layers = 2  heads = any }
attend far: words.verb -> words.small where key before query { layers = 3  heads = [0] }
signal near: cat { layers = $depth  classify = .label  classes = 3 }
signal soon: bird { layers = 2  predict = next(1) }
signal axis: cat { layers = 2  toward = pet.anchor  loss = cosine }
signal high: bird { layers = 2  toward = wing.anchor  loss = cosine }
signal taught: cat { layers = 3  toward = big.hidden(layer: 2) }
weigh part: named { factor = .weight }
curriculum { stage one 50% { only = [near] } stage two 50% { near.factor = ramp(1, 0.5) } }
expect coverage(pet) >= 1
"""
WORDS = """mcd 1
span verb = phrases("ran", "saw")
span small = phrases("the", "a")
"""
ALL = tuple(range(14))


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """The project, of two tasks for each of files 0 to 2 and the rest for file 3; and in `out` what it compiles to."""
    folder = tmp_path_factory.mktemp("base") / "project"
    for name in ("data", "big", "lists"):
        (folder / name).mkdir(parents=True)
    for number, records in enumerate((12, 12, 12, 60)):
        write_file(folder, number, records)
    (folder / "big" / "config.json").write_text(json.dumps(CONFIG))
    (folder / "big" / "model.safetensors").write_bytes(b"weights")
    (folder / "lists" / "words.mcd").write_text(WORDS)
    (folder / "lists" / "birds.txt").write_text("bird\nred bird\n")
    save_file({"wing": np.arange(8, dtype=np.float32)}, folder / "dirs.safetensors")
    project(folder, SPEC)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mcd.compiler.sources.lines.TASK_BYTES", 2200)
        assert run(folder) == (ALL, True)
    return folder


def run(
    folder: Path, out: str = "out", model: str | None = None, settings: tuple[str, ...] = ()
) -> tuple[tuple[int, ...], bool]:
    """Compile; the numbers of the tasks that ran, and whether the teacher was asked."""
    ran: list[int] = []
    asked: list[bool] = []
    execute = Executor.run

    def counting(self, task, number, work):
        ran.append(number)
        return execute(self, task, number, work)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Executor, "run", counting)
        program, findings = check(folder / "spec.mcd", folder / model if model else None, settings)
        assert program is not None, [item.message for item in findings.items]
        compile_program(program, folder / out, teach=lambda *given: asked.append(True) or teach(*given))
    return tuple(ran), bool(asked)


# --- edits -----------------------------------------------------------------------------------------------------------

Edit = Callable[[Path], object]


def spec(old: str, new: str, file: str = "spec.mcd", count: int = -1) -> Edit:
    """Text of a file is replaced."""

    def edit(folder: Path) -> None:
        text = (folder / file).read_text("utf-8")
        assert old in text
        (folder / file).write_text(text.replace(old, new, count), encoding="utf-8")

    return edit


def same_size_and_time(folder: Path) -> None:
    path = folder / "data" / "02.jsonl"
    found, text = path.stat(), path.read_text("utf-8")
    line = text.splitlines()[0]
    path.write_text(text.replace(line, line.replace('"label": 0', '"label": 2')))
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert path.stat().st_size == found.st_size and path.read_text("utf-8") != text


def lines(number: int, at: int, text: str = "the cat saw a bird") -> Edit:
    """A record comes into a file, as its line `at`."""

    def edit(folder: Path) -> None:
        path = folder / "data" / f"{number:02}.jsonl"
        record = {"id": "new", "text": text, "label": 1, "mentions": [], "weight": 1.0}
        found = path.read_text("utf-8").splitlines()
        found.insert(at if at >= 0 else len(found), json.dumps(record))
        path.write_text("\n".join(found) + "\n")

    return edit


def file_added(folder: Path) -> None:
    write_file(folder, 9, 12)
    (folder / "data" / "09.jsonl").rename(folder / "data" / "01b.jsonl")


def file_removed(folder: Path) -> None:
    (folder / "data" / "01.jsonl").unlink()


def file_renamed(folder: Path) -> None:
    (folder / "data" / "00.jsonl").rename(folder / "data" / "000.jsonl")


def file_last(folder: Path) -> None:
    (folder / "data" / "00.jsonl").rename(folder / "data" / "99.jsonl")


def touched(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file() and "out" not in path.parts:
            os.utime(path, (1, 1))


def reordered(folder: Path) -> None:
    path = folder / "spec.mcd"
    declarations = path.read_text("utf-8").split("\n")
    text = "\n".join(declarations)
    moved = [line for line in declarations if line.startswith(("span", "concept", "let"))]
    for line in moved:
        text = text.replace(line + "\n", "", 1)
    path.write_text(text + "\n".join(reversed(moved)) + "\n")


def rules_reordered(folder: Path) -> None:
    path = folder / "spec.mcd"
    text = path.read_text("utf-8")
    near, soon = (
        next(line for line in text.split("\n") if line.startswith(f"signal {name}")) for name in ("near", "soon")
    )
    path.write_text(text.replace(near, "#").replace(soon, near).replace("#", soon), encoding="utf-8")


def column_less(folder: Path) -> None:
    for old, new in (("signal near: cat { layers = $depth  classify = .label  classes = 3 }", ""), ("near", "axis")):
        spec(old, new)(folder)
    spec("let depth: layers = 2\n", "")(folder)


def tokenizer_content(folder: Path) -> None:
    write_tokenizer(folder / "tokenizer.json", begin="<s>")


def tokenizer_name(folder: Path) -> None:
    (folder / "tokenizer.json").rename(folder / "tokens.json")
    spec("tokenizer.json", "tokens.json")(folder)


def vectors(folder: Path) -> None:
    save_file({"wing": np.ones(8, np.float32)}, folder / "dirs.safetensors")


def teacher_weights(folder: Path) -> None:
    (folder / "big" / "model.safetensors").write_bytes(b"others!")


def other_model(folder: Path) -> None:
    config = {"model_type": "llama", "num_hidden_layers": 8, "num_attention_heads": 4, "num_key_value_heads": 4}
    config |= {"hidden_size": 8, "vocab_size": 64, "max_position_embeddings": 16}
    (folder / "other.json").write_text(json.dumps(config))


def untouched(folder: Path) -> None:
    pass


# --- the table -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """An edit, and what it costs. `parts`: the letters of what has other bytes or is made again: `p`lan, `a`nchors, `m`anifest
    and the `t`eacher's states; `why`: the reason."""

    name: str
    edit: Edit
    tasks: tuple[int, ...]
    parts: str
    why: str
    model: str | None = None
    settings: tuple[str, ...] = ()
    patch: dict[str, object] = field(default_factory=dict)


VERSIONS = {"mcd.compiler.prepare.VERSION": "9", "mcd.compiler.compile.VERSION": "9"}
SOURCES = (
    Row("nothing", untouched, (), "", "the same in"),
    Row("an edit that keeps size and time", same_size_and_time, (4,), "mt", "content decides, never a time stamp"),
    Row("a line at the end", lines(2, -1), (5,), "mt", "the last range of that file"),
    Row(
        "a line in the middle",
        lines(3, 30),
        (9, 10, 11),
        "mt",
        "the ranges around it, up to where the cuts are the old ones",
    ),
    Row(
        "a line at the begin",
        lines(0, 0),
        (0,),
        "mt",
        "the first range of the first file: later tasks are found by content",
    ),
    Row("a file between others", file_added, (4, 5), "mt", "its own tasks; those after it get another number"),
    Row("a file removed", file_removed, (), "mt", "the others' shards are kept under another number"),
    Row("a file renamed", file_renamed, (), "m", "the manifest names the inputs"),
    Row("a file that is now the last", file_last, (), "mt", "the order of shards is the order of files"),
    Row("time stamps", touched, (), "", "content decides, never a time stamp"),
)
SPECS = (
    Row("a comment at the end", spec("expect cov", "# more\nexpect cov"), (), "m", "the manifest has the spec's digest"),
    Row("a comment at the begin", spec("import", "# more\nimport"), (), "pm", "rules say in which line they stand"),
    Row("white space", spec("curriculum {", "curriculum  {"), (), "m", "the manifest has the spec's digest"),
    Row("order of declarations", reordered, (), "pm", "rules say in which line they stand; sets have no order"),
    Row("order of rules", rules_reordered, (), "pm", "their lines, and nothing else"),
    Row("a rule less", spec("signal soon: bird { layers = 2  predict = next(1) }", ""), (), "pm", "another rule reads its set"),
    Row("a rule less, and its column", column_less, ALL, "pmt", "a column that no rule reads is left out"),
    Row("the name of a rule", spec("near", "close"), (), "pm", "a rule's name is of the plan"),
    Row("the name of a span", spec("named", "called"), (), "pm", "the plan shows sets as they are written"),
    Row("the name of a concept", spec("pet", "beast"), (), "pam", "an orthonormal anchor is chosen by its concept's name"),
    Row("a comment in an import", spec("span", "# more\nspan", "lists/words.mcd", 1), (), "m", "no rule stands there"),
    Row("white space in an import", spec("span verb", "span  verb", "lists/words.mcd"), (), "m", "the spec's digest"),
    Row("a span in an import", spec('"saw"', '"off"', "lists/words.mcd"), ALL, "pmt", "another set"),
    Row("a phrases file", spec("red bird", "red", "lists/birds.txt"), ALL, "pmt", "another set"),
    Row("a phrases file, in another order", lambda folder: (folder / "lists/birds.txt").write_text("red bird\nbird\n"),
        (), "m", "the order of phrases means nothing"),
    Row("a span", spec('"cat", "dog"', '"cat"'), ALL, "pmt", "another set"),
    Row("a span that no rule reads", spec("expect", "span more = regex(\"x\")\nexpect"), (), "m", "no rule reads it"),
    Row("a join's condition", spec("query { layers = 2", "query and query.text != key.text { layers = 2"),
        ALL, "pmt", "another set"),
    Row("max_edges", spec("{ layers = 3 ", "{ max_edges = 2  layers = 3 ", count=1), ALL, "pmt", "other edges are kept"),
    Row("the label's field", spec("classify = .label", "classify = .number"), ALL, "pmt", "another column"),
    Row("classes", spec("classes = 3", "classes = 4"), ALL, "pm", "labels outside them are counted by the tasks"),
    Row("next(n)", spec("next(1)", "next(2)"), ALL, "pm", "rows beyond the end are counted by the tasks"),
    Row("the template", spec('"{.text}"', '"{.text} ."'), ALL, "mt", "other texts"),
    Row("the ids", spec("id = .id", "id = .text"), ALL, "mt", "other rows"),
    Row("the split", spec("70%, valid: 30%", "60%, valid: 40%"), ALL, "mt", "other files"),
    Row("a rule over sets that are there",
        spec("expect", "signal more: cat { layers = 1  toward = wing.anchor  loss = cosine }\nexpect"),
        (), "pm", "how, and not where"),
    Row("a rule over a new set", spec("expect", "weigh more: first(cat, 1) { factor = 2 }\nexpect"), ALL, "pmt", "another set"),
    Row("the name of a source", spec("source s", "source t"), ALL, "mt", "rows say their source"),
    Row("the path of a source", spec("data/*.jsonl", "data/0*.jsonl"), (), "m", "content decides, whatever it is called"),
)  # fmt: skip
MODELS = (
    Row("another tokenizer", tokenizer_content, ALL, "pmt", "other tokens"),
    Row("the tokenizer under another name", tokenizer_name, (), "m", "known by content"),
    Row("context", spec("context = 16", "context = 8"), ALL, "pmt", "other rows"),
    Row("overflow", spec("context = 16", "context = 16  overflow = drop"), ALL, "mt", "other rows"),
    Row("causal", spec("causal = true", "causal = false"), ALL, "pm", "edges forward in time are counted by the tasks"),
    Row("layers of a rule", spec("query { layers = 2", "query { layers = 1"), (), "pm", "how, and not where"),
    Row("heads", spec("heads = any", "heads = all"), (), "pm", "how, and not where"),
    Row("weight", spec("heads = any", "heads = any  weight = 3"), (), "pm", "how, and not where"),
    Row("loss", spec("heads = any", "heads = any  mass = 0.5"), (), "pm", "how, and not where"),
    Row("factor", spec("factor = .weight", "factor = 2"), ALL, "pmt", "a column that no rule reads any more is left out"),
    Row("another factor", spec("ramp(1, 0.5)", "ramp(1, 0.2)"), (), "pm", "how, and not where"),
    Row("schedule", spec("one 50% { only = [near] } stage two 50%", "one 40% { only = [near] } stage two 60%"),
        (), "pm", "how, and not where"),
    Row("layer of a teacher", spec("layer: 2", "layer: 1"), (), "pmt", "other states"),
    Row("vocabulary", spec("vocab = 64", "vocab = 65"), (), "pm", "of the model, and not of the shards"),
    Row("an anchor", spec("anchor = orthonormal", "anchor = learned"), (), "pam", "anchors lie beside the shards"),
    Row("the vectors of an anchor", vectors, (), "am", "anchors lie beside the shards"),
    Row("an expectation", spec("pet) >= 1", "pet) >= 2"), (), "m", "decided from the counts, which are kept"),
    Row("a teacher's files", teacher_weights, (), "mt", "states are known by the teacher's content"),
    Row("--set", untouched, (), "pm", "how, and not where", settings=("depth=3",)),
    Row("--model", other_model, (), "pm", "layers and heads are how, and not where", model="other.json"),
    Row("the version of mcd", untouched, (), "pm", "both say it; the shards' format has a number of its own", patch=VERSIONS),
)  # fmt: skip


@pytest.mark.parametrize("row", [*SOURCES, *SPECS, *MODELS], ids=lambda row: row.name)
def test_an_edit_costs_what_the_table_says(base, tmp_path, monkeypatch, row):
    monkeypatch.setattr("mcd.compiler.sources.lines.TASK_BYTES", 2200)
    folder = tmp_path / "moved"
    shutil.copytree(base, folder)
    before = content(folder / "out")
    row.edit(folder)
    for name, value in row.patch.items():
        monkeypatch.setattr(name, value)
    tasks, taught = run(folder, "out", row.model, row.settings)
    after = content(folder / "out")
    run(folder, "fresh", row.model, row.settings)
    assert after == content(folder / "fresh")
    names = {"p": "program.json", "a": "anchors.safetensors", "m": "manifest.json"}
    parts = {letter for letter, name in names.items() if after.get(name) != before.get(name)}
    assert (tasks, parts | ({"t"} if taught else set())) == (row.tasks, set(row.parts)), row.why
