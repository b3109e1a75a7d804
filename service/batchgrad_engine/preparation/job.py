"""Prepare a job from its spec and dataset, up to a coordinator that is ready for a step."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from batchgrad.contract import SHORTCUT_NAMES, JobSpec, LossReport, Privacy, ShortcutName
from batchgrad.downloads.card import TrainedOn
from batchgrad.version import __version__
from batchgrad_engine.checkpoints.checkpoints import Snapshot
from batchgrad_engine.checkpoints.example_ledger import LedgerColumns
from batchgrad_engine.checkpoints.initial_parameters import (
    fill,
    load_initial_parameters,
    read_tensors,
)
from batchgrad_engine.executors.protocol import Executor
from batchgrad_engine.failures import BadInputs
from batchgrad_engine.measurement.measuring import MAX_BUFFERED_STEPS
from batchgrad_engine.measurement.module_shortcuts import ModuleShortcuts
from batchgrad_engine.measurement.network_shortcuts import NetworkShortcuts
from batchgrad_engine.measurement.shortcut_evaluator import ShortcutEvaluator
from batchgrad_engine.measurement.shortcuts import needed_shortcuts, wanted_shortcuts
from batchgrad_engine.messages import PrivateStart
from batchgrad_engine.preparation.modules import check_trained, module_config
from batchgrad_engine.preparation.transforms import transform_and_warning
from batchgrad_engine.privacy.budget import Budget, build_of, own_subkey
from batchgrad_engine.privacy.mechanism import Mechanism, rounding
from batchgrad_engine.training import optimizers, schedules
from batchgrad_engine.training.best import Best, BestParameters
from batchgrad_engine.training.class_weights import (
    balanced_class_weights,
    given_class_weights,
)
from batchgrad_engine.training.coordinator import Coordinator
from batchgrad_engine.training.evaluation import Evaluation
from batchgrad_engine.training.parameter_groups import Unmatched, check_groups
from batchgrad_engine.training.private_coordinator import PrivateCoordinator
from batchgrad_engine.training.sampling import job_sampler
from batchgrad_workers.arrays import Array
from batchgrad_workers.data.dataset import StoredDataset
from batchgrad_workers.data.examples import EvaluationSet, Examples
from batchgrad_workers.data.sampler import Sampler
from batchgrad_workers.data.source import DatasetSource
from batchgrad_workers.data.tables.encoding import TableEncoding
from batchgrad_workers.nn.network import Network
from batchgrad_workers.nn.trainable import TrainableNetwork
from batchgrad_workers.privacy.config import PrivateWork
from batchgrad_workers.privacy.sampling import PoissonSampler
from batchgrad_workers.runtime.config import JobTrainable, WorkerConfig
from batchgrad_workers.runtime.threads import ThreadPool
from batchgrad_workers.user_code.sources import CodeSource

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


def prepare(
    spec: JobSpec,
    source: DatasetSource,
    snapshot: Snapshot | None,
    initial: Path | None = None,
    validation: DatasetSource | None = None,
    code: CodeSource | None = None,
    private: PrivateStart | None = None,
) -> Prepared:
    """Create the model, the sampler, the examples and the workers' config.

    `validation` is the other dataset that the job validates on, `code` that of a PyTorch module.
    The inputs' transform comes from the snapshot, or, if the spec keeps it, from the file `initial`
    with the parameters, or from the training rows.

    Raises:
        BadInputs, BadInitialParameters: the dataset or the file does not fit the spec.
    """
    dataset = StoredDataset.open(source.path, source.files)
    sampler = job_sampler(spec, dataset)
    _check_training(sampler)
    module, class_weights, transform, warning = None, None, None, None
    if spec.model.torch is not None:
        module, warning = module_config(spec, dataset, code, snapshot, initial)
    else:
        class_weights = _class_weights(spec, dataset, sampler)
        transform, warning = transform_and_warning(spec, dataset, sampler, snapshot, initial)
    weighted = dataset.weights is not None or (module is not None and module.weighted)
    available = module.shortcuts if module else SHORTCUT_NAMES
    config = WorkerConfig(
        model=spec.model,
        loss=spec.loss,
        precision=spec.precision,
        dataset=source,
        seed=spec.seed,
        validation=spec.held_out,
        validation_dataset=validation,
        batch_size=spec.minibatch(len(dataset)),
        microbatch_size=spec.microbatch,
        class_weights=class_weights,
        transform=transform,
        shortcuts=needed_shortcuts(spec, weighted=weighted, available=available),
        drop_nonfinite=spec.nonfinite == "drop",
        label_smoothing=spec.label_smoothing,
        module=module,
    )
    if private is not None and spec.privacy is not None:
        config = replace(config, private=_private_work(spec.privacy, private, config))
    model = config.trainable(dataset)
    if module and snapshot:
        check_trained(model.layout, snapshot)
    try:
        check_groups(spec.optimizer, [each.name for each in model.layout.slices])
    except Unmatched as error:
        raise BadInputs(f"optimizer.groups[{error.group}].match: {error}") from error
    examples = config.examples(dataset, model)
    if private is not None or (module and module.weighted):  # as workers do
        sampler = config.sampler(dataset, examples.present)
        _check_training(sampler)
    steps = spec.steps or (spec.epochs or 0) * sampler.steps_per_epoch
    steps = steps if private is None else private.steps_planned
    shortcuts = wanted_shortcuts(spec, weighted=weighted, available=available)
    training = TrainedOn.of(
        spec,
        dataset_digest=source.digest,
        input_shape=dataset.input_shape if module is None else (),
        inputs=transform.names if isinstance(transform, TableEncoding) else None,
        classes=dataset.class_names,
        versions={"batchgrad": __version__, **config.build_info()},
    )
    evaluated = config.evaluation_set(examples, sampler, model)
    return Prepared(
        spec,
        model,
        sampler,
        examples,
        evaluated,
        config,
        shortcuts,
        steps,
        training,
        warning,
        private,
    )


def _private_work(privacy: Privacy, start: PrivateStart, config: WorkerConfig) -> PrivateWork:
    report = privacy.report
    return PrivateWork(
        sampling_key=own_subkey(start, build_of(config.build_info()), "sample"),
        clipping=privacy.clipping,
        loss_bound=report.loss_bound if isinstance(report, LossReport) else None,
        by_unit=privacy.unit == "units",
    )


def _check_training(sampler: Sampler) -> None:
    if not len(sampler.training):
        raise BadInputs("No example has a weight above 0: make a weight or class weight positive.")


def engine_threads(spec: JobSpec) -> int:
    """Number of threads for the engine's own work, between the workers' sums."""
    return len(os.sched_getaffinity(0)) if spec.threads == "auto" else spec.threads


def _class_weights(spec: JobSpec, dataset: StoredDataset, sampler: Sampler) -> Array | None:
    classes = max(Network(spec.model, dataset.input_shape).outputs, _classes(dataset))
    if spec.class_weights == "balanced":
        return balanced_class_weights(dataset.targets[sampler.training], classes)
    return given_class_weights(spec, classes, dataset.class_names)


def _classes(dataset: StoredDataset) -> int:
    """Number of classes in the targets; 0 if targets are values."""
    return int(dataset.targets.max()) + 1 if dataset.targets.dtype.kind in "iu" else 0
