"""The special tokens of a tokenizer file, by what its JSON says alone. No tokenizer is built, as no model is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def special_tokens(path: Path) -> frozenset[str] | None:
    """The added tokens, and those that the post-processor puts around a text. None where the file is no tokenizer, which is
    said when it is used."""
    try:
        content = json.loads(path.read_bytes())
        return frozenset([*_added(content), *_around(content.get("post_processor"))])
    except (OSError, ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return None


def _added(content: dict[str, Any]) -> Iterator[str]:
    for entry in content.get("added_tokens") or ():
        yield str(entry["content"])


def _around(processor: dict[str, Any] | None) -> Iterator[str]:
    """The tokens that a post-processor adds: those of a template, or of BERT's and RoBERTa's way, or of a sequence of them."""
    processor = processor or {}
    for entry in (processor.get("special_tokens") or {}).values():
        yield from map(str, entry["tokens"])
    for side in ("cls", "sep"):
        if side in processor:
            yield str(processor[side][0])
    for inner in processor.get("processors") or ():
        yield from _around(inner)
