"""The `mcd` command: finds the commands, and turns what they raise into an exit code.

A command's module is imported when it is called, so that `mcd check` does not wait for what only `mcd train` needs.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
from importlib import import_module

import click

from ..dsl.diagnostics import Failure
from .output import ExitCode, report

COMMANDS = {
    "breaking": (".breaking", "Fail where specs break the readers of their shards."),
    "check": (".check", "Check specs and print every finding with its place."),
    "compile": (".compile", "Compile a spec and its sources to shards."),
    "diff": (".diff", "Print what changes in meaning between two specs."),
    "evaluate": (".evaluate", "Measure a trained model and decide the claims of its spec."),
    "explain": (".explain", "Tell what a code means, why, and how to fix it."),
    "export": (".export", "Write a dataset as Parquet, with a card and metadata."),
    "fmt": (".fmt", "Format specs: one form for all."),
    "init": (".init", "Lay out a new project."),
    "inspect": (".inspect", "Print what a dataset holds, or rows with their supervision."),
    "lsp": (".lsp", "Serve an editor, which starts it."),
    "measure": (".measure", "Run a model over compiled shards and write a number per token."),
    "plan": (".plan", "Print the plan that a spec compiles to."),
    "repair": (".repair", "Write anew what is damaged of a dataset."),
    "train": (".train", "Train a model on compiled shards."),
    "verify": (".verify", "Say what is wrong with a compiled dataset."),
}
"""Command -> its module, which has it as `command`, and the line that `mcd --help` shows."""

EXTRAS = {
    "torch": "train",
    "transformers": "train",
    "accelerate": "train",
    "matplotlib": "dev",
    "pygls": "lsp",
    "lsprotocol": "lsp",
}
"""Package that may be missing -> the extra that brings it."""


class Commands(click.Group):
    """The commands of `COMMANDS`, each imported when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = import_module(COMMANDS[cmd_name][0], __package__)
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> object:
        """Run the command that was asked for. What it raises ends in printed lines and an exit code, never in a traceback."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Failure as failure:
            ctx.exit(report(failure.diagnostics, err=True))
        except Exception as error:
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                raise
            ctx.exit(_explain(error))


def _explain(error: Exception) -> ExitCode:
    """Print one line about an exception that no command expects: a missing extra, or a bug of ours."""
    missing = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if missing in EXTRAS:
        click.echo(f"error: this command needs {missing}: pip install 'mcd-lang[{EXTRAS[missing]}]'", err=True)
    elif os.environ.get("MCD_DEBUG"):
        traceback.print_exception(error)
    else:
        line = " ".join(str(error).split())[:200]
        click.echo(f"internal error (bug): {type(error).__name__}: {line}; MCD_DEBUG=1 shows the traceback", err=True)
    return ExitCode.USAGE


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mcd-lang", prog_name="mcd")
def mcd() -> None:
    """Datasets that supervise what happens inside a transformer."""


def main() -> None:
    """Entry point. A stream that cannot show a character shows its escape."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
    mcd()
