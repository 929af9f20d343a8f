"""Files that commands are given, and how they are written: what `mcd check` and `mcd fmt` share."""

from __future__ import annotations

import difflib
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from ..dsl.codes.syntax import UNWRITABLE
from ..dsl.diagnostics import Failure
from ..dsl.limits import MAX_BYTES
from ..dsl.parse import decode_source, read_source
from ..dsl.source import DataPlace, SourceText

STDIN = Path("-")
SUFFIX = ".mcd"


def spec_files(paths: Iterable[Path], excluded: Callable[[Path], bool] = lambda path: False) -> Iterator[Path]:
    """Files that were named or are below a folder that was, each once, without those below folders that are `excluded`.

    Hidden folders, virtual environments and links to folders are passed over.
    """
    seen: set[Path] = set()
    for path in paths:
        for file in _below(path, excluded) if path.is_dir() else (path,):
            real = Path(os.path.realpath(file))
            if real not in seen:
                seen.add(real)
                yield file


def _below(folder: Path, excluded: Callable[[Path], bool]) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if _entered(Path(parent, name), excluded))
        found = (Path(parent, name) for name in sorted(files) if name.endswith(SUFFIX))
        yield from (path for path in found if not excluded(path))


def _entered(folder: Path, excluded: Callable[[Path], bool]) -> bool:
    return not (folder.name.startswith(".") or (folder / "pyvenv.cfg").is_file() or excluded(folder))


def read_spec(path: Path, stdin_filename: str) -> SourceText:
    """The text of a spec file, or of standard input for `-`. Raises Failure where it cannot be read."""
    if path == STDIN:
        return decode_source(sys.stdin.buffer.read(MAX_BYTES + 1), stdin_filename)
    return read_source(path, str(path))


def difference(path: str, before: str, after: str) -> str:
    """A unified diff of a file."""
    lines = difflib.unified_diff(_lines(before), _lines(after), path, path)
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _lines(text: str) -> list[str]:
    """Lines with their ends, as `\\n` alone ends them."""
    *lines, last = text.split("\n")
    return [*(f"{line}\n" for line in lines), *([last] if last else [])]


def write_file(path: Path, text: str) -> None:
    """Write a file, whole or not at all. The mode of what it replaces stays, and a link goes on to lead to it."""
    target = Path(os.path.realpath(path))
    temporary: Path | None = None
    try:
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False) as file:
            temporary = Path(file.name)
            file.write(text.encode("utf-8"))
        temporary.chmod(target.stat().st_mode if target.exists() else 0o666 & ~_umask())
        temporary.replace(target)
    except OSError as error:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink()
        message = f"cannot write `{path}`: {error.strerror or error}"
        raise Failure(UNWRITABLE.at(DataPlace(str(path)), message)) from None


def _umask() -> int:
    """The bits that new files of this process lack; reading them means setting them."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
