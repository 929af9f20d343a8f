"""JSON files of a compiled directory: how one is sealed when it is written, and what is asked of one that is read.

The manifest holds a checksum of every other file, and its own: the SHA-256 of its text in which `null` stands for the checksum.
So do the files that tell of measures, which the manifest does not list.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from ..dsl.codes import shards as codes
from ..dsl.diagnostics import Code, Failure
from ..dsl.source import DataPlace
from .plan import Frozen

_OPEN = '\n "checksum": null'
"""Where the checksum goes. JSON escapes line breaks inside strings, so that this stands at the top of the object alone."""

F = TypeVar("F", bound=Frozen)


class Sealed(Frozen):
    """A file with a checksum of its own. `checksum`: None in a file of an older version, and in whatever was read or is to be
    written: it is the text's, which `sealed` gives it and `read_json` takes away."""

    checksum: str | None = None


def sealed(text: str) -> str:
    """The text of a `Sealed` as its file holds it: with its checksum."""
    assert text.count(_OPEN) == 1, "a text with one checksum that is null"
    return text.replace(_OPEN, _with(hashlib.sha256(text.encode()).hexdigest()))


def _with(checksum: str) -> str:
    return _OPEN.replace("null", f'"{checksum}"')


def _unbroken(text: str, checksum: object) -> bool:
    """Whether `text` is what `sealed` made when it gave it `checksum`."""
    parts = text.split(_with(checksum)) if isinstance(checksum, str) else ()
    return len(parts) == 2 and hashlib.sha256(_OPEN.join(parts).encode()).hexdigest() == checksum


def failure(code: Code, path: str, message: str, help: str | None = None) -> Failure:
    """What to raise about a file."""
    return Failure(code.at(DataPlace(path), message, help=help))


def read_json(directory: Path, name: str, kind: type[F], newest: int) -> F:
    """A JSON file of a compiled directory. Its format is looked at before anything else of it, then its checksum.

    Raises Failure for a file that cannot be read, of a newer format, that is not what was written, or no `kind`.
    """
    shown = str(directory / name)
    text, value = _object(directory, name, shown)
    if value["format"] > newest:
        message = f"`{name}` has format {value['format']}; this version reads up to {newest}"
        raise failure(codes.NEWER_FORMAT, shown, message, "install a newer version, or compile again")
    checksum = value.get("checksum") if issubclass(kind, Sealed) else None
    if checksum is not None and not _unbroken(text, checksum):
        message = f"`{name}` is not what was written: its SHA-256 differs from its `checksum`"
        raise failure(codes.FILE_DIGEST, shown, message, "copy it again, or compile again")
    try:
        found = kind.model_validate_json(text)
    except (ValidationError, RecursionError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else {"loc": (), "msg": "nested too deep"}
        where = ".".join(map(str, first["loc"])) or name
        raise failure(codes.NOT_READABLE, shown, f"`{name}` is malformed at `{where}`: {first['msg']}") from None
    return found if checksum is None else found.model_copy(update={"checksum": None})


def _object(directory: Path, name: str, shown: str) -> tuple[str, dict[str, Any]]:
    """The text of a JSON file and what it holds, once that is an object with a `format`."""
    try:
        text = (directory / name).read_text(encoding="utf-8")
        value = json.loads(text)
        if type(value["format"]) is not int:
            raise TypeError
    except OSError as error:
        code = codes.FILE_MISSING if isinstance(error, FileNotFoundError) else codes.NOT_READABLE
        raise failure(code, shown, f"`{name}` cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise failure(codes.NOT_READABLE, shown, f"`{name}` is no JSON object with a `format`") from None
    return text, value
