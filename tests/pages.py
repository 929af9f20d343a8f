"""What pages are made of, and how what they tell is done: blocks, their files, their commands and what these print.

Nothing is started but in this process; a command is one of `mcd`, or `python FILE`.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from click.testing import CliRunner

from mcd.cli.main import mcd
from mcd.dsl.diagnostics import Failure
from mcd.dsl.explain import SPEC
from mcd.dsl.render import render_text

ROOT = Path(__file__).parent.parent
FENCE = re.compile(r"^```(\w[^\n`]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"\b[0-9a-f]{8}\b|(?:(?<!\w)[-+])?\d[\d,.]*(?:e[-+]?\d+)?%?")
ELLIPSIS = "..."


def shown(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@dataclass(frozen=True)
class Block:
    """A fenced block: the words after its fence, its text, and the line on which the text begins."""

    page: Path
    words: tuple[str, ...]
    text: str
    line: int

    def __str__(self) -> str:
        return f"{shown(self.page)}:{self.line}"

    @property
    def file(self) -> str | None:
        """The file that it is, or adds to, where it names one."""
        named = self.words[1] if len(self.words) > 1 else ""
        return named if "." in named else None


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for match in FENCE.finditer(text):
        yield Block(page, tuple(match[1].split()), match[2], text.count("\n", 0, match.start(2)) + 1)


# --- steps


def write(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="")


def command(line: str) -> tuple[bool, str]:
    """Whether a command of `mcd` found something wrong, and what it printed."""
    result = CliRunner(env={"COLUMNS": "80"}).invoke(mcd, shlex.split(line)[1:])
    assert result.exit_code in (0, 1), result.output
    return result.exit_code != 0, result.output


def python(text: str, name: str = "example") -> tuple[bool, str]:
    """The same of a program; a `Failure` is what it found."""
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            exec(compile(text, name, "exec"), {"__name__": "__main__"})
    except Failure as failure:
        return True, printed.getvalue() + render_text(failure.diagnostics)
    return False, printed.getvalue()


# --- pages that are gone through from top to bottom


def walk(steps: Sequence[Block], folder: Path) -> str:
    """Do all that a page tells, in order, in `folder`; what it printed. docs/README.md says what its blocks mean.

    What a command prints is compared with the block `text` after it. One that finds something wrong must have such a block.
    """
    printed, said, failed = "", "", None
    with contextlib.chdir(folder):
        for block in steps:
            match block.words:
                case ("sh", "run"):
                    assert failed is None, f"{failed} finds what the page does not show:\n{said}"
                    bad, said = _commands(block)
                    printed, failed = printed + said, block if bad else None
                case ("text", *how):
                    expect(block, said, numbers="about" not in how)
                    failed = None
                case ("mcd",):
                    write(folder, SPEC, block.text)
                case ("diff", name):
                    write(folder, name, patched((folder / name).read_text(encoding="utf-8"), block))
                case (_, name, "more"):
                    write(folder, name, (folder / name).read_text(encoding="utf-8") + "\n" + block.text)
                case (_, name) if block.file:
                    write(folder, name, block.text)
    assert failed is None, f"{failed} finds what the page does not show:\n{said}"
    return printed


def _commands(block: Block) -> tuple[bool, str]:
    """Whether the last command found an error, and what all of them printed. Those before it must end well."""
    said, bad = "", False
    for line in block.text.replace("\\\n", "").splitlines():
        assert not bad, f"{block}: a command before the last failed:\n{said}"
        words = shlex.split(line, comments=True)
        if words[0] == "python":
            bad, printed = python(Path(words[1]).read_text(encoding="utf-8"), words[1])
        else:
            bad, printed = command(shlex.join(words))
        said += printed
    return bad, said


def patched(text: str, block: Block) -> str:
    """A text with the lines of a `diff` replaced, which stand in it once."""
    rows = block.text.splitlines()
    old = "".join(f"{row[1:]}\n" for row in rows if row[0] in "- ")
    new = "".join(f"{row[1:]}\n" for row in rows if row[0] in "+ ")
    assert text.count(old) == 1, f"{block}: what is replaced stands {text.count(old)} times in\n{text}"
    return text.replace(old, new)


def expect(block: Block, said: str, numbers: bool) -> None:
    """What was printed holds the block's lines; `...` stands for any lines, and without `numbers` any number, or
    digest, for any other."""
    rows, place = [_row(row, numbers) for row in said.splitlines()], 0
    for part in _parts(block.text):
        wanted = [_row(row, numbers) for row in part]
        found = [at for at in range(place, len(rows)) if rows[at : at + len(wanted)] == wanted]
        assert found, f"{block}: expected\n{chr(10).join(part)}\n\nfound\n{said}"
        place = found[0] + len(wanted)


def _parts(text: str) -> Iterator[list[str]]:
    part: list[str] = []
    for row in (*text.splitlines(), ELLIPSIS):
        if row.strip() != ELLIPSIS:
            part.append(row)
        elif part:
            yield part
            part = []


def _row(row: str, numbers: bool) -> str:
    """A line as it is compared: numbers that may differ also differ in how much room they take."""
    return row.rstrip() if numbers else " ".join(NUMBER.sub("0", row).split())
