"""How far compiling is: one line on a terminal, a line now and then elsewhere, nothing where there is nothing to say."""

import io

from mcd.cli.progress import TaskProgress
from mcd.compiler.compile import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def steps(*seconds: float, kept: int = 0) -> list[Progress]:
    """Four tasks of 1,000 tokens and 10 records, those that are not `kept` done at these seconds."""
    total = kept + len(seconds)
    first = Progress(total, kept, 0, 10 * kept, 1000 * kept, 0, 0.0)
    rest = [
        Progress(total, kept, done, 10 * (kept + done), 1000 * (kept + done), done // 2, at)
        for done, at in enumerate(seconds, 1)
    ]
    return [first, *rest]


def shown(stream: io.StringIO, progress: list[Progress], quiet: bool = False) -> str:
    watch = TaskProgress(quiet, stream)
    for each in progress:
        watch(each)
    return stream.getvalue()


def test_on_a_terminal_one_line_is_written_over():
    """After 2 of 3 tasks that take 2 s each: 500 tokens/s, and 2 s left. What was kept counts for no rate."""
    said = shown(Terminal(), steps(2, 4, 6, kept=1))
    lines = said.split("\r")[1:]
    assert lines[0] == "1 of 4 tasks (1 kept), 10 records, 1,000 tokens\x1b[K"
    assert lines[2] == "3 of 4 tasks (1 kept), 500 tokens/s, 0:02 left, 30 records, 3,000 tokens, 1 dropped\x1b[K"
    assert lines[3].endswith("0:00 left, 40 records, 4,000 tokens, 1 dropped\x1b[K\n") and said.count("\n") == 1


def test_elsewhere_a_line_appears_every_half_minute_and_at_the_end():
    said = shown(io.StringIO(), steps(10, 20, 40, 50, 3700))
    assert said.splitlines() == [
        "3 of 5 tasks, 75 tokens/s, 0:27 left, 30 records, 3,000 tokens, 1 dropped",
        "5 of 5 tasks, 1 tokens/s, 0:00 left, 50 records, 5,000 tokens, 2 dropped",
    ]


def test_short_runs_quiet_ones_and_those_that_keep_all_say_nothing():
    assert shown(io.StringIO(), steps(1, 2)) == ""
    assert shown(Terminal(), steps(1, 2), quiet=True) == ""
    assert shown(Terminal(), steps(kept=3)) == ""
