"""`mcd check` and `mcd lsp` against what nobody can undercut: the start of Python, and a bare parse of the same text.

- cold: a process that checks a spec of 100 lines, over `python -c pass`; and how many modules it imports, and which of them a
  check has no need of.
- many: a process that checks a spec of 10,000 declarations, over lark's parse of its pieces, without building a tree.
- again: one keystroke in a spec of 1,000 lines, from the change that an editor sends to the findings that it gets, through a
  real client and without the pause that a server waits for; and the part of it that the check takes. Over the same parse.

Seconds are wall time and a median; a ratio is the median of ratios of runs that took turns.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from pathlib import Path

from lark import Lark
from lsprotocol import types
from pygls.lsp.client import LanguageClient

from mcd.dsl.cut import cut
from mcd.dsl.ide.project import Project

MCD = "from mcd.cli.main import main; main()"
HEAVY = ("torch", "transformers", "pyarrow", "numpy", "pydantic", "lsprotocol")
HEAD = """mcd 1

let middle: layers = 50%..75%

model gpt {
  layers = 12  heads = 12  hidden = 768  vocab = 50257  causal = true
  tokenizer = "tokenizer.json"
  context = 512
}

source stories = [{id: "a", text: "x", kind: "k", mentions: [], answer: "x"}] {
  id    = .id
  split = hash(train: 90%, valid: 10%)
  text  = "{.text} {.answer}"
}

span answer = slot(.answer)
span mention = offsets(.mentions, of: .text)
"""
PART = """
## Words of kind {i}.
span word{i} = phrases("a{i}", "b{i}") | mention where kind == "k{i}"
span other{i} = (word{i} & answer) where length(text) > 2
concept idea{i} {{ spans = word{i}  anchor = learned }}
attend look{i}: other{i} -> word{i} where query.kind == key.kind and key before query {{
  layers = $middle
  heads  = any
  weight = 0.5
}}
signal axis{i}: word{i} {{ layers = 25%  toward = idea{i}.anchor  loss = cosine  weight = 0.2 }}
"""
DECLARED, LINES = 5, 11
"""Declarations and lines of a part."""


def write(folder: Path, name: str, parts: int) -> Path:
    path = folder / name
    path.write_text(HEAD + "".join(PART.format(i=i) for i in range(parts)), encoding="utf-8")
    return path


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def process(*arguments: str) -> Callable[[], object]:
    return lambda: subprocess.run([sys.executable, *arguments], check=True, capture_output=True)


def compare(name: str, run: Callable[[], object], against: str, reference: Callable[[], object], rounds: int) -> None:
    run()
    reference()
    pairs = [(seconds(run), seconds(reference)) for _ in range(rounds)]
    mine, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratio = statistics.median(one / other for one, other in pairs)
    print(f"{name}: {mine * 1000:.0f} ms; {against}: {theirs * 1000:.0f} ms; ratio {ratio:.2f}")


@cache
def parser() -> Lark:
    grammar = files("mcd.grammar").joinpath("mcd.lark").read_text("utf-8")
    return Lark(grammar, parser="lalr", lexer="contextual", start="piece")


def bare_parse(text: str) -> None:
    for piece in cut(text):
        parser().parse(text[piece.start : piece.end])


def cold(folder: Path, rounds: int) -> None:
    spec = write(folder, "cold.mcd", 7)
    compare(
        f"cold check of {len(spec.read_text().splitlines())} lines",
        process("-c", MCD, "check", str(spec)),
        "python -c pass",
        process("-c", "pass"),
        rounds,
    )
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", MCD, "check", str(spec)], check=True, capture_output=True, text=True
    )
    modules = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    heavy = [name for name in HEAVY if name in modules]
    print(f"  {len(modules)} modules imported; of those a check has no need of: {', '.join(heavy) or 'none'}")


def many(folder: Path, rounds: int) -> None:
    spec = write(folder, "many.mcd", (10_000 - DECLARED) // DECLARED)
    text = spec.read_text("utf-8")
    compare(
        f"check of {len(cut(text)) - 1:,} declarations",
        process("-c", MCD, "check", str(spec)),
        "bare parse",
        lambda: bare_parse(text),
        rounds,
    )


def again(folder: Path, rounds: int) -> None:
    spec = write(folder, "again.mcd", 1000 // LINES)
    text = spec.read_text("utf-8")
    asyncio.run(keystrokes(spec, text, rounds))
    project, path, edits = Project(), spec.resolve(), [text.replace("b40", f"b40{i % 10}") for i in range(2)]

    def check() -> None:
        edits.reverse()
        project.put(path, edits[0])
        project.findings(project.of_file(path))

    compare("  of that, the check", check, "bare parse", lambda: bare_parse(text), rounds)


async def keystrokes(spec: Path, text: str, rounds: int) -> None:
    """Types a letter and deletes it again, and waits for the findings each time."""
    client, arrived = LanguageClient("benchmark", "1"), asyncio.Queue[int]()

    @client.feature(types.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)
    async def published(params: types.PublishDiagnosticsParams) -> None:
        await arrived.put(params.version or 0)

    await client.start_io(sys.executable, "-c", MCD, "lsp", env=dict(os.environ))
    options = {"debounce": 0}
    await client.initialize_async(types.InitializeParams(types.ClientCapabilities(), initialization_options=options))
    client.initialized(types.InitializedParams())
    uri, line = spec.as_uri(), text[: text.index("b40")].count("\n")
    column = len(text[: text.index("b40")].rpartition("\n")[2]) + 3
    client.text_document_did_open(types.DidOpenTextDocumentParams(types.TextDocumentItem(uri, "mcd", 0, text)))
    await arrived.get()
    taken: list[float] = []
    for version in range(1, 4 * rounds + 1):
        typed = version % 2
        where = types.Range(types.Position(line, column), types.Position(line, column + 1 - typed))
        change = types.TextDocumentContentChangePartial(where, "x" * typed)
        start = time.perf_counter()
        document = types.VersionedTextDocumentIdentifier(version, uri)
        client.text_document_did_change(types.DidChangeTextDocumentParams(document, [change]))
        while await arrived.get() != version:
            pass
        taken.append(time.perf_counter() - start)
    await client.shutdown_async(None)
    client.exit(None)
    await client.stop()
    typical, worst = statistics.median(taken[2:]) * 1000, max(taken[2:]) * 1000
    print(f"a keystroke in {len(text.splitlines()):,} lines: {typical:.0f} ms, the slowest {worst:.0f} ms")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=9)
    rounds = options.parse_args().rounds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "mcd.toml").touch()
        (folder / "tokenizer.json").write_text("{}", encoding="utf-8")
        cold(folder, rounds)
        many(folder, max(3, rounds // 3))
        again(folder, rounds)


if __name__ == "__main__":
    main()
