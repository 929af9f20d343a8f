"""Writes what the editors have from the grammar and the vocabulary, so that a new word is known everywhere at once.

With `--check`, compares it alone, and looks for the keywords and symbols of the grammar in the tree-sitter parser, whose
grammar is written by hand.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from .terminals import terminals
from .textmate import textmate
from .treesitter import for_helix, highlights, missing

HERE = Path(__file__).parent
TREE_SITTER = HERE / "tree-sitter-mcd"


def generated() -> Mapping[Path, str]:
    """The text of every generated file."""
    return {
        HERE / "vscode" / "syntaxes" / "mcd.tmLanguage.json": textmate(terminals()),
        TREE_SITTER / "queries" / "highlights.scm": highlights(terminals()),
        HERE / "helix" / "queries" / "mcd" / "highlights.scm": for_helix(highlights(terminals())),
    }


def stale() -> list[str]:
    """A line for each file that is out of date and each word that the parser lacks."""
    lines = [
        f"{path.relative_to(HERE.parent)} is out of date: python -m editors.generate"
        for path, text in generated().items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]
    return [*lines, *missing(TREE_SITTER, terminals())]


def main() -> int:
    """0 where everything is up to date, or was written; 1 where something differs that only a person can change."""
    parser = argparse.ArgumentParser(prog="python -m editors.generate", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where a file is out of date")
    if not parser.parse_args().check:
        for path, text in generated().items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
    lines = stale()
    for line in lines:
        print(line, file=sys.stderr)
    return int(bool(lines))


if __name__ == "__main__":
    sys.exit(main())
