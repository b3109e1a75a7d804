"""The workers of one job on Ray: fill every slot, replace lost workers, follow the cluster."""

from collections import Counter
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Generic

from batchgrad_engine.executors.protocol import (
    EventSink,
    ExecutorEvent,
    Interrupted,
    Traffic,
)
from batchgrad_engine.executors.ray import worker_events
from batchgrad_engine.executors.ray.diagnostics import (
    NO_FREE_CPUS,
    could_fit,
    none_started,
    some_wait,
)
from batchgrad_engine.executors.ray.pending_workers import PendingWorkers
from batchgrad_engine.executors.ray.placement import Nodes, WorkerSlot
from batchgrad_engine.executors.ray.protocol import G, WorkerLauncher
from batchgrad_engine.executors.ray.worker_connections import WorkerConnections
from batchgrad_engine.executors.scheduler.scheduler import POLL_SECONDS
from batchgrad_workers.runtime.actor import Identity

FULL_START_SECONDS = 5.0
"""How long the start waits for all workers once there are enough."""

CHECK_SECONDS = 1.0
"""How often a wait for workers checks that the cluster still exists."""

OVERLAP_SECONDS = 10.0
"""How long the last worker without a slot is kept while no replacement has joined."""

SLOT_GONE = "the cluster has changed: its slot no longer exists"


