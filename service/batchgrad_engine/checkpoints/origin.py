"""The origin of initial parameters: how the inputs of their training were made."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from batchgrad.contract import Encoding, Table
from batchgrad_engine.checkpoints.checkpoints import METADATA_KEY
from batchgrad_workers.arrays import Shape
from batchgrad_workers.data.dataset import StoredDataset
from batchgrad_workers.data.input_transform import (
    InputTransform,
    name_of_input,
    standardization_of,
)
from batchgrad_workers.data.standardization import Standardization
from batchgrad_workers.data.tables.encoding import TableEncoding, TableMismatch
from batchgrad_workers.nn.kernels.encoding import DEVIATION

CHECKED_NUMBERS = 1 << 22
"""Most input numbers of which a plan computes mean and deviation; else the job's start does."""

TOLERANCE = 1e-3
"""Standardized inputs that differ by less, in deviations, count as equal."""


class CannotKeep(Exception):
    """The transform that the parameters were trained with does not fit the job's dataset."""


@dataclass(frozen=True)
class Origin:
    """Inputs had this transform, or standardization was `folded` into the first layer.

    If not `known`, the file is not batchgrad's, and nothing is known of its inputs.
    """

    known: bool = False
    transform: InputTransform | None = None
    folded: bool = False


def read_origin(content: bytes) -> Origin:
    """The origin in a safetensors file's metadata; not `known` for any other file."""
    metadata = read_metadata(content)
    if not metadata:
        return Origin()
    try:
        return Origin(
            known=True,
            transform=_transform(metadata),
            folded="standardization_folded_into" in metadata,
        )
    except (ValueError, TypeError, KeyError, RecursionError, TableMismatch):
        return Origin()


def read_metadata(content: bytes) -> dict[str, Any]:
    """The metadata of a safetensors file that batchgrad wrote; {} of any other file."""
    try:
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        metadata = json.loads(header["__metadata__"][METADATA_KEY])
    except (ValueError, TypeError, KeyError, RecursionError):
        return {}
    return metadata if isinstance(metadata, dict) else {}


def _transform(metadata: dict[str, Any]) -> InputTransform | None:
    """The transform in the metadata.

    Raises:
        ValueError: mean or deviation are not finite, not positive, or differ in shape.
        TableMismatch: an encoding names columns that its table lacks.
    """
    if metadata.get("encoding") is not None:
        encoding = TableEncoding.of(Encoding.model_validate(metadata["encoding"]))
        if not encoding.is_finite or not (encoding.values[:, DEVIATION] > 0).all():
            raise ValueError("the encoding has numbers that are not finite")
        return encoding
    given = metadata.get("standardization")
    if given is None:
        return None
    mean, deviation = (np.array(given[name], np.float64) for name in ("mean", "deviation"))
    sound = mean.shape == deviation.shape and np.isfinite([mean, deviation]).all()
    if not sound or not (deviation > 0).all():
        raise ValueError("mean and deviation are not finite, or do not belong together")
    return Standardization(mean, deviation)


def kept_transform(of: Origin, dataset: StoredDataset) -> InputTransform:
    """The transform that the parameters were trained with, for the rows of `dataset`.

    Raises:
        CannotKeep: there is none, or it is for other inputs.
    """
    match of.transform:
        case TableEncoding() as known if dataset.table is not None:
            return _compiled(known, dataset.table, dataset.input_shape)
        case Standardization() as known if dataset.table is None:
            if known.mean.shape == dataset.input_shape:
                return known
            kept = f"one for inputs of shape {list(known.mean.shape)}"
        case None:
            kept = "none"
        case _:
            kept = "one for other inputs"
    inputs = f"have shape {list(dataset.input_shape)}" if dataset.table is None else "are a table's"
    raise CannotKeep(
        f"standardization is keep, but the parameters have {kept}; the inputs {inputs}: remove "
        "standardization, or use the parameters of a job with standardize: true, downloaded "
        "without fold."
    )


