"""Every program in data/syntax.txt gives exactly the findings that are written under its lines."""

import re
from pathlib import Path

import pytest

from mcd.dsl.codes import syntax
from mcd.dsl.diagnostics import Code, Findings
from mcd.dsl.parse import parse
from mcd.dsl.source import SourceText

CASES = (Path(__file__).parent / "data" / "syntax.txt").read_text("utf-8").partition("===\n")[2].split("\n---\n")
MARK = re.compile(r" *(\^+ MCD\d|help: |see: )")


def program(case: str) -> str:
    text = "\n".join(line for line in case.split("\n") if not MARK.match(line))
    return text if re.search(r"^mcd", text, re.MULTILINE) else "mcd 1\n" + text


def annotated(text: str) -> str:
    """The program with its findings written under its lines."""
    source, findings = SourceText("case.mcd", text), Findings()
    parse(source, findings)
    out = []
    for number, line in enumerate(text.split("\n"), 1):
        out.append(line)
        for item in sorted(findings.items, key=lambda item: item.place.start):
            at, column = source.position(item.place.start)
            if at != number:
                continue
            indent = " " * (column - 1)
            marks = "^" * max(1, item.place.end - item.place.start)
            out.append(f"{indent}{marks} {item.code.id} {item.message}")
            if item.help:
                out.append(f"{indent}help: {item.help}")
            for related in item.related:
                out.append(f"{indent}see: {source.position(related.place.start)} {related.message}")
    return "\n".join(out)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.split("\n")[0])
def test_findings(case: str) -> None:
    text = program(case)
    expected = case if text.startswith(case.split("\n")[0]) else "mcd 1\n" + case
    assert annotated(text).rstrip("\n") == expected.rstrip("\n")


ELSEWHERE = {"MCD103", "MCD108", "MCD109", "MCD110", "MCD111", "MCD112", "MCD120"}


def test_every_code_has_a_program() -> None:
    codes = {code.id for code in vars(syntax).values() if isinstance(code, Code)}
    marked = set(re.findall(r"\^ (MCD\d+)", "\n".join(CASES)))
    assert codes - ELSEWHERE <= marked
    assert marked <= codes
