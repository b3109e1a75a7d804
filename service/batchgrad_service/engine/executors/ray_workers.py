"""Ray actors compute: K of them, each with some threads."""

from collections.abc import Callable, Sequence

import ray

from batchgrad_service.engine.executors.dispatch import Dispatch
from batchgrad_service.engine.executors.protocol import Happening, Kind, Range, Traffic
from batchgrad_service.engine.executors.ray_connection import cluster_errors
from batchgrad_service.engine.executors.ray_crew import Crew
from batchgrad_service.engine.messages import ClusterSeen
from batchgrad_workers.arrays import Array
from batchgrad_workers.gradients import GradientSums
from batchgrad_workers.shard import EvaluationSums, RangeSums, Setup


class RayExecutor:
    """A crew on the cluster that this process is connected to."""

    kind: Kind = "ray"

    def __init__(
        self,
        setup: Setup,
        *,
        workers: int,
        threads: int,
        private: bool,
        silence_seconds: float,
        start_seconds: float,
        interrupted: Callable[[], bool],
        nodes: Sequence[str] = (),
        leave: Callable[[], None] = lambda: None,
    ) -> None:
        """Start the actors; returns when all of them are there. `leave` is called at the end.

        `nodes` are the cluster's, for whoever watches it.

        Raises:
            NoWorkers: not one came within `start_seconds`.
            Interrupted: the engine has to go.
            ClusterLost: there is no cluster.
        """
        self.threads = threads
        self._nodes = list(nodes)
        self._leave = leave
        with cluster_errors():
            self._crew = Crew(
                ray.put(setup),
                wanted=workers,
                threads=threads,
                # A private cluster is this machine: workers share it without reserving CPUs.
                cpus=0 if private else threads,
                silence_seconds=silence_seconds,
                start_seconds=start_seconds,
                interrupted=interrupted,
            )
            self._dispatch = Dispatch(self._crew, interrupted, silence_seconds)
            try:
                self._crew.everybody()
            except BaseException:
                self.close()
                raise

    @property
    def workers(self) -> int:
        return len(self._crew.alive)

    @property
    def shares(self) -> int:
        """How many are there now; those that have come since the last step are counted in."""
        with cluster_errors():
            self._crew.admit(timeout_seconds=0)
            self._crew.fill()
        return max(1, self.workers)

    def gradient_sums(
        self, step: int, parameters: Array, ranges: Sequence[Range]
    ) -> list[RangeSums[GradientSums]]:
        with cluster_errors():
            return self._dispatch.compute("gradient", step, parameters, ranges)

    def evaluation_sums(
        self, parameters: Array, ranges: Sequence[Range]
    ) -> list[RangeSums[EvaluationSums]]:
        with cluster_errors():
            return self._dispatch.compute("evaluation", 0, parameters, ranges)

    def drain(self) -> list[Happening]:
        found = [*self._crew.happenings, *self._dispatch.happenings]
        self._crew.happenings, self._dispatch.happenings = [], []
        return found

    def traffic(self) -> Traffic:
        return self._crew.traffic()

    def cluster(self) -> ClusterSeen:
        busy, starting = self._crew.places()
        return ClusterSeen(nodes=self._nodes, busy=busy, starting=starting)

    def close(self) -> None:
        """Kill the actors."""
        self._crew.dismiss()
        self._leave()
