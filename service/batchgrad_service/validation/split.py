"""Check that a job has the training and validation examples that its spec needs."""

from math import ceil

from batchgrad.contract import VALIDATION_FIGURES, Dataset, JobSpec, ValidationMetric
from batchgrad_engine.training.sampling import job_sampler
from batchgrad_service.problems import InvalidError
from batchgrad_workers.data.dataset import StoredDataset
from batchgrad_workers.data.sampler import Sampler
from batchgrad_workers.data.split import CannotSplit
from batchgrad_workers.nn.losses import LOSSES


def checked_sampler(spec: JobSpec, dataset: Dataset, stored: StoredDataset) -> Sampler:
    """The job's sampler.

    Raises:
        InvalidError: the dataset has no such split, or no training example is left.
    """
    column = _split_column(dataset)
    rule = spec.held_out
    if rule is not None and rule.rows is not None and column is not None and rule.rows != column:
        raise InvalidError.field(
            "/validation/rows",
            f"got {rule.rows!r}; the column that names each row's set in dataset {dataset.name} is "
            f"{column!r}.",
        )
    try:
        sampler = job_sampler(spec, stored)
    except CannotSplit as error:
        raise InvalidError.field("/validation", f"Dataset {dataset.name}: {error}") from None
    if not len(sampler.training) and not len(sampler.validation):
        raise InvalidError.field(
            "/class_weights",
            f"No example has a weight above 0, among {dataset.examples} in dataset {dataset.name}: "
            "raise a class weight, or push the dataset with other weights.",
        )
    if not len(sampler.training):
        raise InvalidError.field(
            "/validation",
            f"All {len(sampler.validation)} examples of dataset {dataset.name} are held out, so "
            "none is left to train on: hold out fewer.",
        )
    return sampler


def check_split(spec: JobSpec, dataset: Dataset, sampler: Sampler) -> list[str]:
    """Warn if a rule holds no examples out, or if the dataset's own split is not used.

    Raises:
        InvalidError: the spec needs a validation figure that the job does not have.
    """
    stopping = spec.early_stopping
    if stopping and stopping.metric not in _figures(spec):
        raise InvalidError.field(
            "/early_stopping/metric",
            f"{spec.loss or spec.model.torch} has no {VALIDATION_FIGURES[stopping.metric].label}: "
            f"set metric to one of {', '.join(_figures(spec))}.",
        )
    column, rule = _split_column(dataset), spec.held_out
    unused = []
    if column is not None and (rule is None or rule.rows is None):
        unused.append(
            f"Column {column!r} of dataset {dataset.name} names each row's set, but this job does "
            f"not use it, and trains on test rows too: set validation: {{rows: {column}}}."
        )
    if rule is None or rule.dataset is not None or len(sampler.validation):
        return unused
    pointer, none, remedy = _nothing_held_out(spec, len(sampler.training))
    if not stopping and spec.keep != "best":
        return [*unused, f"There will be no validation figures: {none}. {remedy}"]
    setting = "early_stopping" if stopping else "keep: best"
    raise InvalidError.field(pointer, f"{setting} needs validation examples, but {none}. {remedy}")


def _figures(spec: JobSpec) -> tuple[ValidationMetric, ...]:
    """The figures that an evaluation by the job's loss has, or may have by a PyTorch task."""
    if spec.loss is None:
        return tuple(VALIDATION_FIGURES)
    if LOSSES[spec.loss].target_kind == "value":
        return ("validation_loss", "validation_r2", "validation_rmse")
    return ("validation_loss", "validation_accuracy")


def _split_column(dataset: Dataset) -> str | None:
    """The column that names each row's set."""
    columns = dataset.table.columns if dataset.table else []
    return next((column.name for column in columns if column.role == "split"), None)


def _nothing_held_out(spec: JobSpec, examples: int) -> tuple[str, str, str]:
    """Where in the spec, why no example is held out, and what to do."""
    rule = spec.held_out
    if rule is None or rule.fraction is None:
        return (
            "/validation/rows",
            "no row's set is validation",
            "Push the dataset with such rows.",
        )
    key = "validation_fraction" if spec.validation is None else "validation.fraction"
    of = "units" if rule.by_unit else f"{examples} examples"
    least = ceil(1e4 / examples) / 1e4
    if rule.by_unit:
        remedy = f"Raise {key}, or push a dataset with more units."
    elif least < 1:
        remedy = f"Set {key} to {least:g} or more."
    else:
        remedy = "Push a dataset with more examples."
    return "/" + key.replace(".", "/"), f"{rule.fraction:g} of {of}, rounded down, is 0", remedy
