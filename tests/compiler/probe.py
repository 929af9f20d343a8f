"""Reads a source in a child process, so that a crash, a hang or a leap of memory of a library ends no test but its own."""

import multiprocessing
import resource
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mcd.compiler.sources.base import Tally
from mcd.compiler.sources.inventory import inventory
from mcd.compiler.sources.reader import read_batches
from mcd.compiler.tokens.tokenize import Encoder
from mcd.dsl.checked import ConstantSplit, Source, Template
from mcd.dsl.diagnostics import Failure, Findings
from mcd.dsl.source import DataPlace, Place, SourceText

PLACE = Place(SourceText("spec.mcd", "source s"), 0, 8)
TEXT, FIELD = ("text",), ("n",)
MIB = 1 << 20


@dataclass(frozen=True)
class Seen:
    """What became of a source: findings as (code, line, message), the texts and values that were read, and memory in MiB."""

    findings: list[tuple[str, int | None, str]]
    texts: list[str]
    values: list[str]
    memory: float


def source_of(file: Path, records=(), text=None, id=None) -> Source:
    format, files = ("inline", ()) if records else (file.suffix[1:], (file,))
    return Source("s", format, files, tuple(records), id, ConstantSplit("train"), text or Template((TEXT,)), PLACE)


def read(source: Source, root: Path, tokenizer: Path, fields=(FIELD,)) -> Seen:
    """Surveys and reads a source as the compiler does."""
    before, encoder = _memory(), Encoder(tokenizer)
    findings, texts, values = Findings(), list[str](), list[str]()
    for task in inventory(source, root, findings).tasks:
        try:
            for batch, _ in read_batches(source, root, task, fields, encoder, Tally()):
                texts += [batch.text(record)[:100] for record in range(min(batch.records, 100))]
                columns = [batch.fields[path] for path in fields if path in batch.fields]
                values += [str(value)[:100] for column in columns for value in column[:1].to_pylist()]
        except Failure as failure:
            findings.items += failure.diagnostics
    assert all(isinstance(found.place, DataPlace | Place) for found in findings.items)
    lines = [found.place.line if isinstance(found.place, DataPlace) else None for found in findings.items]
    found = [(each.code.id, line, each.message) for each, line in zip(findings.items, lines, strict=True)]
    return Seen(found, texts[:100], values[:100], _memory() - before)


def _memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@cache
def _context() -> multiprocessing.context.ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def _answer(pipe, function, *arguments) -> None:
    pipe.send(function(*arguments))


def in_child(function, *arguments, seconds=60):
    """What `function` gives in a process of its own, which has to end by itself, in time, and without a signal."""
    ours, theirs = _context().Pipe(duplex=False)
    child = _context().Process(target=_answer, args=(theirs, function, *arguments))
    child.start()
    theirs.close()
    try:
        if not ours.poll(seconds):
            raise AssertionError(f"no end after {seconds} s")
        with suppress(EOFError):
            return ours.recv()
    finally:
        child.join(1)
        if child.is_alive():
            child.kill()
            child.join()
    raise AssertionError(f"the process ended with {child.exitcode}")
