"""Prepare a job from its spec and dataset: its model, its examples, its workers' config."""

import os
from dataclasses import replace
from pathlib import Path

from batchgrad.contract import SHORTCUT_NAMES, JobSpec, LossReport, Privacy
from batchgrad.downloads.card import TrainedOn
from batchgrad.version import __version__
from batchgrad_engine.checkpoints.checkpoints import Snapshot
from batchgrad_engine.failures import BadInputs
from batchgrad_engine.measurement.shortcuts import needed_shortcuts, wanted_shortcuts
from batchgrad_engine.messages import PrivateStart
from batchgrad_engine.preparation.modules import check_trained, module_config
from batchgrad_engine.preparation.prepared import Prepared
from batchgrad_engine.preparation.transforms import transform_and_warning
from batchgrad_engine.privacy.budget import build_of, own_subkey
from batchgrad_engine.training.class_weights import (
    balanced_class_weights,
    given_class_weights,
)
from batchgrad_engine.training.parameter_groups import Unmatched, check_groups
from batchgrad_engine.training.sampling import job_sampler
from batchgrad_workers.arrays import Array, Integers
from batchgrad_workers.data.dataset import StoredDataset
from batchgrad_workers.data.sampler import Sampler
from batchgrad_workers.data.source import DatasetSource
from batchgrad_workers.data.tables.encoding import TableEncoding
from batchgrad_workers.nn.network import Network
from batchgrad_workers.privacy.config import PrivateWork
from batchgrad_workers.privacy.sampling import PoissonSampler
from batchgrad_workers.runtime.config import WorkerConfig
from batchgrad_workers.user_code.sources import CodeSource


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
        sums=spec.sums,
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
    if spec.privacy is not None:
        _check_accounted(sampler, private, examples.present)
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


def _check_accounted(
    sampler: Sampler, start: PrivateStart | None, present: Integers | None
) -> None:
    """Check that a private job samples as its accountant was told, from all of its rows.

    `start` is None in a preflight. Rows `present` are those with a weight above 0.
    """
    if present is not None:
        raise BadInputs(
            f"{len(present)} examples of a private job have a weight above 0, others have 0, so "
            "that their number, which is shown, would tell of weights: give each a weight above 0, "
            "or push a dataset without these rows."
        )
    if start is None or not isinstance(sampler, PoissonSampler):
        return
    if float(sampler.rate) > start.sampling_rate * (1 + 1e-12):
        raise BadInputs(
            f"A row is drawn with probability {float(sampler.rate):g}, and epsilon is that of "
            f"{start.sampling_rate:g}: submit the job again."
        )


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
