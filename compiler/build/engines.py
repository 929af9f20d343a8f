"""Who runs the tasks: this process, or several of this machine. None of it shows in what is written."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from typing import Protocol, TypeVar

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
        with ProcessPoolExecutor(workers, context, initializer=end_with_parent) as pool:
            try:
                yield from completed(_Processes(pool, job.request, 2 * workers), units)
            except BrokenProcessPool:
                raise Failure(lost(job.stage)) from None
            except OSError as error:
                raise Failure(_not_started(job.stage, error)) from None
            finally:
                pool.shutdown(wait=True, cancel_futures=True)


@dataclass(frozen=True, slots=True)
class _Processes:
    """The hands of a pool, see `Hands`."""

    pool: ProcessPoolExecutor
    request: Request
    room: int

    def submit(self, unit: Unit) -> Future[Finished]:
        return self.pool.submit(run_unit, self.request, unit)

    def wait(self, running: Collection[Future[Finished]]) -> Collection[Future[Finished]]:
        return wait(running, return_when=FIRST_COMPLETED).done

    def result(self, task: Future[Finished]) -> Finished:
        return task.result()

    def cancel(self, task: Future[Finished]) -> bool:
        return task.cancel()


Handle = TypeVar("Handle")


class Hands(Protocol[Handle]):
    """Processes that tasks are given to, at most `room` at once: started or about to be."""

    @property
    def room(self) -> int: ...

    def submit(self, unit: Unit) -> Handle: ...

    def wait(self, running: Collection[Handle]) -> Collection[Handle]:
        """Some that have ended."""
        ...

    def result(self, task: Handle) -> Finished:
        """What a task that has ended gave. Raises Failure for what is wrong with it."""
        ...

    def cancel(self, task: Handle) -> bool:
        """Whether a task will never start."""
        ...


def completed(hands: Hands[Handle], units: Sequence[Unit]) -> Iterator[Finished]:
    """What is done, as it is done. Of several tasks that fail the first is told, as if they had run one after another."""
    waiting = iter(units)
    running: dict[Handle, int] = {}
    failed: dict[int, Failure] = {}
    while True:
        while not failed and len(running) < hands.room and (unit := next(waiting, None)) is not None:
            running[hands.submit(unit)] = unit.number
        if not running:
            break
        for task in hands.wait(running):
            number = running.pop(task)
            try:
                yield hands.result(task)
            except Failure as failure:
                failed[number] = failure
        for task, number in list(running.items()):
            if failed and number > min(failed) and hands.cancel(task):
                del running[task]
    if failed:
        raise failed[min(failed)]


def _not_started(stage: Stage, error: OSError) -> Diagnostic:
    message = f"processes that run tasks cannot be started: {error.strerror or error}"
    return codes.WORKER_LOST.at(DataPlace(str(stage.target)), message, help="compile again, with fewer `--workers`")


def lost(stage: Stage) -> Diagnostic:
    """A process that ran tasks is gone."""
    message = "a process that ran tasks ended without a word: it was killed, or there was not enough memory"
    help = "what is done is kept: compile again, with fewer `--workers`"
    return codes.WORKER_LOST.at(DataPlace(str(stage.target)), message, help=help)


def check_there(done: Finished, stage: Stage) -> None:
    """Raises Failure where a shard that another machine wrote is not seen from here."""
    missing = next((shard.path for shard in done.shards if not (stage.root / shard.path).is_file()), None)
    if missing is not None:
        message = f"a node wrote `{missing}`, which is not here: the nodes do not share this folder"
        raise Failure(codes.NOT_SHARED.at(DataPlace(str(stage.target)), message))


# --- in the processes that run tasks ---------------------------------------------------------------------------------

_workers: dict[Request, Worker] = {}
"""The one worker of this process, by what it was asked for."""


def end_with_parent() -> None:
    """Have this process end when the one that started it is gone: it would wait for tasks for ever, and write beside the next."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent,), daemon=True).start()


def _end_after(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)


def run_unit(request: Request, unit: Unit) -> Finished:
    """Run a task with this process's worker, which is made for its first task, so that a failure is told like any other."""
    if request not in _workers:
        _workers.clear()
        _workers[request] = Worker.of_request(request)
    return _workers[request].run(unit)
