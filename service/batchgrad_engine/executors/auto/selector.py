"""Select the fastest executor: a state machine (`state.py`) that advances after each step.

First the engine alone with 1, 2, 4, … threads; then Ray, if it could save more than it costs.
Workers start in the background while the engine continues alone. There is at most one worker group
at a time, since the cluster may not have room for two. Results have the same bits on every
executor, so a switch between two steps changes only the speed, and a failure of Ray is a warning.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from functools import partial
from typing import Any, Literal

from batchgrad_engine.executors.auto.background import run_in_background
from batchgrad_engine.executors.auto.cluster import Cluster
from batchgrad_engine.executors.auto.cluster_monitor import ClusterMonitor
from batchgrad_engine.executors.auto.configs import (
    ParallelConfig,
    fastest,
    inline_configs,
    max_saving_seconds,
    ray_configs,
)
from batchgrad_engine.executors.auto.state import State, check_transition
from batchgrad_engine.executors.auto.tuner import Autotuner
from batchgrad_engine.executors.inline import InlineExecutor
from batchgrad_engine.executors.protocol import (
    EventSink,
    Executor,
    ExecutorEvent,
    Interrupted,
    Traffic,
)
from batchgrad_engine.messages import ClusterSeen

CLOSE_SECONDS = 10.0
"""How long `close` waits for work in the background."""


class ExecutorSelector:
    """`current` is the engine alone or a worker group on Ray."""

    def __init__(
        self,
        inline: InlineExecutor,
        cluster: Cluster | None,
        *,
        threads: int | Literal["auto"],
        cores: int,
        microbatches: int,
        interrupted: Callable[[], bool],
        emit: EventSink,
        clock: Callable[[], float],
    ) -> None:
        """Without a `cluster` only the number of threads is selected."""
        self.inline = inline
        self.state = State.MEASURING
        self._threads = threads
        self._microbatches = microbatches
        self._closing = threading.Event()
        self._interrupted = lambda: self._closing.is_set() or interrupted()
        self._emit = emit
        self._tuner = Autotuner(inline_configs(threads, cores))
        self._config: ParallelConfig = self._tuner.next_config() or ParallelConfig(0, 1)
        self._ray: tuple[ParallelConfig, Executor] | None = None
        self._starting: tuple[ParallelConfig, Future[Executor]] | None = None
        self._monitor = ClusterMonitor(cluster, self._interrupted, clock) if cluster else None
        self._traffic = Traffic()
        inline.use_threads(self._config.threads)

    @property
    def current(self) -> Executor:
        return self._ray[1] if self._ray and self._config.workers else self.inline

    def after_step(self, seconds: float, steps_left: int) -> None:
        """Record the time of a step, or check for workers and nodes; perhaps switch."""
        if self.state is State.MEASURING:
            if self._tuner.record(self._config, seconds):
                self._next_config(steps_left)
            return
        try:
            if self._starting:
                self._poll_workers(*self._starting)
            elif self._monitor:
                self._poll_nodes(self._monitor, steps_left)
        except Interrupted:
            raise
        except Exception as error:  # noqa: BLE001  # the job continues without Ray
            self.fall_back(error)

    def fall_back(self, error: Exception) -> None:
        """Continue without Ray after `error`; a cluster that may return is queried again later."""
        continues = "continuing without it"
        if self._monitor and (seconds := self._monitor.fail()) is not None:
            continues += f", and trying the cluster again in {seconds:g} s"
        text = (
            f"Ray failed ({type(error).__name__}: {str(error).rstrip('.')}); {continues}. "
            "Results are the same. Check the cluster, or set workers: 0."
        )
        self._emit(ExecutorEvent("warning", {"detail": text}))
        self._tuner.drop_ray()
        self._settle("Ray failed")

    def traffic(self) -> Traffic:
        """Bytes transferred since the last call, also by worker groups that are closed."""
        found, self._traffic = self._traffic, Traffic()
        return found + (self._ray[1].traffic() if self._ray else Traffic())

    def cluster(self) -> ClusterSeen:
        seen = self._ray[1].cluster() if self._ray else ClusterSeen()
        known = self._monitor.nodes if self._monitor else None
        nodes = [node for node in known or () if node]  # a private cluster's node has no name
        return seen.model_copy(update={"nodes": nodes or seen.nodes})

    def close(self) -> None:
        """End all workers, also those that are starting."""
        self._closing.set()
        pending: list[Future[Any]] = [*self._monitor.pending] if self._monitor else []
        wait([*pending, *([self._starting[1]] if self._starting else [])], CLOSE_SECONDS)
        if self._starting and self._starting[1].done() and not self._starting[1].exception():
            self._ray = self._starting[0], self._starting[1].result()
        self._close_workers()
        if self._monitor:
            self._monitor.cluster.disconnect()
        self.inline.close()

    def _enter(self, state: State) -> None:
        check_transition(self.state, state)
        self.state = state

    def _next_config(self, steps_left: int) -> None:
        """Measure the next configuration; if there is none, connect to the cluster or settle."""
        config, monitor = self._tuner.next_config(), self._monitor
        if config is not None:
            if self._switch_to(config):
                self._enter(State.MEASURING)
        elif monitor is None or monitor.nodes is not None:
            self._settle("the fastest of what was measured")
        else:
            saving = self._max_saving_seconds(steps_left, monitor.cluster.cpus)
            if saving < monitor.cluster.cost_seconds:
                self._settle(_too_little(saving, monitor.cluster))
            else:
                self._use_inline()
                self._enter(State.CONNECTING)
                monitor.query()

    def _poll_workers(self, config: ParallelConfig, workers: "Future[Executor]") -> None:
        """Switch to the workers that were starting, once they are ready."""
        if workers.done():
            self._starting = None
            self._ray, self._config = (config, workers.result()), config
            is_measured = config in self._tuner.seconds
            self._enter(State.SETTLED if is_measured else State.MEASURING)

    def _poll_nodes(self, monitor: ClusterMonitor, steps_left: int) -> None:
        """If the nodes changed and the engine trains alone: measure Ray, if it can pay.

        Workers on Ray follow the nodes by themselves.
        """
        first = monitor.nodes is None
        nodes = monitor.poll()
        if nodes is None or self._config.workers:
            return
        saving = self._max_saving_seconds(steps_left, sum(nodes.values()))
        if saving < monitor.cluster.cost_seconds:
            if first:
                self._settle(_too_little(saving, monitor.cluster))
            return
        self._tuner.queue_ray(ray_configs(self._threads, list(nodes.values()), self._microbatches))
        self._next_config(steps_left)

    def _max_saving_seconds(self, steps_left: int, cpus: int | None) -> float:
        return max_saving_seconds(
            self._tuner.inline_seconds,
            steps_left=steps_left,
            microbatches=self._microbatches,
            cpus=cpus,
        )

    def _settle(self, because: str) -> None:
        """Switch to the fastest configuration and emit an `executor` event that says why."""
        seconds = self._tuner.seconds
        best = fastest(seconds)
        if self._switch_to(best):
            self._enter(State.SETTLED)
        if not best.workers:
            self._close_workers()
        data: dict[str, Any] = {
            "executor": "ray" if best.workers else "inline",
            "workers": best.workers,
            "threads": best.threads,
            "because": because,
            "milliseconds": {str(config): 1e3 * seconds[config] for config in sorted(seconds)},
        }
        self._emit(ExecutorEvent("executor", data))

    def _switch_to(self, config: ParallelConfig) -> bool:
        """Use `config` from the next step on, if its workers exist; else start them and go on.

        Returns whether it is in use.
        """
        if not config.workers:
            self.inline.use_threads(config.threads)
        elif self._monitor and not (self._ray and self._ray[0] == config):
            launch = partial(self._monitor.cluster.launch, config, self._interrupted)
            self._use_inline()
            self._starting = config, run_in_background(launch)
            self._enter(State.STARTING)
            return False
        self._config = config
        return True

    def _use_inline(self) -> None:
        """Continue without workers, with the fastest number of threads."""
        self._switch_to(fastest(self._tuner.inline_seconds))
        self._close_workers()

    def _close_workers(self) -> None:
        if self._ray is not None:
            (_, executor), self._ray = self._ray, None
            self._traffic += executor.traffic()
            executor.close()


def _too_little(saving: float, cluster: Cluster) -> str:
    return (
        f"Ray was not tried: it could save {saving:.1f} s of the remaining time at most, and "
        f"trying it costs about {cluster.cost_seconds:g} s"
    )
