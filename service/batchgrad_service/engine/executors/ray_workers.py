"""Ray actors compute. What a worker that dies or falls silent held, the others compute."""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt
import ray
from ray.exceptions import (
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayActorError,
    RayError,
    RayTaskError,
)

from batchgrad.contract import WorkerRange
from batchgrad_service.engine.executors.protocol import (
    ClusterLost,
    Happening,
    Interrupted,
    Range,
)
from batchgrad_service.engine.executors.ray_crew import Crew, Worker
from batchgrad_service.engine.failures import NoWorkers
from batchgrad_service.engine.sharding import split
from batchgrad_workers.arrays import Array
from batchgrad_workers.gradients import GradientSums
from batchgrad_workers.shard import EvaluationSums, RangeSums, Setup

Sums = TypeVar("Sums", GradientSums, npt.NDArray[np.float64])
LOST = (RayActorError, ObjectLostError, OutOfMemoryError, NodeDiedError)
"""What ray.get raises when the worker, not its work, was the trouble."""

POLL_SECONDS = 0.25
"""How often a wait looks whether the engine has to go."""

BY_VALUE_BYTES = 100_000
"""Below this θ travels inside the call; above it, once per node through the object store."""


class RayExecutor:
    """K actors on a Ray cluster, each with some threads."""

    kind: Literal["inline", "ray"] = "ray"

    def __init__(
        self,
        setup: Setup,
        *,
        address: str,
        namespace: str,
        workers: int | WorkerRange | Literal["auto"],
        threads: int | Literal["auto"],
        private: bool,
        silence_seconds: float,
        start_seconds: float,
        interrupted: Callable[[], bool],
    ) -> None:
        """Connect and start `workers` actors; returns when all of them are there.

        Raises:
            NoWorkers: not one came within `start_seconds`.
            Interrupted: the engine has to go.
            ClusterLost: there is no cluster.
        """
        self._interrupted = interrupted
        self._start_seconds = start_seconds
        self._silence = silence_seconds
        self._traffic = [0, 0]
        with _cluster():
            ray.init(
                address=address,
                namespace=namespace,
                log_to_driver=False,
                logging_level=logging.WARNING,
                configure_logging=False,
            )
            total, largest_node = _cpus(private=private)
            wanted = _how_many(workers, total)
            shared = max(1, min(largest_node, total // wanted))
            self.threads = shared if threads == "auto" else threads
            self._crew = Crew(
                ray.put(setup),
                wanted=wanted,
                threads=self.threads,
                # A private cluster is this machine: workers share it without reserving CPUs.
                cpus=0 if private else self.threads,
                silence_seconds=silence_seconds,
                start_seconds=start_seconds,
            )
            self._await_workers(all_of_them=True)

    @property
    def workers(self) -> int:
        return len(self._crew.alive)

    @property
    def shares(self) -> int:
        """How many are there now; those that have come since the last step are counted in."""
        with _cluster():
            self._crew.admit(timeout_seconds=0)
            self._crew.fill()
        return max(1, self.workers)

    def gradient_sums(
        self, step: int, parameters: Array, ranges: Sequence[Range]
    ) -> list[RangeSums[GradientSums]]:
        with _cluster():
            theta = self._send(parameters)
            return self._compute(
                lambda actor, start, stop: actor.gradient_sums.remote(step, theta, start, stop),
                ranges,
            )

    def evaluation_sums(
        self, parameters: Array, ranges: Sequence[Range]
    ) -> list[RangeSums[EvaluationSums]]:
        with _cluster():
            theta = self._send(parameters)
            return self._compute(
                lambda actor, start, stop: actor.evaluation_sums.remote(theta, start, stop),
                ranges,
            )

    def drain(self) -> list[Happening]:
        happenings, self._crew.happenings = self._crew.happenings, []
        return happenings

    def traffic(self) -> tuple[int, int]:
        (bytes_in, bytes_out), self._traffic = self._traffic, [0, 0]
        return bytes_in, bytes_out

    def close(self) -> None:
        """Kill the actors and leave the cluster."""
        self._crew.dismiss()
        ray.shutdown()

    def _send(self, parameters: Array) -> Any:
        self._traffic[1] += parameters.nbytes * max(1, len(self._crew.nodes()))
        return ray.put(parameters) if parameters.nbytes > BY_VALUE_BYTES else parameters

    def _compute(
        self, call: Callable[[Any, int, int], Any], ranges: Sequence[Range]
    ) -> list[RangeSums[Sums]]:
        """Every range by somebody: what a lost worker held is cut up among the others."""
        waiting: dict[Any, tuple[Worker, Range]] = {}
        results: list[RangeSums[Sums]] = []
        todo = list(ranges)
        turn = 0
        while todo or waiting:
            while todo:
                self._await_workers(all_of_them=False)
                worker, turn = self._crew.alive[turn % self.workers], turn + 1
                work = todo.pop(0)
                waiting[call(worker.actor, *work)] = (worker, work)
                worker.heard_at = monotonic()
            done, _ = ray.wait(list(waiting), num_returns=1, timeout=POLL_SECONDS)
            for reply in done:
                worker, work = waiting.pop(reply)
                try:
                    results.append(ray.get(reply))
                    worker.heard_at = monotonic()
                except LOST as loss:
                    self._crew.lose(worker, "died", str(loss).strip().splitlines()[0])
                    todo += self._again(work, "died")
            if not done:
                self._refuse_interruption()
                busy = {id(worker): worker for worker, _ in waiting.values()}
                for worker in self._crew.silent(list(busy.values())):
                    self._crew.lose(worker, "silent", f"no sign of life for {self._silence:g} s")
                    for reply in [r for r, (w, _) in waiting.items() if w is worker]:
                        todo += self._again(waiting.pop(reply)[1], "silent")
        self._traffic[0] += sum(_bytes(result) for result in results)
        return results

    def _again(self, work: Range, reason: str) -> list[Range]:
        """A lost range in pieces for those who are left."""
        pieces = split(*work, max(1, self.workers))
        data = {"reason": reason, "microbatches": work[1] - work[0], "pieces": len(pieces)}
        self._crew.happenings.append(Happening("retry", data))
        return pieces

    def _await_workers(self, *, all_of_them: bool) -> None:
        deadline = monotonic() + self._start_seconds
        self._crew.fill()
        while not self._crew.alive or (all_of_them and not self._crew.complete):
            self._refuse_interruption()
            self._crew.admit(timeout_seconds=POLL_SECONDS)
            self._crew.fill()
            if monotonic() > deadline and not self._crew.alive:
                why = self._crew.last_failure or "the cluster had no room for them"
                raise NoWorkers(
                    f"None of {self._crew.wanted} Ray workers started within "
                    f"{self._start_seconds:g} s ({why}): look at the cluster (ray status), or "
                    "ask for fewer workers."
                )
            if monotonic() > deadline:
                return

    def _refuse_interruption(self) -> None:
        if self._interrupted():
            raise Interrupted


@contextmanager
def _cluster() -> Iterator[None]:
    """Ray's own errors mean that the cluster is lost; those of a worker's code stay as they are."""
    try:
        yield
    except RayTaskError:
        raise
    except (RayError, ConnectionError) as error:
        raise ClusterLost(str(error)) from error


def _cpus(*, private: bool) -> tuple[int, int]:
    """CPUs of the whole cluster, and of its largest node; a private one is this machine's cores."""
    if private:  # it was given more CPUs than there are cores, if more workers were asked for
        cores = len(os.sched_getaffinity(0))
        return cores, cores
    nodes = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    return max(1, sum(nodes)), max([1, *nodes])


def _how_many(workers: int | WorkerRange | Literal["auto"], cpus: int) -> int:
    if isinstance(workers, int):
        return workers
    if isinstance(workers, WorkerRange):
        return min(max(cpus, workers.min), workers.max)
    return cpus


def _bytes(result: RangeSums[Any]) -> int:
    sums = [node.sum for node in result.nodes]
    arrays = [
        array
        for each in sums
        for array in (
            (each.gradient, each.totals, each.microbatch_means, each.means)
            if isinstance(each, GradientSums)
            else (each,)
        )
    ]
    return sum(array.nbytes for array in [*arrays, result.losses, result.squared_norms])
