"""How far compiling is: rate, time left and the counts so far."""

from __future__ import annotations

import sys
from typing import TextIO

import click

from ..compiler.compile import Progress

SECONDS = 30.0
"""How often a line is written where there is no terminal."""


class TaskProgress:
    """Shows the progress of tasks: on a terminal one line that is written over, elsewhere a line now and then, of long runs."""

    def __init__(self, quiet: bool, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._quiet = quiet
        self._told = 0.0
        self._before = 0

    def __call__(self, progress: Progress) -> None:
        if self._quiet or progress.total == progress.kept:
            return
        if progress.done == 0:
            self._before = progress.tokens
        last = progress.kept + progress.done == progress.total
        if self._terminal:
            click.echo(
                f"\r{self._line(progress)}\x1b[K" + ("\n" if last else ""), nl=False, file=self._stream, color=True
            )
        elif progress.seconds - self._told >= SECONDS or (last and self._told):
            self._told = progress.seconds
            click.echo(self._line(progress), file=self._stream)

    def _line(self, progress: Progress) -> str:
        kept = f" ({progress.kept:,} kept)" if progress.kept else ""
        parts = [f"{progress.kept + progress.done:,} of {progress.total:,} tasks{kept}"]
        if progress.done:
            left = progress.total - progress.kept - progress.done
            rate = (progress.tokens - self._before) / max(progress.seconds, 1e-9)
            parts += [f"{rate:,.0f} tokens/s", f"{clock(progress.seconds / progress.done * left)} left"]
        parts += [f"{progress.records:,} records", f"{progress.tokens:,} tokens"]
        if progress.dropped:
            parts.append(f"{progress.dropped:,} dropped")
        return ", ".join(parts)


def clock(seconds: float) -> str:
    """Seconds as `1:02:03`, or `2:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
