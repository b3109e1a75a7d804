"""The origin of initial parameters: how the inputs of their training were standardized."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from batchgrad_engine.checkpoints.checkpoints import METADATA_KEY
from batchgrad_workers.data.standardization import Standardization

CHECKED_NUMBERS = 1 << 22
"""Most input numbers of which a plan computes mean and deviation; else the job's start does."""

TOLERANCE = 1e-3
"""Standardized inputs that differ by less, in deviations, count as equal."""


@dataclass(frozen=True)
class Origin:
    """Inputs had this standardization, or it is `folded` into the first layer, or they had none.

    If not `known`, the file is not batchgrad's, and nothing is known of its inputs.
    """

    known: bool = False
    standardization: Standardization | None = None
    folded: bool = False


def read_origin(content: bytes) -> Origin:
    """The origin in a safetensors file's metadata; not `known` for any other file."""
    try:
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        metadata = json.loads(header["__metadata__"][METADATA_KEY])
        if not isinstance(metadata, dict):
            return Origin()
        return Origin(
            known=True,
            standardization=_standardization(metadata.get("standardization")),
            folded="standardization_folded_into" in metadata,
        )
    except (ValueError, TypeError, KeyError, RecursionError):
        return Origin()


def _standardization(metadata: Any) -> Standardization | None:
    """Mean and deviation from the metadata.

    Raises:
        ValueError: they are not finite, not positive, or differ in shape.
    """
    if metadata is None:
        return None
    mean, deviation = (np.array(metadata[name], np.float64) for name in ("mean", "deviation"))
    sound = mean.shape == deviation.shape and np.isfinite([mean, deviation]).all()
    if not sound or not (deviation > 0).all():
        raise ValueError("mean and deviation are not finite, or do not belong together")
    return Standardization(mean, deviation)


def standardization_warning(
    of: Origin, own: Standardization | None, *, standardize: bool
) -> str | None:
    """Warn that a job's inputs are standardized differently from those of its parameters' training.

    `standardize`: the job standardizes its inputs, by `own` if that is known. None: no warning.
    """
    if not of.known:
        return None
    if standardize and of.folded:
        return (
            "initial_parameters take raw inputs, since the standardization they were trained with "
            "is folded into their first layer; this job standardizes its inputs, so they would be "
            "standardized twice: set standardize: false, or use parameters without folding."
        )
    if standardize and of.standardization is None:
        return (
            "initial_parameters were trained on raw inputs, but this job standardizes its inputs: "
            "set standardize: false to start where that training ended."
        )
    if not standardize and of.standardization is not None:
        return (
            "initial_parameters were trained on standardized inputs, but this job uses raw inputs: "
            "set standardize: true and initial_parameters.standardization: keep, or start from a "
            "file that was downloaded with --fold."
        )
    if of.standardization is None or own is None:
        return None
    return _difference(of.standardization, own)


def _difference(kept: Standardization, own: Standardization) -> str | None:
    if kept.mean.shape != own.mean.shape:
        return None
    apart = np.abs(own.mean - kept.mean) / kept.deviation
    apart = (apart + np.abs(own.deviation / kept.deviation - 1)).ravel()
    worst = int(apart.argmax())
    if not apart[worst] > TOLERANCE:
        return None
    figures = (kept.mean, kept.deviation, own.mean, own.deviation)
    then, spread, now, width = (each.ravel()[worst] for each in figures)
    return (
        "initial_parameters were trained on inputs standardized by another mean and deviation: "
        f"for input {worst} they were {then:.6g} and {spread:.6g}, for this job's training rows "
        f"they are {now:.6g} and {width:.6g}, so that standardized inputs differ by up to "
        f"{apart[worst]:.3g} deviations. initial_parameters.standardization: keep uses the old "
        "mean and deviation."
    )
