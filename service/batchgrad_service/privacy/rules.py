"""Checks of a private job's spec against its data: nothing but noisy steps may read the rows."""

import numpy as np

from batchgrad.contract import JobSpec, Privacy
from batchgrad_service.problems import InvalidError
from batchgrad_service.validation.job_data import JobData
from batchgrad_workers.data.dataset import StoredDataset
from batchgrad_workers.data.split import NO_UNITS
from batchgrad_workers.nn.losses import LOSSES


def check_delta(privacy: Privacy, count: int, of: str = "training examples") -> None:
    """Check that δ is below 1/n: a mechanism that shows one row in n has δ = 1/n.

    Raises:
        InvalidError: it is not.
    """
    if privacy.delta * count >= 1:
        raise InvalidError.field(
            "/privacy/delta",
            f"delta is {privacy.delta:g}, and must stay below 1/n = {1 / count:.3g} for the {count}"
            f" {of}: give {0.1 / count:.1g} for example.",
        )


def check_data(spec: JobSpec, data: JobData) -> None:
    """Check that nothing but the noisy steps reads the private rows.

    Raises:
        InvalidError: a key of the spec would; the message says what to give instead.
    """
    privacy = spec.privacy
    if privacy is None:
        return
    if spec.optimizer.clip_norm is not None:
        raise InvalidError.field(
            "/optimizer/clip_norm",
            f"optimizer.clip_norm is {spec.optimizer.clip_norm:g}, but the job is private: "
            "privacy.clip_norm clips examples: remove it.",
        )
    if spec.validation is not None and spec.validation.stratify:
        raise InvalidError.field(
            "/validation/stratify",
            "stratify reads the private rows' classes to choose the held-out rows: remove it.",
        )
    _check_weights(spec, data)
    _check_validation(spec, privacy)
    _check_other_rows(data)
    _check_encoding(spec, data)
    if privacy.unit == "units":
        units = StoredDataset.open(data.directory).units
        if units is None:
            raise InvalidError.field("/privacy/unit", f"Dataset {data.dataset.name}: {NO_UNITS}")
        check_delta(privacy, len(np.unique(units)), "units of the dataset")


def _check_weights(spec: JobSpec, data: JobData) -> None:
    """Check that no row is left out for its weight: the number of the others is shown."""
    given = spec.class_weights if isinstance(spec.class_weights, dict) else {}
    nothing = [name for name, weight in given.items() if weight == 0]
    if nothing:
        raise InvalidError.field(
            "/class_weights",
            f"Class {nothing[0]!r} has weight 0, so its rows would be left out, and the plan would "
            "show how many others there are: give it a small weight, 1e-6 for example.",
        )
    for stored in filter(None, (data, data.validation)):
        weights = StoredDataset.open(stored.directory).weights
        if weights is not None and not (weights > 0).all():
            raise InvalidError.field(
                "/dataset" if stored is data else "/validation/dataset",
                f"Dataset {stored.dataset.name} has rows of weight 0, which would be left out, and "
                "the plan would show how many others there are: push it without them, or with "
                "small weights.",
            )


def _check_other_rows(data: JobData) -> None:
    """Check that no row is trained on and validated on: it would spend both."""
    other = data.validation
    if other is not None and other.dataset.digest == data.dataset.digest:
        raise InvalidError.field(
            "/validation/dataset",
            f"Dataset {other.dataset.name} has the rows that the job trains on, whose figures "
            "would tell of them once more: hold out a fraction, or give other rows.",
        )


def _check_validation(spec: JobSpec, privacy: Privacy) -> None:
    """Check that noisy validation has what it shows: the number of right answers."""
    if privacy.validation != "noisy" or spec.held_out is None:
        return
    if spec.loss is not None and LOSSES[spec.loss].target_kind == "value":
        raise InvalidError.field(
            "/privacy/validation",
            f"noisy validation shows an accuracy, which {spec.loss} does not have: hold out public "
            "rows, validation: public, or none.",
        )
    stopping = spec.early_stopping
    if stopping is not None and stopping.metric != "validation_accuracy":
        raise InvalidError.field(
            "/early_stopping/metric",
            f"noisy validation has no {stopping.metric}: set metric to validation_accuracy.",
        )


def _check_encoding(spec: JobSpec, data: JobData) -> None:
    """Check that no network's inputs are encoded by statistics of the private rows."""
    start = spec.initial_parameters
    if spec.model.torch is not None or data.dataset.table is None:
        return
    if start is None or start.standardization != "keep":
        raise InvalidError.field(
            "/dataset",
            f"Dataset {data.dataset.name} is a table, whose encoding would be read off the private "
            "rows: their means, medians, gaps and categories. Push arrays that are encoded by "
            "public constants, or start from a job on public rows of the same columns, with "
            "initial_parameters: {job: …, standardization: keep} and standardize: true.",
        )
