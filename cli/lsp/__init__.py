"""`mcd lsp`: a language server on standard input and output.

Speaks the protocol for `dsl/ide/`, which knows the language: positions in the editor's units, requests and answers.
"""

from __future__ import annotations

import gc
import logging

import click

from .features import server


@click.command
@click.option("--log", type=click.Path(dir_okay=False), metavar="FILE", help="Append what the server does to a file.")
def command(log: str | None) -> None:
    """Serve an editor: diagnostics, hover, completion, names, formatting, fixes. Started by the editor, not by hand.

    Speaks the Language Server Protocol on standard input and output; docs/editors.md has the settings of several editors.
    """
    if log is not None:
        logging.basicConfig(filename=log, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # Modules stay, and trees are dropped whole when their text changes: looking for garbage at every turn would be felt.
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)
    server().start_io()
