"""The pages of the codes: what each means, why it is insisted on, an example that fails and one that does not.

A page is `explained/MCDnnn.md`, in one form, which explained/README.md tells. `mcd explain`, the documentation and the tests read
them here; checking reads none. A page that keeps not to the form is a bug of ours, so that it raises PageError and no diagnostic.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from .cut import RULES

FOLDER = Path(__file__).parent / "explained"
GIVEN = FOLDER / "given"
SPEC = "spec.mcd"
HEADINGS = ("What it means", "Why it is so", "Failing", "Fixed")

_TITLE = re.compile(r"# (MCD\d{3}) ([a-z0-9-]+)")
_FENCE = re.compile(r"```([^`]*)")
_WORDS = re.compile(r"(?<![.\w])[a-z_]\w*")
_STRING = re.compile(r'"(?:\\.|[^"\\\n])*"')
_COMMAND = "mcd "


class PageError(ValueError):
    """A page does not have the form of a page."""


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: a file of the example; or, without a file, `sh` and `python` that are run, `text` that is printed."""

    language: str
    file: str | None
    text: str

    @property
    def is_run(self) -> bool:
        """Whether it is a step of the example."""
        return self.file is None and self.language in ("sh", "python")

    @property
    def is_printed(self) -> bool:
        """Whether it is what the last step prints."""
        return self.file is None and self.language == "text"


Piece = str | Block
"""A paragraph, as Markdown, or a block."""


@dataclass(frozen=True, slots=True)
class Example:
    """A project: its files, and what is run in it, in order; what the last of that prints, where it is no check."""

    pieces: tuple[Piece, ...]
    files: Mapping[str, str]
    steps: tuple[Block, ...]
    printed: str | None

    @property
    def is_check(self) -> bool:
        """Whether it is shown by checking its spec alone."""
        return self.steps == (CHECK,)


@dataclass(frozen=True, slots=True)
class Page:
    """All that is told of a code. `meaning` and `why` are paragraphs."""

    id: str
    name: str
    meaning: tuple[str, ...]
    why: tuple[str, ...]
    failing: Example
    fixed: Example


CHECK = Block("sh", None, f"mcd check {SPEC}\n")


def page(id: str) -> Page:
    """The page of a code."""
    return parse(FOLDER.joinpath(f"{id}.md").read_text(encoding="utf-8"))


def given() -> dict[str, str]:
    """The files that every example has unless it brings its own: a spec, records, a tokenizer, the config of a model."""
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(GIVEN.iterdir())}


def parse(text: str) -> Page:
    """A page from its Markdown."""
    lines = text.split("\n")
    title = _TITLE.fullmatch(lines[0])
    if title is None:
        raise PageError(f"a page starts with `# MCDnnn name`, found `{lines[0]}`")
    headings, sections = _sections(lines[1:])
    if headings != HEADINGS:
        raise PageError(f"{title[1]} has the sections {', '.join(headings) or 'none'}; expected {', '.join(HEADINGS)}")
    meaning, why, failing, fixed = (tuple(_pieces(section)) for section in sections)
    try:
        first = _failing(failing)
        return Page(title[1], title[2], _prose(meaning), _prose(why), first, _fixed(fixed, first))
    except PageError as error:
        raise PageError(f"{title[1]}: {error}") from None


def _sections(lines: list[str]) -> tuple[tuple[str, ...], list[list[str]]]:
    """The headings, and the lines below each. A `## ` in a block is none."""
    headings: list[str] = []
    sections: list[list[str]] = [[]]
    inside = False
    for line in lines:
        inside ^= line.startswith("```")
        if line.startswith("## ") and not inside:
            headings.append(line[3:])
            sections.append([])
        else:
            sections[-1].append(line)
    if any(line.strip() for line in sections[0]):
        raise PageError("text before the first section")
    return tuple(headings), sections[1:]


