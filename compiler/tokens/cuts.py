"""Where a text may be cut so that the tokens of its pieces, one after another, are the tokens of the text.

A *cut* is a place that lies between two pieces of the pre-tokeniser in every text, whatever stands further left and right.
Models work on each such piece alone, so that the tokens on either side of a cut depend on that side alone. Between two cuts
lies a *chunk*. Which places are cuts follows from the settings of a tokenizer; each kind below says why. All of them need that

- the normaliser works character by character, or within a sequence of combining characters, and leaves printable ASCII
  printable: then a place before ASCII white space or punctuation, after ASCII, is a boundary for it;
- no added token can match across a cut: none holds white space after a character that is none, and nothing is cut before
  punctuation that one holds after a letter or digit, nor, where one holds several spaces, before a space after another. One
  that must be a word of its own may look beyond a cut, unless a space is there. Which chunks hold an added token is seen from
  their ids.

`Split` and `ByteLevel` with known patterns: a cut before a space that a character follows that is no white space. No alternative
takes a space after a character that is no space, and of a run of white space before such a space `\\s+(?!\\S)` takes all that
no earlier alternative took; without what is right of the cut it takes the same, up to the end. No alternative goes from an
ASCII letter or digit to ASCII punctuation, but for `'` in contractions, nor to a line break: there lies a cut, too. A step
before the pattern that sets digits or punctuation apart may end a piece with white space; then a space that comes after white
space is no cut.

Pre-tokenisers that drop white space, and BERT's, which also sets punctuation apart: a cut before white space after printable
ASCII, and before punctuation where it is set apart from letters and digits.

`Metaspace` that splits: it ends a piece before each space.

BPE without any of these merges symbols of the whole text. Where no merge gives a token that holds a space after something
else, none crosses a place before a space, and those on either side happen in the same order without the other side.
"""

from __future__ import annotations

import json
import string
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from tokenizers import Tokenizer, models

from ..batch import Bools, Ints
from .lengths import steps
from .patterns import ENDING_WORDS, SETTING_APART
from .text import Bytes, is_ascii, spaces

