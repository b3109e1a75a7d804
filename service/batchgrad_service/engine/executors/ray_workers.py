"""Ray actors compute. A worker that dies, stops or falls silent is replaced; the step goes on."""

import logging
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt
import ray
from ray.exceptions import GetTimeoutError, ObjectLostError, RayActorError, RayError, RayTaskError

from batchgrad.contract import WorkerRange
from batchgrad_service.engine.executors.protocol import (
    ClusterLost,
    Happening,
    Interrupted,
    NoWorkers,
    Range,
)
from batchgrad_service.engine.sharding import split
from batchgrad_workers.arrays import Array
from batchgrad_workers.build import build
from batchgrad_workers.gradients import GradientSums
from batchgrad_workers.shard import EvaluationSums, RangeSums, Setup
from batchgrad_workers.worker import GradientWorker, Identity

Sums = TypeVar("Sums", GradientSums, npt.NDArray[np.float64])

ACTOR: Any = GradientWorker

POLL_SECONDS = 0.25
"""How often a wait looks whether the engine has to go."""

AGAIN_SECONDS = 2.0
"""How long to wait after a worker could not be started."""

BY_VALUE_BYTES = 100_000
"""Below this θ travels inside the call; above it, once per node through the object store."""


@dataclass
class Worker:
    """One actor. `identity` is known once it has answered its first ping."""

    number: int
    actor: Any
    asked: Any
    asked_at: float
    identity: Identity | None = None
    heard_at: float = field(default_factory=monotonic)


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
        """
        try:
            ray.init(
                address=address,
                namespace=namespace,
                log_to_driver=False,
                logging_level=logging.WARNING,
                configure_logging=False,
            )
        except (ConnectionError, RuntimeError) as error:
            raise ClusterLost(f"no Ray cluster at {address}: {error}") from error
        cpus = int(ray.cluster_resources().get("CPU", 1))
        self._wanted = _how_many(workers, cpus)
        self.threads = max(1, cpus // self._wanted) if threads == "auto" else threads
        # A private cluster is this machine: its workers share it without reserving CPUs.
        self._cpus = 0 if private else self.threads
        self._setup = ray.put(setup)
        self._silence = silence_seconds
        self._start_seconds = start_seconds
        self._interrupted = interrupted
        self._started = 0
        self._alive: list[Worker] = []
        self._coming: list[Worker] = []
        self._happenings: list[Happening] = []
        self._traffic = [0, 0]
        self._fill_again_at = 0.0
        self._fill()
        self._await_workers(all_of_them=True)

    @property
    def workers(self) -> int:
        return len(self._alive)

    @property
    def shares(self) -> int:
        """How many are there now; those that have come since the last step are counted in."""
        self._admit(timeout=0)
        self._fill()
        return max(1, len(self._alive))

    def gradient_sums(
        self, step: int, parameters: Array, ranges: Sequence[Range]
    ) -> list[RangeSums[GradientSums]]:
        theta = self._send(parameters)
        return self._compute(
            lambda actor, start, stop: actor.gradient_sums.remote(step, theta, start, stop), ranges
        )

    def evaluation_sums(
        self, parameters: Array, ranges: Sequence[Range]
    ) -> list[RangeSums[EvaluationSums]]:
        theta = self._send(parameters)
        return self._compute(
            lambda actor, start, stop: actor.evaluation_sums.remote(theta, start, stop), ranges
        )

    def drain(self) -> list[Happening]:
        happenings, self._happenings = self._happenings, []
        return happenings

    def traffic(self) -> tuple[int, int]:
        (bytes_in, bytes_out), self._traffic = self._traffic, [0, 0]
        return bytes_in, bytes_out

    def close(self) -> None:
        """Kill the actors and leave the cluster."""
        for worker in [*self._alive, *self._coming]:
            with suppress(RayError):
                ray.kill(worker.actor, no_restart=True)
        ray.shutdown()

    def _send(self, parameters: Array) -> Any:
        self._traffic[1] += parameters.nbytes * max(1, len(self._nodes()))
        return ray.put(parameters) if parameters.nbytes > BY_VALUE_BYTES else parameters

    def _nodes(self) -> set[str]:
        return {worker.identity.node for worker in self._alive if worker.identity}

    def _compute(
        self, call: Callable[[Any, int, int], Any], ranges: Sequence[Range]
    ) -> list[RangeSums[Sums]]:
        """All ranges, or ClusterLost; an error in a worker's own code is raised as it is."""
        try:
            return self._by_somebody(call, ranges)
        except RayTaskError:
            raise
        except (RayError, ConnectionError) as error:
            raise ClusterLost(str(error)) from error

    def _by_somebody(
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
                worker, turn = self._alive[turn % len(self._alive)], turn + 1
                work = todo.pop(0)
                waiting[call(worker.actor, *work)] = (worker, work)
                worker.heard_at = monotonic()
            done, _ = ray.wait(list(waiting), num_returns=1, timeout=POLL_SECONDS)
            for reply in done:
                worker, work = waiting.pop(reply)
                try:
                    results.append(ray.get(reply))
                    worker.heard_at = monotonic()
                except (RayActorError, ObjectLostError) as death:
                    todo += self._lose(worker, work, "died", str(death).strip().splitlines()[0])
            if not done:
                self._refuse_interruption()
                for worker in self._silent({id(w): w for w, _ in waiting.values()}.values()):
                    lost = [reply for reply, (w, _) in waiting.items() if w is worker]
                    detail = f"no sign of life for {self._silence:g} s"
                    for reply in lost:
                        todo += self._lose(worker, waiting.pop(reply)[1], "silent", detail)
        self._traffic[0] += sum(_bytes(result) for result in results)
        return results

    def _silent(self, workers: Any) -> list[Worker]:
        """Ping those that compute for long; those that leave a ping unanswered are silent."""
        silent = []
        now = monotonic()
        for worker in workers:
            if worker.asked is None:
                if now - worker.heard_at > self._silence / 4:
                    worker.asked, worker.asked_at = worker.actor.ping.remote(), now
            elif ray.wait([worker.asked], timeout=0)[0]:
                worker.asked, worker.heard_at = None, now
            elif now - worker.asked_at > self._silence:
                silent.append(worker)
        return silent

    def _lose(self, worker: Worker, work: Range, reason: str, detail: str) -> list[Range]:
        """Strike a worker off, start another in its place; what it held, for those who stay."""
        if worker in self._alive:
            self._alive.remove(worker)
            self._kill(worker)
            data: dict[str, Any] = {"worker": worker.number, "reason": reason, "detail": detail}
            if worker.identity:
                data |= {"host": worker.identity.host, "pid": worker.identity.pid}
            self._happenings.append(Happening("worker_lost", data))
            self._fill()
        pieces = split(*work, max(1, len(self._alive)))
        self._happenings.append(
            Happening(
                "retry",
                {"reason": reason, "microbatches": work[1] - work[0], "pieces": len(pieces)},
            )
        )
        return pieces

    def _kill(self, worker: Worker) -> None:
        """End an actor for good. A stopped process does not hear Ray: on this node, by signal."""
        with suppress(RayError):
            ray.kill(worker.actor, no_restart=True)
        here = ray.get_runtime_context().get_node_id()
        if worker.identity and worker.identity.node == here:
            with suppress(ProcessLookupError):
                os.kill(worker.identity.pid, signal.SIGKILL)

    def _fill(self) -> None:
        """Start as many actors as are missing; after a failure, not at once again."""
        if monotonic() < self._fill_again_at:
            return
        while len(self._alive) + len(self._coming) < self._wanted:
            actor = ACTOR.options(num_cpus=self._cpus).remote(self._setup, self.threads)
            worker = Worker(self._started, actor, actor.ping.remote(), monotonic())
            self._coming.append(worker)
            self._started += 1

    def _admit(self, timeout: float) -> None:
        """Take in actors that have answered; give up those that failed to start."""
        if not self._coming:
            return
        ready, _ = ray.wait(
            [worker.asked for worker in self._coming], num_returns=1, timeout=timeout
        )
        for worker in [each for each in self._coming if each.asked in ready]:
            self._coming.remove(worker)
            try:
                worker.identity = ray.get(worker.asked, timeout=self._silence)
            except (RayActorError, GetTimeoutError) as error:
                detail = str(error).strip().splitlines()[0]
                data = {"worker": worker.number, "reason": "start_failed", "detail": detail}
                self._happenings.append(Happening("worker_lost", data))
                self._fill_again_at = monotonic() + AGAIN_SECONDS
                continue
            worker.asked = None
            self._alive.append(worker)
            self._welcome(worker.number, worker.identity)

    def _welcome(self, number: int, identity: Identity) -> None:
        data = {"worker": number, "host": identity.host, "pid": identity.pid}
        self._happenings.append(Happening("worker_joined", data))
        own = build()
        if identity.build != own:
            text = (
                f"Worker {number} on {identity.host} has {identity.build}, the engine {own}: "
                "results are right, but their last bits may depend on who computes what."
            )
            self._happenings.append(Happening("warning", {"detail": text}))

    def _await_workers(self, *, all_of_them: bool) -> None:
        deadline = monotonic() + self._start_seconds
        while not self._alive or (all_of_them and self._coming):
            self._refuse_interruption()
            self._admit(timeout=POLL_SECONDS)
            self._fill()
            if monotonic() > deadline and not self._alive:
                raise NoWorkers(
                    f"None of {self._wanted} Ray workers started within {self._start_seconds:g} "
                    "s: look at the cluster (ray status), or ask for fewer workers."
                )
            if monotonic() > deadline:
                return

    def _refuse_interruption(self) -> None:
        if self._interrupted():
            raise Interrupted


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
