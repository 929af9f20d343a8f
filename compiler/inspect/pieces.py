"""The text of tokens, which shards do not hold: the tokenizer that made them is found again by its content."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from ...dsl.codes import shards as codes
from ...dsl.diagnostics import Failure
from ...dsl.source import DataPlace
from ..manifest import file_digest
from .opened import Opened


class Pieces:
    """A tokenizer that puts ids back into text."""

    def __init__(self, file: Path) -> None:
        self._tokenizer = Tokenizer.from_file(str(file))

    def __call__(self, ids: Sequence[int]) -> tuple[str, ...]:
        """What each token adds to the text of those before it. A token that ends inside a character adds nothing: the one that
        completes the character adds it."""
        stream = DecodeStream(skip_special_tokens=False)
        try:
            return tuple(stream.step(self._tokenizer, number) or "" for number in ids)
        except Exception:  # the library raises no other: a text that does not begin with that of the tokens before
            return tuple(self._tokenizer.decode([number], skip_special_tokens=False) for number in ids)


def find_tokenizer(opened: Opened, given: Path | None) -> Path | None:
    """The tokenizer's file: `given`, or an input of the manifest below the working directory, the dataset or a folder above
    them, whose content is what made the shards. None where no such file is found.

    Raises Failure for a given file that is none, or another.
    """
    wanted = opened.plan.tokenizer.digest
    if given is None:
        return next((file for file in _candidates(opened) if _digest(file) == wanted), None)
    found = _digest(given)
    if found is None:
        raise Failure(codes.OTHER_TOKENIZER.at(DataPlace(str(given)), f"tokenizer `{given.name}` cannot be read"))
    if found != wanted:
        message = (
            f"`{given.name}` is not the tokenizer of the shards: its digest is {found[:8]}, theirs is {wanted[:8]}"
        )
        raise Failure(codes.OTHER_TOKENIZER.at(DataPlace(str(given)), message))
    return given


def _candidates(opened: Opened) -> Iterator[Path]:
    here, there = Path.cwd(), opened.directory.resolve()
    for entry in opened.manifest.inputs:
        if entry.digest == opened.plan.tokenizer.digest:
            yield from (folder / entry.path for folder in dict.fromkeys((here, *here.parents, there, *there.parents)))


def _digest(file: Path) -> str | None:
    try:
        return file_digest(file)[0][:32] if file.is_file() else None
    except OSError:
        return None