def _pieces(lines: list[str]) -> Iterator[Piece]:
    """Paragraphs, each one line now, and blocks."""
    rows = iter(lines)
    paragraph: list[str] = []
    for row in rows:
        fence = _FENCE.fullmatch(row)
        if row.strip() and fence is None:
            paragraph.append(row.strip())
            continue
        if paragraph:
            yield " ".join(paragraph)
            paragraph = []
        if fence is not None:
            yield _block(fence[1].split(), rows)
    if paragraph:
        yield " ".join(paragraph)


def _block(words: list[str], rows: Iterator[str]) -> Block:
    text = []
    for row in rows:
        if row == "```":
            break
        text.append(row + "\n")
    else:
        raise PageError("a block has no end")
    if not 1 <= len(words) <= 2:
        raise PageError(f"a block names its language and perhaps its file, found `{' '.join(words)}`")
    block = Block(words[0], words[1] if len(words) > 1 else None, "".join(text))
    if block.file is None and block.language not in ("mcd", "sh", "python", "text"):
        raise PageError(f"a block of `{block.language}` names its file")
    if block.language == "sh" and not all(line.startswith(_COMMAND) for line in text):
        raise PageError("a block of `sh` has lines of `mcd ...` alone")
    return block


def _prose(pieces: tuple[Piece, ...]) -> tuple[str, ...]:
    found = tuple(piece for piece in pieces if isinstance(piece, str))
    if not found or len(found) < len(pieces):
        raise PageError("what it means and why are told in words, without blocks")
    return found


# --- examples --------------------------------------------------------------------------------------------------------


def _failing(pieces: tuple[Piece, ...]) -> Example:
    return _example(pieces, given(), ())


def _fixed(pieces: tuple[Piece, ...], failing: Example) -> Example:
    """The fixed example has the files and the steps of the failing one where it brings none of its own."""
    return _example(pieces, failing.files, failing.steps)


def _example(pieces: tuple[Piece, ...], files: Mapping[str, str], steps: tuple[Block, ...]) -> Example:
    blocks = [piece for piece in pieces if isinstance(piece, Block)]
    if not blocks:
        raise PageError("an example without a block")
    printed = [block.text for block in blocks if block.is_printed]
    run = tuple(block for block in blocks if block.is_run)
    own = [_file(block) for block in blocks if not (block.is_run or block.is_printed)]
    if len(dict(own)) < len(own) or len(printed) > 1:
        raise PageError("an example has a file twice, or prints twice")
    return Example(pieces, {**files, **dict(own)}, run or steps or (CHECK,), printed[0] if printed else None)


def _file(block: Block) -> tuple[str, str]:
    if block.file is not None:
        return block.file, block.text
    return SPEC, complete(block.text)


def complete(fragment: str) -> str:
    """A whole spec: one that starts with its edition as it is; declarations with that line before them, and after them the given
    model, source, and whatever else that is given they name."""
    if fragment.startswith("mcd "):
        return fragment
    declarations = _declarations((GIVEN / SPEC).read_text(encoding="utf-8"))
    own = {name for name, _ in _declarations(fragment)}
    needed = [fragment]
    found = {"model", "source"} | _words(fragment)
    for name, text in reversed(declarations):  # what is given names what stands before it
        if name in found and name not in own:
            needed.insert(1, text)
            found |= _words(text)
    return "mcd 1\n" + "".join(needed)


def _declarations(spec: str) -> list[tuple[str | None, str]]:
    """What each piece that starts in column 1 declares, with its text: its name, if any; `model` and `source` under any name."""
    pieces = [piece for piece in re.split(r"^(?=[a-z])", spec, flags=re.MULTILINE) if not piece.startswith("mcd ")]
    return [(_declared(piece), piece) for piece in pieces if piece.strip()]


def _declared(piece: str) -> str | None:
    """A rule declares the name before its colon, if it has one."""
    if (unique := re.match(r"model|source", piece)) is not None:
        return unique[0]
    named = re.match(rf"(?:{'|'.join(RULES)}) +(\w+):|(?!{'|'.join(RULES)})\w+ +(\w+)", piece)
    return named and (named[1] or named[2])


def _words(text: str) -> set[str]:
    """The names in a text, strings and what follows a dot left out."""
    return set(_WORDS.findall(_STRING.sub("", text)))
