"""What a file of parameters says of the inputs that they were trained on."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from batchgrad_engine.checkpoints.checkpoints import KEY
from batchgrad_workers.data.standardization import Standardization

CHECKED_NUMBERS = 1 << 22
"""A plan works out mean and deviation of so many inputs at most; of more, the job's start does."""

NOTICED = 1e-3
"""Standardized inputs that differ by less, in deviations, are the same."""


@dataclass(frozen=True)
class Origin:
    """Inputs were standardized so, or `folded` into the first layer; neither: taken as they are.

    Unless the file is not `told` to be ours: then nothing is known.
    """

    told: bool = False
    standardization: Standardization | None = None
    folded: bool = False


def origin(content: bytes) -> Origin:
    """The origin of a safetensors file's parameters, from its metadata; any other's is unknown."""
    try:
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        about = json.loads(header["__metadata__"][KEY])
        if not isinstance(about, dict):
            return Origin()
        return Origin(
            told=True,
            standardization=_standardization(about.get("standardization")),
            folded="standardization_folded_into" in about,
        )
    except (ValueError, TypeError, KeyError, RecursionError):
        return Origin()


def _standardization(about: Any) -> Standardization | None:
    """Mean and deviation as metadata say them; ValueError if they are no such numbers."""
    if about is None:
        return None
    mean, deviation = (np.array(about[name], np.float64) for name in ("mean", "deviation"))
    sound = mean.shape == deviation.shape and np.isfinite([mean, deviation]).all()
    if not sound or not (deviation > 0).all():
        raise ValueError("mean and deviation are not finite, or do not belong together")
    return Standardization(mean, deviation)


def objection(of: Origin, own: Standardization | None, *, standardize: bool) -> str | None:
    """Why a job would start elsewhere than where parameters of this origin were trained to.

    `standardize` is whether the job standardizes its inputs; `own` how, where that is known.
    """
    if not of.told:
        return None
    if standardize and of.folded:
        return (
            "initial_parameters take raw inputs, since the standardization they were trained with "
            "is folded into their first layer; this job standardizes its inputs, so they would be "
            "standardized twice: set standardize: false, or take the parameters without folding."
        )
    if standardize and of.standardization is None:
        return (
            "initial_parameters were trained on inputs as they are, this job standardizes them: "
            "set standardize: false to start where that training ended."
        )
    if not standardize and of.standardization is not None:
        return (
            "initial_parameters were trained on standardized inputs, this job takes them as they "
            "are: set standardize: true and initial_parameters.standardization: keep, or start "
            "from a file that was downloaded with --fold."
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
    if not apart[worst] > NOTICED:
        return None
    figures = (kept.mean, kept.deviation, own.mean, own.deviation)
    then, spread, now, width = (each.ravel()[worst] for each in figures)
    return (
        "initial_parameters were trained on inputs standardized by another mean and deviation: of "
        f"input {worst} they were {then:.6g} and {spread:.6g}, of this job's training rows they "
        f"are {now:.6g} and {width:.6g}, so that standardized inputs are up to {apart[worst]:.3g} "
        "deviations from what the parameters know. initial_parameters.standardization: keep takes "
        "the old ones over."
    )
