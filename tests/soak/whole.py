"""A small project that has everything (two splits, edges, labels, weights, an anchor, a cached teacher), and what it compiles to.

The teacher is a stand-in that needs no model: it stores numbers that the digest of its lesson decides, through the writer that
the real one stores states through.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from mcd.compiler.build.finished import TASKS_FILE, TASKS_FOLDER, finished_in
from mcd.compiler.build.stage import whole
from mcd.compiler.compile import Compiled, compile_program
from mcd.compiler.execute import Executor
from mcd.compiler.files.measures import MeasureWriter
from mcd.compiler.files.output import stage_of
from mcd.compiler.files.shard_reader import Wanted, open_shard
from mcd.compiler.files.targets import TargetWriter
from mcd.compiler.manifest import Counts, Manifest, TargetEntry
from mcd.compiler.plan import Plan
from mcd.compiler.teaching import Lesson, Taught, target_path

from ..projects import WORDS, checked, project
from ..projects import content as digests

FILES = 10
SPEC = """source s = jsonl("data/*.jsonl") { id = .id  text = "{.text}"  split = hash(train: 70%, valid: 30%) }
teacher big { weights = "big" }
span cat = phrases("cat", "dog")
span named = offsets(.mentions, of: .text) where kind == "name"
concept pet { spans = cat  anchor = orthonormal }
attend back: cat -> named where key before query { layers = 2  heads = any }
signal near: cat { layers = 2  classify = .label  classes = 3 }
signal axis: cat { layers = 2  toward = pet.anchor  loss = cosine }
signal taught: cat { layers = 3  toward = big.hidden(layer: 2)  pool = mean }
weigh part: named { factor = .weight }
keep hard: tokens { score = measure("reference", loss)  top = 60%  per = record }
"""
CONFIG = {
    "model_type": "llama",
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "hidden_size": 8,
    "vocab_size": 64,
    "max_position_embeddings": 32,
}


def write_file(folder: Path, number: int, records: int = 12) -> None:
    """A file of the source, of content that its number and its length decide."""
    lines = []
    for record in range(records):
        words = [WORDS[(number * 7 + records + record * place) % 16] for place in range(1, 13)]
        first = len(words[0])
        mentions = [{"start": 0, "end": first, "kind": "name"}, {"start": first + 1, "end": first + 2, "kind": "other"}]
        lines.append(
            json.dumps(
                {
                    "id": f"{number}-{record}",
                    "text": " ".join(words),
                    "label": record % 3,
                    "number": record % 2,
                    "mentions": mentions,
                    "weight": record / 4,
                }
            )
        )
    (folder / "data" / f"{number:02}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def whole_project(folder: Path) -> Path:
    """The project in a new folder; gives its spec."""
    (folder / "data").mkdir(parents=True)
    (folder / "big").mkdir()
    (folder / "big" / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    (folder / "big" / "model.safetensors").write_bytes(b"weights")
    for number in range(FILES):
        write_file(folder, number)
    return project(folder, SPEC)


def teach(work: Path, plan: Plan, manifest: Manifest, lessons: Sequence[Lesson]) -> Taught:
    """Stores for every row one state at its first token."""
    targets = {}
    for target in (target for lesson in lessons for target in lesson.targets):
        width, value = lessons[0].teacher.hidden, int(target.digest[:4], 16) / 65536
        files = []
        for shard in manifest.shards:
            with TargetWriter(work / target_path(target.digest, shard.path), width, target.dtype) as writer:
                with pa.memory_map(str(work / shard.path)) as source:
                    reader = pa.ipc.open_file(source)
                    sizes = [reader.get_batch(number).num_rows for number in range(reader.num_record_batches)]
                for rows in sizes:
                    states = np.full((rows, width), value, target.dtype)
                    writer.write(np.arange(rows + 1), np.zeros(rows, np.int64), states)
                files.append(writer.close(work))
        counts = {rule.rows_key: Counts(splits={"train": {"rows": 1, "unpaired": 0}}) for rule in target.rules}
        entry = TargetEntry(digest=target.digest, width=width, dtype=target.dtype, files=tuple(files), counts=counts)
        targets[target.key] = entry
    return Taught(targets)


def measure(out: Path, more: float = 0.0) -> None:
    """Takes a measure of a dataset: for every token its place in its batch, and `more`."""
    manifest = Manifest.model_validate_json((out / "manifest.json").read_bytes())
    plan = Plan.model_validate_json((out / "program.json").read_bytes())
    wanted = Wanted({}, False, plan.model.vocab, plan.model.hidden, plan.model.context)
    with MeasureWriter(out, "reference", {"loss": "made up"}) as writer:
        for shard in manifest.shards:
            for chunk in open_shard(out / shard.path, shard.path, wanted):
                writer.write(shard, chunk, {"loss": np.arange(len(chunk.tokens.used), dtype=np.float32) + more})


# --- what is done, and what is there ---------------------------------------------------------------------------------


def counted_runs() -> list[int]:
    """The numbers of the tasks that this process runs from now on, as they start."""
    found: list[int] = []
    run = Executor.run

    def counting(self: Executor, task: object, number: int, work: Path) -> object:
        found.append(number)
        return run(self, task, number, work)  # type: ignore[arg-type]

    Executor.run = counting  # type: ignore[method-assign, assignment]
    return found


def compile_whole(spec: Path, out: Path) -> Compiled:
    """Compile in this process."""
    return compile_program(checked(spec), out, teach=teach)


def content(folder: Path) -> Mapping[str, str] | None:
    """The digest of every file below a folder, and of links what they point at; None where there is no folder."""
    return digests(folder) if folder.is_dir() else None


def done_in(out: Path) -> set[tuple[int, str]]:
    """The tasks, with their keys, that an unfinished build of `out` has wholly done."""
    stage = stage_of(out)
    notes = [*stage.glob(TASKS_FILE), *stage.glob(f"{TASKS_FOLDER}/[!.]*.json")]
    lines = [line for note in notes for line in note.read_text("utf-8").splitlines()]
    found = list(finished_in(stage))
    assert len(found) == len(lines), "a note of a task is not whole"
    return {(done.number, done.key) for done in found if whole(done, stage)}


def beside(out: Path) -> list[str]:
    """The names in the folder of `out`."""
    return sorted(path.name for path in out.parent.iterdir())