class WorkerGroup(Generic[G]):
    """One worker in each slot; the slots follow the cluster."""

    def __init__(
        self,
        launcher: WorkerLauncher[G],
        *,
        slots: Callable[[Nodes], Sequence[WorkerSlot]],
        nodes: Callable[[], Nodes],
        min_workers: int,
        start_timeout_seconds: float,
        replacement_timeout_seconds: float,
        interrupted: Callable[[], bool],
        emit: EventSink,
        clock: Callable[[], float] = monotonic,
        same_build: bool = False,
    ) -> None:
        """`slots` says which slots a cluster should have; `nodes` returns the current cluster.

        The start waits up to `start_timeout_seconds` for `min_workers`; when all are lost later,
        the group waits up to `replacement_timeout_seconds` for a replacement. With `same_build`,
        workers with other libraries or on another CPU than the engine are refused.
        """
        self.alive: list[G] = []
        self._slots = slots
        self._nodes = nodes
        self._known_nodes = nodes()
        self._wanted_slots = Counter(slots(self._known_nodes))
        self._min_workers = min_workers
        self._surplus: list[G] = []
        self._overlap_until = 0.0
        self._start_timeout_seconds = start_timeout_seconds
        self._replacement_timeout_seconds = replacement_timeout_seconds
        self._check = launcher.check
        self._interrupted = interrupted
        self._emit = emit
        self._clock = clock
        self._had_workers = False
        self._warned_about_cpus: set[bool] = set()
        self.connections = WorkerConnections(launcher.own_node)
        self._pending = PendingWorkers(
            lambda number, slot: launcher.start(number, slot, self.connections.connect_info()),
            launcher.wait,
            clock,
            same_build=same_build,
        )

    def wait_for_all(self) -> None:
        """Wait until all workers have joined, or enough of them, or the timeout has passed.

        While other processes have all the CPUs, there is no timeout.

        Raises:
            NoWorkers: every start failed, or the cluster is too small.
            ClusterLost: the cluster is gone, or no worker started and Ray gives no reason.
            Interrupted: the engine has to stop.
        """
        full_start_until = self._clock() + FULL_START_SECONDS

        def enough() -> bool:
            if len(self.alive) >= self._min_workers and self._clock() > full_start_until:
                return True
            return bool(self.alive) and not self._pending.starting

        self._wait(enough, self._start_timeout_seconds)

    def wait_for_worker(self) -> None:
        """Wait until one worker is alive. Raises NoWorkers, ClusterLost, Interrupted."""
        if not self.alive:
            self._wait(lambda: bool(self.alive), self._replacement_timeout_seconds)

    def match_slots(self) -> None:
        """Between two steps: add workers that are ready, and match workers to the slots."""
        self._poll_pending(0)
        nodes = self._nodes()
        if nodes is not self._known_nodes:
            self._known_nodes, self._wanted_slots = nodes, Counter(self._slots(nodes))
            self._overlap_until = self._clock() + OVERLAP_SECONDS
            self._find_surplus()
        if self._surplus:
            self._stop_surplus()
        self._launch_missing()

    def unresponsive(self, workers: Sequence[G]) -> list[G]:
        """Those of `workers` that left a ping unanswered for too long."""
        return [worker for worker in workers if worker.is_unresponsive()]

    def remove(self, worker: G, reason: str, detail: str) -> None:
        """Stop a lost worker and launch a replacement; does nothing if it was removed before."""
        if worker not in self.alive:
            return
        self.alive.remove(worker)
        self._end(worker, reason, detail)
        self._launch_missing()

    def locations(self) -> tuple[list[str], int]:
        """Nodes that have a worker, and the number of workers that are starting."""
        return sorted({worker.node for worker in self.alive}), len(self._pending.starting)

    def traffic(self) -> Traffic:
        """Bytes transferred since the last call."""
        return self.connections.traffic()

    def close(self) -> None:
        """End all workers."""
        for worker in [*self.alive, *self._pending.starting]:
            worker.kill()
        self.connections.close()

    def _find_surplus(self) -> None:
        """Stop workers whose node is leaving; note those without a slot as surplus."""
        left = self._wanted_slots.copy()
        self._surplus = []
        for worker in [*self.alive, *self._pending.starting]:
            if worker.node in self._known_nodes.draining:
                self._stop(worker, "its node is being drained")
            elif left[worker.slot]:
                left[worker.slot] -= 1
            elif worker in self.alive and worker.node in self._known_nodes.cpus:
                self._surplus.append(worker)
            else:
                self._stop(worker, SLOT_GONE)

    def _stop_surplus(self) -> None:
        """Stop workers without a slot, but keep the last one until a replacement joins.

        It is kept for OVERLAP_SECONDS at most.
        """
        self._surplus = [worker for worker in self._surplus if worker in self.alive]
        stop_all = len(self.alive) > len(self._surplus) or self._clock() > self._overlap_until
        while len(self._surplus) > (0 if stop_all else 1):
            self._stop(self._surplus.pop(), SLOT_GONE)

    def _launch_missing(self) -> None:
        """Launch a worker for each empty slot."""
        workers = [*self.alive, *self._pending.starting]
        if len(workers) - len(self._surplus) < self._wanted_slots.total():
            self._pending.launch(self._wanted_slots - Counter(worker.slot for worker in workers))

    def _poll_pending(self, seconds: float) -> None:
        """Add workers that are ready; emit an event for each that failed to start."""
        ready, failed = self._pending.poll(seconds)
        for worker, identity in ready:
            self._join(worker, identity)
        for worker, why in failed:
            self._emit(worker_events.lost(worker, "start_failed", why))

    def _wait(self, enough: Callable[[], bool], seconds: float) -> None:
        """Wait until `enough()`. Raises as `wait_for_all`."""
        deadline = self._clock() + seconds
        check_at = self._clock()
        while not enough():
            if self._interrupted():
                raise Interrupted
            if self._clock() >= check_at:
                self._check()
                check_at = self._clock() + CHECK_SECONDS
            self.match_slots()
            self._poll_pending(POLL_SECONDS)
            if self.alive and self._any_waits_for_cpus():
                self._warn_about_cpus(some_wait(self._wanted_slots.total(), seconds))
            if not self.alive and (self._cluster_is_full() or self._any_is_preparing()):
                deadline = max(deadline, self._clock() + seconds / 2)  # this may take any time
            elif self._clock() > deadline:
                if self.alive:
                    return
                raise none_started(
                    self._known_nodes,
                    self._wanted_slots,
                    seconds,
                    self._had_workers,
                    self._pending.last_failure,
                )

    def _cluster_is_full(self) -> bool:
        """Whether the first workers lack only free CPUs or nodes; warns once."""
        waits = self._any_waits_for_cpus() or not self._wanted_slots
        if self._had_workers or not waits or not could_fit(self._known_nodes, self._wanted_slots):
            return False
        self._warn_about_cpus(NO_FREE_CPUS)
        return True

    def _any_waits_for_cpus(self) -> bool:
        return any(worker.waits_for_cpus for worker in self._pending.starting)

    def _warn_about_cpus(self, text: str) -> None:
        """Warn once while no worker is alive, and once while some are."""
        if bool(self.alive) not in self._warned_about_cpus:
            self._warned_about_cpus.add(bool(self.alive))
            self._emit(ExecutorEvent("warning", {"detail": text}))

    def _any_is_preparing(self) -> bool:
        """Whether a worker's process is alive and fetches the dataset."""
        return any(worker.identity for worker in self._pending.starting)

    def _join(self, worker: G, identity: Identity) -> None:
        worker.connect(self.connections.open(worker))
        self.alive.append(worker)
        self._had_workers = True
        for event in worker_events.joined(worker, identity):
            self._emit(event)

    def _stop(self, worker: G, detail: str) -> None:
        """Stop a worker that has no slot."""
        if worker in self._pending.starting:
            self._pending.stop(worker)
            return
        self.alive.remove(worker)
        nodes = self._known_nodes
        if worker.node not in nodes.cpus and worker.node not in nodes.draining:
            self._end(worker, "died", "its node is gone")
        else:
            self._end(worker, "dismissed", detail)

    def _end(self, worker: G, reason: str, detail: str) -> None:
        worker.kill()
        self._emit(worker_events.lost(worker, reason, detail))