def _compiled(known: TableEncoding, table: Table, shape: Shape) -> TableEncoding:
    try:
        own = known.compiled(table)
    except TableMismatch as error:
        raise CannotKeep(f"standardization is keep. {error}") from error
    if own.shape != shape:
        raise CannotKeep(
            f"standardization is keep, but the parameters have {own.shape[0]} inputs, and this "
            f"dataset's columns become {shape[0]}, since they have other categories or gaps: "
            "remove standardization, and start from new parameters."
        )
    return own


def transform_warning(
    of: Origin, own: InputTransform | None, *, standardize: bool, is_table: bool
) -> str | None:
    """Warn that a job's inputs are made differently from those of its parameters' training.

    `standardize`: the job standardizes its inputs. `is_table`: they are a table's columns. `own` is
    the job's transform, if that is known. None: no warning.
    """
    if not of.known:
        return None
    if (warning := _at_odds(of, standardize=standardize, is_table=is_table)) is not None:
        return warning
    if own is None or of.transform is None:
        return None
    return _other_inputs(of.transform, own) or _difference(of.transform, own)


def _at_odds(of: Origin, *, standardize: bool, is_table: bool) -> str | None:
    """That inputs of one job are standardized or a table's, and those of the other are not."""
    if standardize and of.folded:
        return (
            "initial_parameters take raw inputs, since the standardization they were trained with "
            "is folded into their first layer; this job standardizes its inputs, so they would be "
            "standardized twice: set standardize: false, or use parameters without folding."
        )
    if is_table != isinstance(of.transform, TableEncoding):
        there, here = ("arrays", "a table's columns")[:: 1 if is_table else -1]
        return (
            f"initial_parameters were trained on {there}, but this job's inputs are {here}: their "
            "first layer means other inputs. Start from the parameters of a job on such a dataset."
        )
    known = standardization_of(of.transform)
    if standardize and known is None and not is_table:  # of a table, _difference says more
        return (
            "initial_parameters were trained on raw inputs, but this job standardizes its inputs: "
            "set standardize: false to start where that training ended."
        )
    if not standardize and known is not None:
        return (
            "initial_parameters were trained on standardized inputs, but this job uses raw inputs: "
            "set standardize: true and initial_parameters.standardization: keep, or start from a "
            "file that was downloaded with --fold."
        )
    return None


def _other_inputs(kept: InputTransform, own: InputTransform) -> str | None:
    """Of tables: the first input that is made of another column or other categories."""
    if not isinstance(kept, TableEncoding) or not isinstance(own, TableEncoding):
        return None
    figures = {"fill", "mean", "deviation"}
    for index, (then, now) in enumerate(
        zip(kept.encoding.inputs, own.encoding.inputs, strict=False)
    ):
        if then.model_dump(exclude=figures) != now.model_dump(exclude=figures):
            differ = then.name if then.name == now.name else f"{then.name}, now it is {now.name}"
            return (
                f"initial_parameters were trained on other inputs of a table: input {index} was "
                f"{differ:.300}, with other categories or gaps in the training rows. "
                "initial_parameters.standardization: keep encodes the columns as then."
            )
    return None


def _difference(of: InputTransform, now: InputTransform) -> str | None:
    own = standardization_of(now)
    if own is None:
        return None
    neutral = Standardization(np.zeros_like(own.mean), np.ones_like(own.mean))
    kept = standardization_of(of) or neutral
    if kept.mean.shape != own.mean.shape:
        return None
    apart = np.abs(own.mean - kept.mean) / kept.deviation
    apart = (apart + np.abs(own.deviation / kept.deviation - 1)).ravel()
    worst = int(apart.argmax())
    if not apart[worst] > TOLERANCE:
        return None
    figures = (kept.mean, kept.deviation, own.mean, own.deviation)
    then, spread, at, width = (each.ravel()[worst] for each in figures)
    return (
        "initial_parameters were trained on inputs standardized by another mean and deviation: "
        f"for {name_of_input(of, worst)} they were {then:.6g} and {spread:.6g}, for this job's "
        f"training rows they are {at:.6g} and {width:.6g}, so that standardized inputs differ by "
        f"up to {apart[worst]:.3g} deviations. initial_parameters.standardization: keep uses the "
        "old mean and deviation."
    )
