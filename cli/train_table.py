"""What `mcd train` shows: a table with a column per rule while it runs, and what every rule did when it has ended."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import click

from ..runtime.supervised import Supervised
from ..runtime.training.report import RuleReport, advice
from .progress import clock

WIDE = 160
"""Columns of a table that goes to a file or a pipe."""


class Table:
    """Shows entries of a log: on a terminal one row that is written over, elsewhere a row each. Rules that the width has no room
    for are counted in a last column."""

    def __init__(self, steps: int, quiet: bool, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._steps, self._quiet = steps, quiet
        self._terminal = self._stream.isatty()
        self._open = False
        self._columns: list[tuple[str, int]] = []
        self._begun = (0, 0.0)

    def write(self, entry: Mapping[str, Any]) -> None:
        """Show an entry."""
        if self._quiet:
            return
        if not self._columns:
            self._columns = self._chosen(entry)
            self._say(self._row({name: name for name, _ in self._columns}), open=False)
            self._begun = (entry["step"], entry["seconds"])
        self._say(self._row(self._cells(entry)), open=self._terminal and "split" not in entry)

    def flush(self) -> None:
        """There is nothing to keep."""

    def close(self) -> None:
        """Leave the row that changes."""
        if self._open:
            click.echo(file=self._stream)
        self._open = False

    def _say(self, row: str, open: bool) -> None:
        self._open = open
        click.echo(f"\r\x1b[K{row}" if self._terminal else row, nl=not open, file=self._stream, color=True)

    def _chosen(self, entry: Mapping[str, Any]) -> list[tuple[str, int]]:
        """Names and widths of the columns. Those of rules give way."""
        fixed = [("step", len(f"valid {self._steps}/{self._steps}")), ("loss", 8), ("token", 8)]
        last = [("lr", 8), ("tokens/s", 8), ("left", 8)]
        room = (shutil.get_terminal_size().columns - 1 if self._terminal else WIDE) - sum(
            w + 2 for _, w in fixed + last
        )
        named = [(rule, max(len(rule), 8)) for rule, found in entry["rules"].items() if found["loss"] is not None]
        rules: list[tuple[str, int]] = []
        for at, (rule, width) in enumerate(named):
            more = 4 if at + 1 < len(named) else 0
            if room - width - 2 < more:
                rules.append((f"+{len(named) - at}", 2))
                break
            room -= width + 2
            rules.append((rule, width))
        return fixed + rules + last

    def _cells(self, entry: Mapping[str, Any]) -> dict[str, str]:
        step = f"{entry['step']}/{self._steps}"
        cells = {"step": step, "loss": _number(entry["loss"]), "token": _number(entry["token"])}
        cells |= {rule: _number(found["loss"]) for rule, found in entry["rules"].items() if found["rows"]}
        if "split" in entry:
            return cells | {"step": f"{entry['split']} {step}"}
        done, seconds = entry["step"] - self._begun[0], entry["seconds"] - self._begun[1]
        left = clock(seconds / done * (self._steps - entry["step"])) if done else ""
        return cells | {"lr": f"{entry['lr']:.2e}", "tokens/s": f"{entry['tokens_per_second']:,.0f}", "left": left}

    def _row(self, cells: Mapping[str, str]) -> str:
        return "  ".join(f"{cells.get(name, ''):>{width}}" for name, width in self._columns).rstrip()


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def rules_table(found: Sequence[RuleReport]) -> list[str]:
    """What every rule did, a line each."""
    width = max([4, *(len(report.rule) for report in found)])
    heads = ("rows", "first", "last", "mean", "gradient", "cosine")
    lines = [f"{'rule':<{width}}" + "".join(f"  {head:>9}" for head in heads)] if found else []
    for report in found:
        gradient = "" if report.gradient is None else f"{report.gradient:.3g}"
        cosine = "" if report.cosine is None else f"{report.cosine:+.2f}"
        cells = [
            f"{report.rows:,}",
            _number(report.first),
            _number(report.last),
            _number(report.mean),
            gradient,
            cosine,
        ]
        kept = "" if report.kept is None else f"kept {report.kept:,} of {report.ranked:,} ranked"
        fights = "fights the token loss" if report.fights else ""
        lines.append(f"{report.rule:<{width}}" + "".join(f"  {cell:>9}" for cell in cells) + f"  {kept}{fights}")
    return [line.rstrip() for line in lines]


def summary(found: Sequence[RuleReport], supervised: Supervised, tokens: int, seconds: float, output: Path) -> str:
    """The end of a run: the table, what fights the token loss, how fast it was and where things lie."""
    lines = rules_table(found)
    lines += [f"warning: {advice(report)}" for report in found if report.fights]
    conflict = supervised.flow.receipt().conflict
    if conflict is not None:
        lines.append(f"rules pulled against the token loss in {conflict.opposed:,} of {conflict.steps:,} steps")
    lines.append(
        f"{tokens:,} tokens in {clock(seconds)}, {tokens / max(seconds, 1e-9):,.0f} a second; the run is in {output}"
    )
    return "".join(f"{line}\n" for line in lines)
