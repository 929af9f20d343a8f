"""Checking a spec opens files below its root, and does nothing else: seen by Python's audit hook, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .projects import project

PROGRAM = """
import json, os, sys
from pathlib import Path
from mcd.dsl.check import check
from mcd.dsl.render import render_text
check(Path(sys.argv[1]))
seen = []
FORBIDDEN = ("socket.", "subprocess.", "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.startfile",
             "exec", "compile", "ctypes.", "marshal.", "pickle.", "urllib.", "http.", "ftplib.", "smtplib.", "shutil.",
             "os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "tempfile.",
             "webbrowser.", "import")
PATHS = ("open", "os.listdir", "os.scandir", "os.walk", "glob.glob")

def hook(event, arguments):
    if event in PATHS:
        seen.append((event, os.fspath(arguments[0]) if not isinstance(arguments[0], int) else str(arguments[0]),
                     arguments[1] if event == "open" else None))
    elif event.startswith(FORBIDDEN):
        seen.append((event, repr(arguments)[:200], None))

sys.addaudithook(hook)
before = len(seen)
_, findings = check(Path(sys.argv[2]))
found = list(seen)
codes = sorted({item.code.id for item in findings.items})
print(json.dumps({"seen": found, "codes": codes, "shown": render_text(findings.items)}))
"""

HOSTILE = {
    "a folder above": 'import "../secret.mcd" as x\n',
    "an absolute path": 'import "/etc/passwd" as x\n',
    "a link to a file outside": 'import "link.mcd" as x\n',
    "data above": 'source t = jsonl("../*.jsonl") { text = .a }\n',
    "data behind a wildcard": 'source t = jsonl("*/../../*.jsonl") { text = .a }\n',
    "data in a linked folder": 'source t = jsonl("outside/*.jsonl") { text = .a }\n',
    "a list outside": 'span b = phrases(file: "../words.txt")\n',
    "a list in /proc": 'span b = phrases(file: "/proc/self/environ")\n',
    "heads outside": 'attend cat -> cat where key before query { at = heads("../heads.json") }\n',
    "vectors outside": 'concept v { anchor = vector("../v.safetensors", "a") }\n',
    "a URL": 'import "https://example.org/a.mcd" as x\n',
    "a URL of data": 'source t = parquet("s3://bucket/a.parquet") { text = .a }\n',
    "a home folder": 'import "~/secret.mcd" as x\n',
    "a variable": 'import "$HOME/secret.mcd" as x\n',
    "a folder with a NUL": 'import "a\\u{0}b.mcd" as x\n',
    "a pattern": 'span b = regex("(?{ system(1) })")\n',
}
BASE = """source s = jsonl("data.jsonl") { id = .id  text = "{.text}" }
span cat = phrases("cat")
span word = phrases(file: "words.txt")
import "sets.mcd" as sets
concept c { spans = cat  anchor = orthonormal }
signal near: sets.dog { layers = 2  toward = c.anchor }
attend look: word -> cat where key before query { layers = 50%  heads = any }
"""


def lay_out(folder: Path, spec: str) -> tuple[Path, Path]:
    root = folder / "project"
    root.mkdir()
    for name, text in {
        "secret.mcd": "mcd 1\n",
        "words.txt": "secret\n",
        "a.jsonl": "{}\n",
        "heads.json": "[[1, 0]]",
        "v.safetensors": "",
    }.items():
        (folder / name).write_text(text)
    (root / "sets.mcd").write_text('mcd 1\nspan dog = phrases("dog")\n')
    (root / "words.txt").write_text("because\n")
    (root / "link.mcd").symlink_to(folder / "secret.mcd")
    (root / "outside").symlink_to(folder)
    path = project(root, spec, [{"id": "a", "text": "the cat"}])
    small = root / "small.mcd"
    small.write_text(path.read_text().replace(spec, BASE))
    return small, path


def watched(small: Path, path: Path) -> dict:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(small), str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict = json.loads(done.stdout)
    return found


def outside(found: dict, root: Path) -> list[tuple[str, str]]:
    """What was done besides reading files and folders below the root."""
    return [
        (event, path)
        for event, path, mode in found["seen"]
        if event not in ("open", "os.listdir", "os.scandir")
        or not Path(path).resolve().is_relative_to(root)
        or (event == "open" and set(mode or "r") & set("wax+"))
    ]


def test_a_spec_reads_below_its_root_alone(tmp_path: Path) -> None:
    small, path = lay_out(tmp_path, BASE)
    found = watched(small, path)
    assert found["codes"] == []
    assert outside(found, path.parent) == []
    opened = {Path(name).name for event, name, _ in found["seen"] if event == "open"}
    assert opened >= {"spec.mcd", "sets.mcd", "words.txt"}


@pytest.mark.parametrize("title", HOSTILE)
def test_a_hostile_spec_gets_a_diagnostic_and_reaches_nothing(tmp_path: Path, title: str) -> None:
    small, path = lay_out(tmp_path, BASE + HOSTILE[title])
    found = watched(small, path)
    assert outside(found, path.parent) == []
    assert found["codes"], title
    assert "secret" not in found["shown"] or "secret.mcd" in HOSTILE[title]
