"""Files of a compiled directory, held against what was written before anything of them is used."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Literal, TypeVar

from pydantic import ValidationError

from ...dsl.codes import shards as codes
from ...dsl.diagnostics import Code, Failure
from ...dsl.source import DataPlace
from ..manifest import EXPORTED, MANIFEST_FILE, FileEntry, file_digest
from ..plan import Frozen

Verify = Literal["digest", "size"]
F = TypeVar("F", bound=Frozen)


def failure(code: Code, path: str, message: str, help: str | None = None) -> Failure:
    """What to raise about a file."""
    return Failure(code.at(DataPlace(path), message, help=help))


def read_json(directory: Path, name: str, kind: type[F], newest: int) -> F:
    """A JSON file of the directory. Its format is looked at before anything else of it."""
    shown = str(directory / name)
    try:
        text = (directory / name).read_text(encoding="utf-8")
        value = json.loads(text)
        version = value["format"]
        if not isinstance(version, int):
            raise TypeError
    except OSError as error:
        absent = name == MANIFEST_FILE and isinstance(error, FileNotFoundError | NotADirectoryError)
        if absent:
            message = f"`{directory.name}` is no compiled dataset: it has no {MANIFEST_FILE}"
            help = "`mcd compile SPEC -o DIR` writes one"
            if (directory / EXPORTED / MANIFEST_FILE).is_file():
                help = "it is an export: give the directory that it was made from"
            raise failure(codes.NOT_A_DATASET, str(directory), message, help) from None
        code = codes.FILE_MISSING if isinstance(error, FileNotFoundError) else codes.NOT_READABLE
        raise failure(code, shown, f"`{name}` cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise failure(codes.NOT_READABLE, shown, f"`{name}` is no JSON object with a `format`") from None
    if version > newest:
        message = f"`{name}` has format {version}; this version reads up to {newest}"
        raise failure(codes.NEWER_FORMAT, shown, message, "install a newer version, or compile again")
    try:
        return kind.model_validate_json(text)
    except (ValidationError, RecursionError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else {"loc": (), "msg": "nested too deep"}
        where = ".".join(map(str, first["loc"])) or name
        raise failure(codes.NOT_READABLE, shown, f"`{name}` is malformed at `{where}`: {first['msg']}") from None


def check_file(directory: Path, entry: FileEntry, verify: Verify) -> Path:
    """The file behind an entry of the manifest, once it is what was written."""
    relative = PurePosixPath(entry.path)
    if relative.is_absolute() or ".." in relative.parts:
        raise failure(codes.NOT_READABLE, MANIFEST_FILE, f"`{MANIFEST_FILE}` names a file outside: `{entry.path}`")
    file = directory / relative
    try:
        size = file.stat().st_size
        if size != entry.bytes:
            message = f"`{entry.path}` has {size} bytes; {entry.bytes} were written"
            raise failure(codes.FILE_SIZE, entry.path, message, "copy it again, or compile again")
        if verify == "digest" and file_digest(file)[0] != entry.sha256:
            message = f"`{entry.path}` is not what was written: its SHA-256 differs from the manifest's"
            raise failure(codes.FILE_DIGEST, entry.path, message, "copy it again, or compile again")
    except OSError as error:
        message = f"`{entry.path}`, which the manifest lists, cannot be read: {error.strerror}"
        raise failure(codes.FILE_MISSING, entry.path, message) from None
    return file
