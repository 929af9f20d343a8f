"""Remote folders: `[remote.NAME]` in mcd.toml, or `[tool.mcd.remote.NAME]` in pyproject.toml, of the root folder.

A table says that the files of one folder of the project may lie below a URL instead, and how that URL is read. It holds no
secret: the package that reads the scheme finds credentials where it always does, in the environment or in a file of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from .checked import Remote
from .codes import project as codes
from .diagnostics import Code, Findings, did_you_mean
from .source import DataPlace
from .toml import Settings, project_settings

TABLE = "remote"
SECRETS = ("secret", "token", "password", "passwd", "credential", "signature", "sas")
"""What the name of a key that holds a secret has in it; `key` alone, or at its end, is one as well."""
_MAX_TIMEOUT = 3600


@dataclass(frozen=True, slots=True)
class Scheme:
    """What is known of URLs of a scheme: the `package` that reads them by way of fsspec, the `options` that a table may have with
    their types, whether it `lists` what is there, and whether a dataset can be `written`."""

    package: str
    options: Mapping[str, type] = field(default_factory=dict)
    lists: bool = True
    written: bool = False


_S3 = {"endpoint_url": str, "region": str, "anon": bool, "timeout": float}

SCHEMES: Mapping[str, Scheme] = {
    "s3": Scheme("s3fs", _S3, written=True),
    "gs": Scheme("gcsfs"),
    "az": Scheme("adlfs"),
    "abfs": Scheme("adlfs"),
    "hf": Scheme("huggingface_hub"),
    "http": Scheme("aiohttp", lists=False),
    "https": Scheme("aiohttp", lists=False),
}
"""Every scheme that is read. Others are refused: fsspec knows some that run programs or leave the project on this machine."""

_KINDS: Mapping[type, str] = {str: "a string", bool: "true or false", float: "a number of seconds"}


def scheme_of(url: str) -> str:
    """What stands before `://`; empty where that is missing."""
    scheme, colon, _ = url.partition("://")
    return scheme if colon else ""


def url_fault(url: str, schemes: Mapping[str, Scheme] = SCHEMES) -> tuple[Code, str] | None:
    """What is wrong with the URL of a folder. A message never holds more of it than is certain to be no secret."""
    scheme = scheme_of(url)
    rest = url[len(scheme) + 3 :]
    host = rest.partition("/")[0]
    if scheme not in schemes:
        known = ", ".join(schemes)
        return codes.REMOTE_SCHEME, f"`{scheme}` is no scheme of a URL here, expected one of {known}"
    if "@" in host:
        return codes.REMOTE_SECRET, f"a `{scheme}` URL holds the name of a user, and perhaps a password, before `@`"
    if "?" in rest or "#" in rest:
        return codes.REMOTE_SECRET, f"a `{scheme}` URL of a folder has a query, which may hold a signature"
    steps = rest.removesuffix("/").split("/")
    if any(step in ("", ".", "..") for step in steps) or not rest.isprintable() or "*" in rest or "[" in rest:
        return codes.BAD_REMOTE, f"a `{scheme}` URL names no folder: `//`, `..`, wildcards and the like are none"
    return None


def read_remotes(root: Path, findings: Findings, base: Path | None = None) -> tuple[Remote, ...]:
    """The remote folders of a project, in the order of their tables. What is wrong with one is a finding.

    `base` is as in `load`.
    """
    read = project_settings(root, findings, base)
    tables: Any = read[0].table.get(TABLE, {}) if read else {}
    if not tables:
        return ()
    reader = _Reader(root, read[0], findings)
    if not isinstance(tables, dict):
        reader.report(codes.BAD_REMOTE, f"`{TABLE}` is a table of tables, found {type(tables).__name__}")
        return ()
    for name, table in tables.items():
        reader.read(name, table)
    return tuple(reader.found.values())


@dataclass(slots=True)
class _Reader:
    root: Path
    settings: Settings
    findings: Findings
    found: dict[str, Remote] = field(default_factory=dict)

    def read(self, name: str, table: Any) -> None:
        """One table, with everything that is wrong with it."""
        if not isinstance(table, dict):
            self.report(codes.BAD_REMOTE, f"`{name}` is a table with a `url`, found {type(table).__name__}", name)
            return
        url, mount = self._text(name, table, "url"), self._text(name, table, "mount", name)
        fault = url_fault(url) if url else None
        if fault is not None:
            code, message = fault
            self.report(code, f"`{name}`: {message}", name, "url")
        folder = self._folder(name, mount) if mount else None
        scheme = SCHEMES.get(scheme_of(url or ""))
        options = tuple(self._options(name, table, scheme)) if scheme else ()
        if folder:
            # Also where the rest is wrong, so that nobody looks for its files in the project.
            self.found[name] = Remote(folder, (url or "").removesuffix("/"), options)

    def _text(self, name: str, table: dict[str, Any], key: str, default: str | None = None) -> str | None:
        value = table.get(key, default)
        if isinstance(value, str) and value:
            return value
        found = "nothing" if value in (None, "") else type(value).__name__
        path = (name, key) if key in table else (name,)
        self.report(codes.BAD_REMOTE, f"`{name}` has to have `{key}`, a string, found {found}", *path)
        return None

    def _folder(self, name: str, mount: str) -> Path | None:
        """The folder that a table stands for. Folders of two tables lie apart."""
        steps = PurePosixPath(mount).parts
        if not steps or mount.startswith("/") or ".." in steps or not mount.isprintable():
            message = f"`{name}`: `{mount}` is no folder below the project root"
            self.report(codes.BAD_REMOTE, message, name, "mount", value=mount)
            return None
        folder = Path(os.path.normpath(self.root.joinpath(*steps)))
        for other, remote in self.found.items():
            if folder.is_relative_to(remote.folder) or remote.folder.is_relative_to(folder):
                message = f"`{name}` and `{other}` stand for folders of which one lies in the other"
                self.report(codes.BAD_REMOTE, message, name, "mount", value=mount)
                return None
        return folder

    def _options(self, name: str, table: dict[str, Any], scheme: Scheme) -> Iterator[tuple[str, str | float]]:
        for key, value in table.items():
            if key in ("url", "mount"):
                continue
            if _is_secret(key):
                message = f"`{name}` has `{key}`: a project file holds no secret"
                help = f"{scheme.package} reads credentials from the environment or from its own file"
                self.report(codes.REMOTE_SECRET, message, name, key, help=help)
            elif key not in scheme.options:
                known = ("url", "mount", *scheme.options)
                self.report(codes.BAD_REMOTE, f"`{name}` has no key `{key}`", name, key, help=did_you_mean(key, known))
            elif (fault := _option_fault(key, value, scheme.options[key])) is not None:
                self.report(fault[0], f"`{key}` of `{name}` is {fault[1]}", name, key)
            else:
                yield key, value

    def report(self, code: Code, message: str, *path: str, value: str | None = None, help: str | None = None) -> None:
        """Add a finding at a key; one about a secret is shown without the line that holds it."""
        place = self.settings.place(TABLE, *path, value=value)
        where = (
            DataPlace(place.source.path, place.source.position(place.start)[0])
            if code is codes.REMOTE_SECRET
            else place
        )
        self.findings.add(code.at(where, message, help=help))


def option_fault(key: str, value: Any, known: Mapping[str, type]) -> tuple[Code, str] | None:
    """What is wrong with an option that is given in code: it has to be one of `known`, and is never a secret."""
    if _is_secret(key):
        return codes.REMOTE_SECRET, "looks like a secret: credentials are found in the environment"
    if key not in known:
        return codes.BAD_REMOTE, f"is no option here; {', '.join(known) or 'none'} can be given"
    found = _option_fault(key, value, known[key])
    return None if found is None else (found[0], f"is {found[1]}")


def _is_secret(key: str) -> bool:
    lowered = key.lower()
    return lowered.endswith("key") or any(word in lowered for word in SECRETS)


def _option_fault(key: str, value: Any, kind: type) -> tuple[Code, str] | None:
    """What is wrong with the value of an option."""
    fits = isinstance(value, (int, float)) and not isinstance(value, bool) if kind is float else isinstance(value, kind)
    if not fits:
        return codes.BAD_REMOTE, f"{_KINDS[kind]}, found {type(value).__name__}"
    if kind is float and not 0 < value <= _MAX_TIMEOUT:
        return codes.BAD_REMOTE, f"above 0 and at most {_MAX_TIMEOUT} seconds, found {value:g}"
    if key == "endpoint_url":
        http = {name: SCHEMES[name] for name in ("http", "https")}
        fault = url_fault(value, http)
        return None if fault is None else (fault[0], "the `http` or `https` URL of a server, without credentials")
    return None
