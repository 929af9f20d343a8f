"""Specs that nobody wrote: by the grammar, and by mutation of the specs that the other tests and the pages hold.

Whatever they are, they end in a program or in diagnostics. `python -m tests.dsl.fuzz --count 100000` tries many, each by its
number, so that one that fails can be tried again alone: `--first NUMBER --count 1`.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from random import Random

from mcd.compiler.compile import compile_program
from mcd.compiler.describe import describe
from mcd.compiler.lower import lower
from mcd.compiler.plan import Tokenizer
from mcd.compiler.verify import broken_invariants
from mcd.dsl.check import examine
from mcd.dsl.cut import cut
from mcd.dsl.diagnostics import Failure, Findings, Severity
from mcd.dsl.format import format_source
from mcd.dsl.lint import lint
from mcd.dsl.parse import parse
from mcd.dsl.render import render_json, render_text
from mcd.dsl.source import Place, SourceText

from ..projects import write_tokenizer
from .generate import NAMES, NUMBERS, PERCENTS, STRINGS, spec
from .test_check import PROGRAMS, lay_out, whole

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```mcd[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TOKEN = re.compile(r'"[^"\n]*"?|#[^\n]*|[A-Za-z_]\w*|\d[\d.e%+-]*|->|\.\.|[<>=!]=|\s+|.', re.DOTALL)
ODD = (
    *(NAMES + NUMBERS + PERCENTS + STRINGS),
    *(
        "1e308",
        "1e-300",
        "-1",
        "99999999999",
        "200%",
        "-50%",
        "final",
        "any",
        "$a",
        ".a.b",
        "()",
        "[]",
        "{}",
        "[[1, 0]]",
    ),
    *(
        "->",
        "|",
        "&",
        "in",
        "where",
        "not",
        "before",
        "..",
        "=",
        "==",
        ":",
        ",",
        *"(){}[]",
        '"',
        "\\",
        "\x00",
        "é",
        "🙂",
    ),
)

COMPILED = 20
"""One in so many of the specs that check clean is compiled too."""


def corpus() -> list[str]:
    """The specs that there are, whole."""
    found = [whole(title, text) for title, text in PROGRAMS]
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    found += [whole("", block) for page in pages for block in BLOCK.findall(page.read_text(encoding="utf-8"))]
    found += [path.read_text(encoding="utf-8") for path in sorted(ROOT.glob("specs/*/*.mcd"))]
    return found


def case(number: int, known: list[str], clean: list[str]) -> str:
    """The spec of that number: one in four by the grammar, the others mutations of `known` specs, as often as not of a `clean`
    one."""
    random = Random(number)
    if random.random() < 0.25:
        return spec(number, random.randint(0, 8))
    text = random.choice(random.choice((known, clean)))
    for _ in range(random.choice((1, 1, 1, 2, 3, 8))):
        text = random.choice(MUTATIONS)(random, text, known)
    return text


# --- mutations -------------------------------------------------------------------------------------------------------


def _tokens(text: str) -> tuple[list[str], list[int]]:
    """The pieces of a text, and which of them are neither blank nor comment."""
    pieces = TOKEN.findall(text)
    return pieces, [i for i, piece in enumerate(pieces) if not piece.isspace() and piece[0] != "#"]


def _edited(random: Random, text: str, edit: object) -> str:
    pieces, places = _tokens(text)
    if places:
        edit(pieces, random.choice(places), places)  # type: ignore[operator]
    return "".join(pieces)


def _drop(random: Random, text: str, known: list[str]) -> str:
    return _edited(random, text, lambda pieces, at, _: pieces.pop(at))


def _double(random: Random, text: str, known: list[str]) -> str:
    return _edited(random, text, lambda pieces, at, _: pieces.insert(at, pieces[at] + random.choice(("", " "))))


def _swap(random: Random, text: str, known: list[str]) -> str:
    def edit(pieces: list[str], at: int, places: list[int]) -> None:
        other = random.choice(places)
        pieces[at], pieces[other] = pieces[other], pieces[at]

    return _edited(random, text, edit)


def _replace(random: Random, text: str, known: list[str]) -> str:
    """Another token of the same text, which often is one of the right kind, or an odd one."""

    def edit(pieces: list[str], at: int, places: list[int]) -> None:
        pieces[at] = random.choice(ODD) if random.random() < 0.4 else pieces[random.choice(places)]

    return _edited(random, text, edit)


def _insert(random: Random, text: str, known: list[str]) -> str:
    return _edited(random, text, lambda pieces, at, _: pieces.insert(at, f" {random.choice(ODD)} "))


def _wrap(random: Random, text: str, known: list[str]) -> str:
    def edit(pieces: list[str], at: int, places: list[int]) -> None:
        opening, closing = random.choice(("()", "[]", "{}"))
        pieces[at] = opening + pieces[at] + closing

    return _edited(random, text, edit)


def _character(random: Random, text: str, known: list[str]) -> str:
    at = random.randint(0, len(text))
    return text[:at] + random.choice('(){}[]"#=:.,$%\\\n\r\t é\u202e\ud7ff0a') + text[at + random.randint(0, 1) :]


def _splice(random: Random, text: str, known: list[str]) -> str:
    """A declaration of another spec."""
    other = random.choice(known)
    piece = random.choice(cut(other))
    return f"{text}\n{other[piece.start : piece.end]}\n"


def _without(random: Random, text: str, known: list[str]) -> str:
    piece = random.choice(cut(text) or cut("mcd 1"))
    return text[: piece.start] + text[piece.end :]


MUTATIONS = (_drop, _double, _swap, _replace, _replace, _replace, _insert, _wrap, _character, _splice, _without)


# --- what holds of every spec ----------------------------------------------------------------------------------------


def outcome(text: str, root: Path, compiles: bool = False) -> set[str]:
    """The codes that a spec gives, or `clean`. Raises where it is not treated as it should be."""
    path = root / "fuzzed.mcd"
    path.write_text(text, encoding="utf-8", errors="surrogatepass", newline="")
    checked = examine(path)
    program, findings = checked.program, checked.findings
    for item in findings.items:
        assert "\n" not in item.message and item.message, item
        if isinstance(item.place, Place):
            assert 0 <= item.place.start <= item.place.end <= len(item.place.source.text), item
    assert render_text(findings.items, color=True).count("-->") >= 0 and render_json(findings.items)
    assert (program is None) == any(item.severity is Severity.ERROR for item in findings.items)
    lint(checked)
    _formats(text)
    if program is not None:
        lowered = lower(program, Tokenizer(digest="0" * 32), "0")
        assert not broken_invariants(lowered.plan) and describe(program, lowered)
        if compiles:
            with tempfile.TemporaryDirectory() as out:
                try:
                    compile_program(program, Path(out) / "out")
                except Failure as failure:
                    render_text(failure.diagnostics)
    return {item.code.id for item in findings.items} or {"clean"}


def _formats(text: str) -> None:
    findings = Findings()
    source = SourceText("x.mcd", text)
    before = parse(source, findings)
    if findings.items:
        return
    result = format_source(source, findings)
    assert result is not None and not findings.items, findings.items
    assert parse(SourceText("x.mcd", result), findings) == before and not findings.items
    assert format_source(SourceText("x.mcd", result), findings) == result


# --- the command -----------------------------------------------------------------------------------------------------


def run(first: int, count: int) -> tuple[Counter[str], list[tuple[int, str]]]:
    """How often each code came up in specs `first` to `first + count`, and what failed, by number."""
    codes: Counter[str] = Counter()
    failed: list[tuple[int, str]] = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve() / "project"
        lay_out(root)
        write_tokenizer(root / "tokenizer.json")
        known = corpus()
        clean = [text for text in known if "clean" in outcome(text, root)]
        for number in range(first, first + count):
            try:
                codes.update(outcome(case(number, known, clean), root, number % COMPILED == 0))
            except Exception:
                failed.append((number, traceback.format_exc(limit=-4)))
    return codes, failed


def _parts(first: int, count: int, size: int = 2500) -> Iterator[tuple[int, int]]:
    for start in range(first, first + count, size):
        yield start, min(size, first + count - start)


def main() -> int:
    """0 where every spec ended as it should."""
    parser = argparse.ArgumentParser(prog="python -m tests.dsl.fuzz", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=2000, help="how many specs")
    parser.add_argument("--first", type=int, default=0, help="the number of the first")
    parser.add_argument("--workers", type=int, default=2)
    chosen = parser.parse_args()
    start = time.monotonic()
    codes: Counter[str] = Counter()
    failed: list[tuple[int, str]] = []
    with ProcessPoolExecutor(chosen.workers) as pool:
        jobs = [pool.submit(run, *part) for part in _parts(chosen.first, chosen.count)]
        for job in jobs:
            found, wrong = job.result()
            codes += found
            failed += wrong
    for number, trace in failed[:20]:
        print(f"--- spec {number}\n{trace}", file=sys.stderr)
    clean = codes.pop("clean", 0)
    print(
        f"{chosen.count} specs in {time.monotonic() - start:.0f} s: {clean} clean, {len(codes)} codes, {len(failed)} failed"
    )
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
