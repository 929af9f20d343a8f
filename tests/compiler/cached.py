"""Projects that are compiled with a cache, and what is in it."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mcd.compiler.cache.cache import CacheFolder
from mcd.compiler.compile import compile_program

from ..projects import WORDS, checked, content, project

SPECS = Path(__file__).parents[2] / "specs"
SPEC = """source s = FORMAT {
  id = .id  text = "{.head}: {.text}"  split = hash(train: 80%, valid: 20%)
}
span cat = phrases("cat", "dog")
span body = slot(.text)
span mention = offsets(.mentions, of: .text)
attend back: cat in body -> mention where key before query { layers = 2  heads = any }
signal near: cat { layers = 2  classify = .label  classes = 3 }
weigh half: tokens - cat { factor = 0.5 }
"""
PLAIN = 'source s = jsonl("data.jsonl") { id = .id  text = "{.text}" }\nspan cat = phrases("cat")\nweigh cat { factor = 2 }\n'
FORMATS = ("jsonl", "csv", "parquet", "arrow", "inline")


def records(number=40):
    """Records of every kind: scripts, empty texts, nulls, mentions or none."""
    made = []
    for each in range(number):
        text = " ".join(WORDS[(each * 5 + place) % 13] for place in range(each % 9))
        if each % 7 == 3:
            text = f"naïve café {text} 日本"
        mentions = [{"start": 0, "end": len(text.split()[0])}] if text and each % 3 else []
        made.append(
            {
                "id": f"r{each}",
                "head": "the",
                "text": None if each == 11 else text,
                "mentions": mentions,
                "label": each % 3,
            }
        )
    return made


def spec_of(folder, format, rows):
    """A project whose records are in this format. A csv file has no lists."""
    pattern, spec = f'{format}("data.{format}")', SPEC
    match format:
        case "jsonl":
            (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        case "csv":
            spec = spec.replace("offsets(.mentions, of: .text)", 'regex("[a-z]+")')
            lines = [
                "id,head,text,label",
                *(f"{row['id']},{row['head']},{row['text'] or ''},{row['label']}" for row in rows),
            ]
            (folder / "data.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        case "parquet":
            pq.write_table(pa.Table.from_pylist(rows), folder / "data.parquet", row_group_size=7)
        case "arrow":
            table = pa.Table.from_pylist(rows)
            with pa.ipc.new_file(str(folder / "data.arrow"), table.schema) as writer:
                writer.write_table(table, max_chunksize=7)
        case "inline":
            pattern = "[" + ", ".join(map(inline, rows)) + "]"
    return project(folder, spec.replace("FORMAT", pattern))


def inline(row):
    def value(each):
        match each:
            case None:
                return "null"
            case list():
                return "[" + ", ".join(map(value, each)) + "]"
            case dict():
                return "{" + ", ".join(f"{name}: {value(member)}" for name, member in each.items()) + "}"
        return json.dumps(each, ensure_ascii=False)

    return value({name: each for name, each in row.items() if each is not None})


def built(path, out, **options):
    """What is compiled with the cache of the project: the files, by digest."""
    options.setdefault("cache", CacheFolder.of_project(checked(path).root))
    compile_program(checked(path), out, **options)
    return content(out)


def kept(folder):
    return sorted((folder / ".mcd-cache").glob("*.tokens"))


def held(folder):
    return sorted(path.name for path in (folder / ".mcd-cache").iterdir())


BASE = SPEC.replace("FORMAT", 'jsonl("data.jsonl")')
LINES = "".join(json.dumps(row) + "\n" for row in records())


def edited(path, before, after):
    text = path.read_text()
    assert before in text, before
    path.write_text(text.replace(before, after, 1))
