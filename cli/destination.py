"""Where `mcd compile -o` writes: a directory, or a URL by way of one."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from ..compiler.files.remote import check_url, upload
from ..dsl.checked import Program
from ..dsl.codes.project import REMOTE_OUTPUT
from ..dsl.diagnostics import Failure, Findings
from ..dsl.remote import read_remotes, scheme_of

allow_remote_option = click.option(
    "--allow-remote",
    is_flag=True,
    help="Read remote folders at the URLs that mcd.toml has for them, and write to a URL.",
)
work_option = click.option(
    "--work",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where a dataset for a URL is built; kept. Else below the system's folder for temporary files.",
)


@dataclass(frozen=True, slots=True)
class Destination:
    """`directory` is where the dataset is built, `shown` what a person called its place; `url` is None for a directory."""

    directory: Path
    shown: str
    url: str | None = None
    options: tuple[tuple[str, str | float], ...] = ()

    def deliver(self, report: Callable[[int, int], None]) -> None:
        """Put the dataset where it goes, if it is not there."""
        if self.url is not None:
            upload(self.directory, self.url, self.options, report)


@contextmanager
def destination(
    output: str, program: Program, allowed: bool, work: Path | None, shared: bool = False
) -> Iterator[Destination]:
    """What `-o`, `--allow-remote` and `--work` come to. `shared`: several jobs build the dataset, in one folder."""
    if not scheme_of(output):
        if work is not None:
            raise click.UsageError("--work goes with a URL: a dataset for a directory is built beside it")
        yield Destination(Path(output), output)
        return
    check_url(output)
    if not allowed:
        message = f"`{output}` is a URL, to which nothing may be written"
        raise Failure(REMOTE_OUTPUT.at(None, message, help="pass `--allow-remote`, or name a directory"))
    if shared and work is None:
        raise click.UsageError("--task and --finish need --work DIR with a URL: the folder that all of them see")
    options = _options(output, program)
    if work is not None:
        yield Destination(work, output, output, options)
        return
    with tempfile.TemporaryDirectory(prefix="mcd-") as folder:
        yield Destination(Path(folder, "dataset"), output, output, options)


def _options(url: str, program: Program) -> tuple[tuple[str, str | float], ...]:
    """How a URL is written: as the project says of the remote folder that it lies in, if it lies in one."""
    return next(
        (remote.options for remote in read_remotes(program.root, Findings()) if f"{url}/".startswith(f"{remote.url}/")),
        (),
    )