MARK = "▁"
_PUNCTUATION = bytes(set(string.punctuation.encode()) - set(b"'"))
_NORMALIZERS = {"BertNormalizer", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Nmt", "Precompiled", "StripAccents"}


@dataclass(frozen=True, slots=True)
class Cuts:
    """Cuts lie before a space with a solid character on either side or, with `anywhere`, after it; and between an ASCII letter or
    digit and a byte of `before`. Solid is printable ASCII and, with `wide`, what beyond ASCII is no white space. `spaced`:
    whether a text may begin with a space."""

    anywhere: bool = False
    wide: bool = False
    before: bytes = b""
    spaced: bool = True

    def places(self, buffer: Bytes, begin: Ints, stop: Ints) -> Ints:
        """Where the chunks of the texts `[begin, stop)`, which tile the buffer, begin, and the end of the last: increasing."""
        solid = self._solid(buffer)
        cut = np.zeros(len(buffer) + 1, np.bool_)
        space = buffer[1:-1] == 0x20
        if not self.anywhere:
            space &= solid[:-2]
        solid[begin[begin < stop]] = False  # the space before it ends another text
        space &= solid[2:]
        cut[1 : len(space) + 1] = space
        if self.before:
            cut[1:-1] |= _LETTER_OR_DIGIT[buffer[:-1]] & _table(self.before)[buffer[1:]]
        cut[begin] = cut[-1] = True
        return np.flatnonzero(cut)

    def follow(self, buffer: Bytes, begin: Ints, stop: Ints) -> tuple[Bools, Bools]:
        """Of the chunks `[begin, stop)`, which begin with a space before a solid character, and which with one of `before`. All
        others stand at the beginning of a text and nowhere else."""
        head, second = buffer[begin], self._solid(buffer)[np.minimum(begin + 1, stop - 1)]
        return (head == 0x20) & second, _table(self.before)[head]

    def closed(self, buffer: Bytes, stop: Ints) -> Bools:
        """Of chunks that end there, which another one may follow."""
        return np.ones(len(stop), np.bool_) if self.anywhere else self._solid(buffer)[stop - 1]

    def _solid(self, buffer: Bytes) -> Bools:
        found: Bools = (buffer - np.uint8(0x21)) < 0x5E
        if self.wide and not is_ascii(buffer):
            found |= (buffer >= 0x80) & ~spaces(buffer)
        return found


def _table(members: bytes) -> Bools:
    found = np.zeros(256, np.bool_)
    found[np.frombuffer(members, np.uint8)] = True
    return found


_LETTER_OR_DIGIT = _table((string.ascii_letters + string.digits).encode())


def cuts(tokenizer: Tokenizer) -> Cuts | None:
    """The cuts of a tokenizer, None where none are known to be."""
    normal = steps(tokenizer.normalizer)
    marked = any(step["type"] == "Replace" for step in normal)
    added = list(_added(tokenizer))
    blanks = [[char.isspace() or (marked and char == MARK) for char in text] for text, _ in added]
    if not _normalizes_apart(tokenizer) or any(right > left for blank in blanks for left, right in pairwise(blank)):
        return None
    if any(alone and any(blank[:1]) for blank, (_, alone) in zip(blanks, added, strict=True)):
        return None
    found = _of_steps(steps(tokenizer.pre_tokenizer), tokenizer)
    if found is None:
        return None
    literal = all(step["type"] == "NFC" for step in normal)  # others may put white space for what is none
    within = {right for text, _ in added for left, right in pairwise(text.encode()) if _LETTER_OR_DIGIT[left]}
    return replace(
        found,
        anywhere=found.anywhere and literal and not any(any(blank[1:]) for blank in blanks),
        wide=found.wide and literal,
        before=b"" if any(alone for _, alone in added) else bytes(set(found.before) - within),
        spaced=all(step["type"] != "Prepend" for step in normal),
    )


def _of_steps(before: list[dict[str, Any]], tokenizer: Tokenizer) -> Cuts | None:
    """Those of a sequence of pre-tokenisers: of the first that ends pieces at white space. Those after it see its pieces one by
    one, those in front of it may only set digits or punctuation apart."""
    for place, step in enumerate(before):
        if _sets_apart(step):
            continue
        rest = before[place + 1 :]
        if step["type"] == "ByteLevel" and not step["use_regex"]:
            return None
        if all(_sees_pieces(later) for later in rest) and (found := _of_step(step)) is not None:
            return replace(found, anywhere=found.anywhere and place == 0)
        break
    return _of_merges(before, tokenizer)


def _sets_apart(step: dict[str, Any]) -> bool:
    match step:
        case {"type": "Digits" | "Punctuation"}:
            return step.get("behavior", "Isolated") in ("Isolated", "Contiguous")
        case {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}:
            return pattern in SETTING_APART
        case _:
            return False


def _sees_pieces(step: dict[str, Any]) -> bool:
    """Whether a step works on each piece alone, wherever that stands in the text."""
    return (
        step["type"] in ("Digits", "Punctuation", "Split")
        or (step["type"] == "ByteLevel" and not step["add_prefix_space"])
        or (step["type"] == "Metaspace" and step["prepend_scheme"] != "first")
    )


def _of_step(step: dict[str, Any]) -> Cuts | None:
    match step:
        case {"type": "ByteLevel", "use_regex": True, "add_prefix_space": True}:
            return Cuts(anywhere=True, wide=True)
        case {"type": "ByteLevel", "use_regex": True}:
            return Cuts(anywhere=True, wide=True, before=_PUNCTUATION + b"\n")
        case {"type": "Split", "pattern": {"Regex": pattern}} if _escaped(pattern) in ENDING_WORDS.values():
            whole = (step["behavior"], step["invert"]) in (("Isolated", False), ("Removed", True))
            return Cuts(anywhere=True, wide=True, before=_PUNCTUATION + b"\n") if whole else None
        case {"type": "BertPreTokenizer"}:
            return Cuts(before=string.punctuation.encode() + b"\n")
        case {"type": "Whitespace"}:  # its words take `_` in
            return Cuts(before=bytes(set(string.punctuation.encode()) - set(b"_")) + b"\n")
        case {"type": "WhitespaceSplit"}:
            return Cuts(before=b"\n")
        case {"type": "Metaspace", "split": True, "replacement": replacement} if replacement == MARK:
            return Cuts()
        case _:
            return None


def _escaped(pattern: str) -> str:
    """The pattern with line breaks as they are mostly written."""
    return pattern.replace("\r", r"\r").replace("\n", r"\n")


def _of_merges(before: list[dict[str, Any]], tokenizer: Tokenizer) -> Cuts | None:
    """Those of a BPE that works on the whole text, with marks for its spaces."""
    split = {"type": "Split", "pattern": {"String": " "}}  # which finds no space where the normaliser has put marks
    if before == [] or (len(before) == 1 and before[0].items() >= split.items()):
        marked = any(step["type"] == "Replace" for step in steps(tokenizer.normalizer))
    elif len(before) == 1 and before[0]["type"] == "Metaspace":
        marked = before[0]["replacement"] == MARK
    else:
        return None
    if not marked or not isinstance(tokenizer.model, models.BPE):
        return None
    model = json.loads(tokenizer.model.__getstate__())
    if model["ignore_merges"] or model["end_of_word_suffix"] or model["continuing_subword_prefix"]:
        return None
    merged = ("".join(pair) for pair in model["merges"])
    apart = MARK in model["vocab"] and all(MARK not in token.lstrip(MARK) for token in merged)
    return Cuts() if apart else None


def _normalizes_apart(tokenizer: Tokenizer) -> bool:
    """Whether a normaliser leaves boundaries before white space and punctuation where they are, and printable ASCII printable."""
    normalizer = tokenizer.normalizer
    if normalizer is None:
        return True
    plain = [normalizer.normalize_str(chr(byte)).removeprefix(MARK).lower() for byte in range(0x21, 0x7F)]
    return (
        all(map(_keeps_boundaries, steps(normalizer)))
        and plain == [chr(byte).lower() for byte in range(0x21, 0x7F)]
        and normalizer.normalize_str("a b").removeprefix(MARK) in ("a b", f"a{MARK}b")
    )


def _keeps_boundaries(step: dict[str, Any]) -> bool:
    match step:
        case {"type": "Prepend", "prepend": text}:
            return bool(text == MARK)
        case {"type": "Replace", "pattern": {"String": " "}, "content": text}:
            return bool(text == MARK)
        case {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": text}:
            return text in (MARK, " ")
        case {"type": "Strip"}:
            return not step["strip_left"]
        case _:
            return step["type"] in _NORMALIZERS


def _added(tokenizer: Tokenizer) -> Iterator[tuple[str, bool]]:
    """The texts of added tokens, as they are and as the normaliser makes them, and whether each must be a word of its own."""
    for token in tokenizer.get_added_tokens_decoder().values():
        yield token.content, token.single_word
        if tokenizer.normalizer is not None:
            yield tokenizer.normalizer.normalize_str(token.content), token.single_word
