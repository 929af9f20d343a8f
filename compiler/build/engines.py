"""Who runs the tasks: this process, or several of this machine. None of it shows in what is written."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Protocol

from ...dsl.codes import shards as codes
from ...dsl.diagnostics import Diagnostic, Failure
from ...dsl.source import DataPlace
from .finished import Finished
from .stage import Stage
from .tasks import Unit
from .worker import Job, Request, Worker


class Engine(Protocol):
    """Runs tasks.

    `run` gives them back as they are done, in any order. It raises Failure for what is wrong with one, and then starts no other;
    what is done by then stays done.
    """

    def run(self, units: Sequence[Unit], job: Job) -> Iterator[Finished]: ...


class InProcess:
    """Runs the tasks one after another, here."""

    def run(self, units: Sequence[Unit], job: Job) -> Iterator[Finished]:
        """See `Engine`."""
        if units:
            worker = job.worker()
            yield from map(worker.run, units)


class Missing:
    """Runs nothing, and refuses where something is left to run: the tasks are other processes' work."""

    def run(self, units: Sequence[Unit], job: Job) -> Iterator[Finished]:
        """See `Engine`."""
        if units:
            numbers = ", ".join(str(unit.number) for unit in units[:SHOWN])
            more = f" and {len(units) - SHOWN:,} more" if len(units) > SHOWN else ""
            count = "1 task is" if len(units) == 1 else f"{len(units):,} tasks are"
            message = f"{count} not done: {numbers}{more}"
            help = "task number N is the work of `--task I --of K` where I is the remainder of N by K"
            raise Failure(codes.TASKS_MISSING.at(DataPlace(str(job.stage.target)), message, help=help))
        yield from ()


SHOWN = 8
"""How many missing tasks are named."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Runs the tasks in processes of this machine, at most `workers` at once; a single task is run here."""

    workers: int

    def run(self, units: Sequence[Unit], job: Job) -> Iterator[Finished]:
        """See `Engine`."""
        workers = min(self.workers, len(units))
        if workers <= 1:
            yield from InProcess().run(units, job)
            return
        # A forked process would inherit locks that threads of Arrow hold.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, context, initializer=_start, initargs=(job.request,)) as pool:
            try:
                yield from _completed(pool, units, workers)
            except BrokenProcessPool:
                raise Failure(_lost(job.stage)) from None
            finally:
                pool.shutdown(wait=True, cancel_futures=True)


def _completed(pool: ProcessPoolExecutor, units: Sequence[Unit], workers: int) -> Iterator[Finished]:
    """What is done, as it is done. Of several tasks that fail the first is told, as if they had run one after another."""
    waiting = iter(units)
    running: dict[Future[Finished], int] = {}
    failed: dict[int, Failure] = {}
    while True:
        while not failed and len(running) < 2 * workers and (unit := next(waiting, None)) is not None:
            running[pool.submit(_run, unit)] = unit.number
        if not running:
            break
        done, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            number = running.pop(future)
            try:
                yield future.result()
            except Failure as failure:
                failed[number] = failure
        for future, number in list(running.items()):
            if failed and number > min(failed) and future.cancel():
                del running[future]
    if failed:
        raise failed[min(failed)]


def _lost(stage: Stage) -> Diagnostic:
    message = "a process that ran tasks ended without a word: it was killed, or there was not enough memory"
    help = "what is done is kept: compile again, with fewer `--workers`"
    return codes.WORKER_LOST.at(DataPlace(str(stage.target)), message, help=help)


# --- in the processes of a pool --------------------------------------------------------------------------------------

_worker: list[Request | Worker] = []


def _start(request: Request) -> None:
    _worker[:] = [request]


def _run(unit: Unit) -> Finished:
    """Run a task with the process's one worker, which is made for its first task, so that a failure is told like any other."""
    (found,) = _worker
    if isinstance(found, Request):
        found = Worker.of_request(found)
        _worker[:] = [found]
    return found.run(unit)
