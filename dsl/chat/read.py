"""The files of a chat template: a `.jinja` file, or the `tokenizer_config.json` that transformers writes. JSON and text alone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CONFIG = "tokenizer_config.json"
TEMPLATE = "chat_template.jinja"
DEFAULT, TOOL_USE = "default", "tool_use"
"""The names that templates have where a config lists several: one for all records, one for records with tools."""
MAX_BYTES = 1 << 20
"""Size of a template."""


class Unusable(Exception):
    """A file gives no template. The message follows the name of the file."""


@dataclass(frozen=True, slots=True)
class Config:
    """What a config says: `templates` by name, None where it has none; `tokens`, by their names (`bos_token`)."""

    templates: dict[str, str] | None
    tokens: dict[str, str]


def read_template(path: Path) -> str:
    """The text of a template's file. Raises Unusable."""
    text = _read(path)
    if len(text) > MAX_BYTES:
        raise Unusable(f"is longer than {MAX_BYTES} characters")
    return text


def read_config(path: Path) -> Config:
    """What the config at `path` says of templates and special tokens. Raises Unusable."""
    try:
        content = json.loads(_read(path))
    except (ValueError, RecursionError) as error:
        raise Unusable(f"is no JSON: {error}") from None
    if not isinstance(content, dict):
        raise Unusable("is no JSON object")
    tokens = {name: text for name, value in content.items() if name.endswith("_token") and (text := _token(value))}
    return Config(_templates(content.get("chat_template")), tokens)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise Unusable(f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise Unusable(f"is no UTF-8 text: {error}") from None


def _token(value: Any) -> str | None:
    """The text of a special token, which older files give as an object."""
    value = value.get("content") if isinstance(value, dict) else value
    return value if isinstance(value, str) else None


def _templates(value: Any) -> dict[str, str] | None:
    match value:
        case None:
            return None
        case str():
            found = {DEFAULT: value}
        case list() if all(isinstance(entry, dict) for entry in value):
            found = {str(entry.get("name")): entry.get("template") for entry in value}
        case dict():
            found = dict(value)
        case _:
            raise Unusable("has a `chat_template` that is neither a text nor a list of named ones")
    for name, text in found.items():
        if not isinstance(text, str):
            raise Unusable(f"has a chat template `{name}` that is no text")
        if len(text) > MAX_BYTES:
            raise Unusable(f"has a chat template `{name}` longer than {MAX_BYTES} characters")
    if DEFAULT not in found:
        names = ", ".join(f"`{name}`" for name in found) or "none"
        raise Unusable(f"has no chat template `{DEFAULT}` among {names}")
    return {name: found[name] for name in (DEFAULT, TOOL_USE) if name in found}
