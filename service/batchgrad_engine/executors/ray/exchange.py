"""Exchange a gradient's arrays with workers: all through the coordinator, or shared among them."""

from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic

import ray

from batchgrad_engine.executors.protocol import EventSink, ExecutorEvent, Interrupted, Range
from batchgrad_engine.executors.ray.protocol import G, RayHandle
from batchgrad_engine.executors.ray.siblings import HeldParts
from batchgrad_engine.executors.ray.transport import LOST_ERRORS, loss_of
from batchgrad_engine.executors.ray.worker_group import WorkerGroup
from batchgrad_engine.executors.scheduler.protocol import RequestLost
from batchgrad_engine.executors.scheduler.scheduler import POLL_SECONDS, Scheduler
from batchgrad_engine.executors.scheduler.stragglers import OVERDUE_HEARTBEAT_TIMEOUTS
from batchgrad_workers.arrays import Array
from batchgrad_workers.reduction.rounding import unpacked
from batchgrad_workers.reduction.sums import GradientSums
from batchgrad_workers.runtime.shard import RangeSums

SHARED_BYTES = 204_800
"""Workers share the exchange of θ above this size: Ray sends results up to half of it, which a
rounded sum may have, to the coordinator in any case."""

SLOW_LINK_BYTES = 10_000_000
"""Bytes a second that any link between nodes carries: slower sums count as lost."""


class Exchange:
    """How a step's θ and sums travel to and from the workers of a group.

    A request that is lost among workers is computed again, all through the coordinator. If sums do
    not arrive in time, although all workers answer, the coordinator exchanges all arrays from then
    on: some nodes may not reach each other.
    """

    def __init__(
        self,
        group: WorkerGroup[G],
        scheduler: Scheduler[G],
        *,
        siblings_from_nodes: int,
        heartbeat_timeout_seconds: float,
        interrupted: Callable[[], bool],
        emit: EventSink,
    ) -> None:
        """Workers share the exchange if they are on `siblings_from_nodes` other nodes."""
        self._group = group
        self._scheduler = scheduler
        self._siblings_from_nodes = siblings_from_nodes
        self._workers_reach_each_other = True
        self._heartbeat_timeout_seconds = heartbeat_timeout_seconds
        self._interrupted = interrupted
        self._emit = emit

    def gradient_sums(
        self, step: int, parameters: Array, ranges: Sequence[Range], clip_norm: float | None
    ) -> list[RangeSums[GradientSums]]:
        """See `Executor.gradient_sums`."""
        if self._is_shared(parameters):
            try:
                return self._shared(step, parameters, ranges, clip_norm)
            except RequestLost as error:
                reason, detail = error.reason, str(error)
            self._report(reason, detail, sum(stop - start for start, stop in ranges))
        return self._scheduler.compute("gradient", step, parameters, ranges, clip_norm)

    def _is_shared(self, parameters: Array) -> bool:
        if parameters.nbytes <= SHARED_BYTES or not self._workers_reach_each_other:
            return False
        alive = self._group.alive
        nodes = {worker.node for worker in alive if worker.connection.transport == "ray"}
        return len(nodes) >= self._siblings_from_nodes

    def _shared(
        self, step: int, parameters: Array, ranges: Sequence[Range], clip_norm: float | None
    ) -> list[RangeSums[GradientSums]]:
        """As `gradient_sums`. Raises RequestLost too."""
        held = HeldParts(max(stop for _, stop in ranges))
        self._group.connections.share_next()
        try:
            parts = self._scheduler.compute(
                "gradient", step, parameters, ranges, clip_norm, on_result=held.add
            )
            return held.fetched(parts, partial(self._fetch, parameters.nbytes))
        finally:
            self._group.connections.release()

    def _fetch(self, size_bytes: int, references: list[RayHandle]) -> list[GradientSums]:
        """The sums, of up to `size_bytes` each, that `references` refer to.

        Raises:
            Interrupted: the engine has to stop.
            RequestLost: a worker that others rely on is gone or silent, or sums take too long.
        """
        seconds = OVERDUE_HEARTBEAT_TIMEOUTS * self._heartbeat_timeout_seconds
        deadline = monotonic() + seconds + len(self._group.alive) * size_bytes / SLOW_LINK_BYTES
        missing = references
        while missing:
            _, missing = ray.wait(missing, num_returns=len(missing), timeout=POLL_SECONDS)
            if self._interrupted():
                raise Interrupted
            self._remove_silent()
            if missing and monotonic() > deadline:
                raise RequestLost("stuck", "the workers' sums did not arrive in time")
        try:
            found: list[GradientSums] = ray.get(references)
        except LOST_ERRORS as error:
            raise RequestLost("died", loss_of(error)) from error
        self._group.connections.count_sums(found)
        return [unpacked(each) for each in found]

    def _remove_silent(self) -> None:
        """Remove workers that answer no ping. Raises RequestLost if others rely on one."""
        for worker in self._group.unresponsive(list(self._group.alive)):
            relied_on = worker.connection.relied_on
            detail = f"it answered no ping for {self._heartbeat_timeout_seconds:g} s"
            self._group.remove(worker, "silent", detail)
            if relied_on:
                raise RequestLost("silent", f"worker {worker.number}: {detail}")

    def _report(self, reason: str, detail: str, microbatches: int) -> None:
        """Send the event that all is computed again; after a timeout, share nothing any more."""
        text = f"A worker that others relied on was lost ({detail}): the step is computed again."
        if reason == "stuck":
            self._workers_reach_each_other = False
            text = (
                f"Workers on other nodes did not exchange their arrays ({detail}): the step is "
                "computed again, and from now on all arrays go through the coordinator. Check "
                "that every node reaches every other one."
            )
            self._emit(ExecutorEvent("warning", {"detail": text}))
        data = {"reason": reason, "microbatches": microbatches, "detail": text}
        self._emit(ExecutorEvent("retry", data))
