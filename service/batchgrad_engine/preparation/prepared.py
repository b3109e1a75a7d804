"""A prepared job: it makes coordinators, and snapshots of them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from batchgrad.contract import JobSpec, ShortcutName
from batchgrad.downloads.card import TrainedOn
from batchgrad_engine.checkpoints.checkpoints import Snapshot
from batchgrad_engine.checkpoints.example_ledger import LedgerColumns
from batchgrad_engine.checkpoints.initial_parameters import (
    fill,
    load_initial_parameters,
    read_tensors,
)
from batchgrad_engine.executors.protocol import Executor
from batchgrad_engine.measurement.measuring import MAX_BUFFERED_STEPS
from batchgrad_engine.measurement.module_shortcuts import ModuleShortcuts
from batchgrad_engine.measurement.network_shortcuts import NetworkShortcuts
from batchgrad_engine.measurement.shortcut_evaluator import ShortcutEvaluator
from batchgrad_engine.messages import PrivateStart
from batchgrad_engine.privacy.budget import Budget, build_of, own_subkey
from batchgrad_engine.privacy.mechanism import Mechanism, rounding
from batchgrad_engine.training import optimizers, schedules
from batchgrad_engine.training.best import Best, BestParameters
from batchgrad_engine.training.coordinator import Coordinator
from batchgrad_engine.training.evaluation import Evaluation
from batchgrad_engine.training.private_coordinator import PrivateCoordinator
from batchgrad_workers.arrays import Array
from batchgrad_workers.data.examples import EvaluationSet, Examples
from batchgrad_workers.data.sampler import Sampler
from batchgrad_workers.nn.trainable import TrainableNetwork
from batchgrad_workers.privacy.sampling import PoissonSampler
from batchgrad_workers.reduction.rounding import REDUCTIONS
from batchgrad_workers.runtime.config import JobTrainable, WorkerConfig
from batchgrad_workers.runtime.threads import ThreadPool

AnyCoordinator: TypeAlias = Coordinator | PrivateCoordinator


@dataclass(frozen=True)
class Prepared:
    """What an attempt needs for training; nothing in it depends on workers or threads."""

    spec: JobSpec
    model: JobTrainable
    sampler: Sampler
    examples: Examples
    evaluated: EvaluationSet
    config: WorkerConfig
    shortcuts: tuple[ShortcutName, ...]
    steps_planned: int
    training: TrainedOn
    warning: str | None = None
    private: PrivateStart | None = None

    def coordinator(
        self,
        executor: Executor,
        pool: ThreadPool,
        snapshot: Snapshot | None,
        initial: Path | None,
        buffered_steps: int = MAX_BUFFERED_STEPS,
    ) -> Coordinator:
        """A coordinator at `snapshot`, or at step 0; see `Coordinator` for `buffered_steps`.

        Raises:
            BadInitialParameters: the file `initial` does not fit the network.
        """
        optimizer, parameters = self._state(pool, snapshot, initial)
        return Coordinator(
            model=self.model,
            sampler=self.sampler,
            examples=self.examples,
            evaluated=self.evaluated,
            executor=executor,
            optimizer=optimizer,
            parameters=parameters,
            microbatch_size=self.config.microbatch_size,
            reduction=REDUCTIONS[self.config.sums],
            evaluator=self._evaluator(pool),
            drop_nonfinite=self.config.drop_nonfinite,
            learning_rate=self._learning_rate,
            clip_norm=self.spec.optimizer.clip_norm,
            update=self.spec.update,
            pool=pool,
            buffered_steps=buffered_steps,
        )

    def private_coordinator(
        self,
        executor: Executor,
        pool: ThreadPool,
        snapshot: Snapshot | None,
        initial: Path | None,
        job_directory: Path,
    ) -> PrivateCoordinator:
        """A private job's coordinator at `snapshot`, or at step 0.

        Raises:
            BadInitialParameters: the file `initial` does not fit the network.
        """
        start, privacy, sampler = self.private, self.spec.privacy, self.sampler
        if start is None or privacy is None or not isinstance(sampler, PoissonSampler):
            raise TypeError("A private job is prepared with its key.")
        build = build_of(self.config.build_info())
        optimizer, parameters = self._state(pool, snapshot, initial)
        noisy = start.validation_deviation
        return PrivateCoordinator(
            sampler=sampler,
            executor=executor,
            optimizer=optimizer,
            parameters=parameters,
            microbatch_size=self.config.microbatch_size,
            learning_rate=self._learning_rate,
            mechanism=Mechanism(
                privacy,
                noise_multiplier=start.noise_multiplier,
                keys=lambda purpose: own_subkey(start, build, purpose),
                size=len(parameters),
                batch_size=sampler.batch_size,
                units=float(sampler.rate * sampler.units),
                rounding=rounding(
                    sampler.batch_size,
                    sampler.microbatches(self.config.microbatch_size),
                    self.spec.precision,
                ),
                pool=pool,
            ),
            budget=Budget(
                start,
                privacy,
                job_directory,
                build,
                evaluations=ceil(start.steps_planned / sampler.steps_per_epoch),
            ),
            evaluation=Evaluation(
                self.model, self.evaluated, executor, self.config.microbatch_size
            ),
            noisy_evaluation=(
                None if noisy is None else (noisy, own_subkey(start, build, "validation"))
            ),
        )

    @property
    def _learning_rate(self) -> Callable[[int], float]:
        return partial(
            schedules.learning_rate, self.spec.optimizer, steps_planned=self.steps_planned
        )

    def _state(
        self, pool: ThreadPool, snapshot: Snapshot | None, initial: Path | None
    ) -> tuple[optimizers.Optimizer, Array]:
        """The optimizer and θ (P,), at `snapshot` or at step 0."""
        slices = [(each.name, each.start, each.size) for each in self.model.layout.slices]
        optimizer = optimizers.make_optimizer(self.spec.optimizer, pool, slices)
        if snapshot:
            optimizer.restore(snapshot.optimizer)
            return optimizer, self.model.layout.flat(snapshot.parameters)
        if initial and self.config.module is None:
            layout = self.model.layout
            return optimizer, load_initial_parameters(initial, layout, self.spec.precision)
        parameters = self.model.initial_parameters(self.spec.seed, self.spec.precision)
        if initial:
            fill(parameters, self.model.layout, read_tensors(initial))
        return optimizer, parameters

    def _evaluator(self, pool: ThreadPool) -> ShortcutEvaluator:
        if isinstance(self.model, TrainableNetwork):
            return NetworkShortcuts(self.model, self.shortcuts, pool)
        with np.errstate(over="ignore"):  # the first step tells of numbers that overflow
            row = self.examples.rows(self.sampler.training[:1])
        return ModuleShortcuts(self.model, self.shortcuts, pool, row)

    def best(self, snapshot: Snapshot | None) -> BestParameters | None:
        """The store of the best parameters so far; None if the job keeps the last ones."""
        if self.spec.best_by is None:
            return None
        return BestParameters(
            self.spec.best_by, self.model.layout, snapshot.best if snapshot else None
        )

    def snapshot(
        self,
        coordinator: AnyCoordinator,
        step: int,
        ledger: LedgerColumns,
        progress: dict[str, Any],
        best: Best | None,
    ) -> Snapshot:
        """The state after `step` steps; `ledger`, `progress` and `best` as in `Snapshot`."""
        return Snapshot(
            step=step,
            parameters=self.model.layout.named(coordinator.parameters),
            optimizer=coordinator.optimizer.state(),
            transform=self.config.transform,
            parameters_digest=self.model.layout.digest(coordinator.parameters),
            build_info=self.config.build_info(),
            ledger=ledger,
            progress=progress,
            best=best,
            training=self.training,
            module=self.config.module.recorded() if self.config.module else None,
        )
