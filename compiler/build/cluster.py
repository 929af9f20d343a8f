"""The tasks on a Ray cluster: Ray finds them a machine and starts those again whose machine is gone.

All else is as on one machine: tasks write their shards below the stage and say there that they are done, so that nodes need the
package, and have to see the sources and the output's folder under the same path.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

# Ray reads these when it is loaded. It tells its makers of its use unless told not to, and tries an address for ten minutes.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_py_gcs_connect_timeout_s", "5")

import ray
from ray.exceptions import RayError, RayTaskError

from ...dsl.codes import shards as codes
from ...dsl.diagnostics import Failure
from ...dsl.source import DataPlace
from .engines import check_there, completed, lost, run_unit
from .finished import Finished
from .stage import Stage
from .tasks import Unit
from .worker import Job, Request

RETRIES = 5
"""How often a task is started again whose process or machine is gone."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Runs the tasks on the Ray cluster at `address`, or on one that it starts on this machine, one task per core."""

    address: str | None = None

    def run(self, units: Sequence[Unit], job: Job) -> Iterator[Finished]:
        """See `engines.Engine`. Raises Failure where the cluster cannot be reached, or does not share the output's folder."""
        if not units:
            return
        self._connect(job.stage)
        try:
            cores = int(ray.cluster_resources().get("CPU", 1))  # type: ignore[no-untyped-call]
            yield from completed(_Nodes(job.request, job.stage, 2 * max(cores, 1)), units)
        finally:
            ray.shutdown()

    def _connect(self, stage: Stage) -> None:
        own = {"include_dashboard": False} if self.address is None else {"address": self.address}
        if self.address is not None:
            os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "1")
        try:
            ray.init(log_to_driver=False, logging_level=logging.ERROR, **own)
        except (ConnectionError, ValueError, RuntimeError) as error:
            reason = str(error).strip().partition("\n")[0]
            message = f"there is no Ray cluster at `{self.address}`: {reason}"
            raise Failure(codes.NO_CLUSTER.at(DataPlace(str(stage.target)), message)) from None


@dataclass(frozen=True, slots=True)
class _Nodes:
    """The hands of a cluster, see `engines.Hands`."""

    request: Request
    stage: Stage
    room: int

    def submit(self, unit: Unit) -> Any:
        return _remote.remote(self.request, unit)

    def wait(self, running: Collection[Any]) -> Collection[Any]:
        done, _ = ray.wait(list(running), num_returns=1)
        return done

    def result(self, task: Any) -> Finished:
        try:
            done: Finished = ray.get(task)
        except RayTaskError as error:
            if isinstance(error.cause, Failure):
                raise error.cause from None
            raise
        except RayError:
            raise Failure(lost(self.stage)) from None
        check_there(done, self.stage)
        return done

    def cancel(self, task: Any) -> bool:
        return False  # Ray does not tell whether a task has started


_remote = ray.remote(num_cpus=1, max_retries=RETRIES)(run_unit)
