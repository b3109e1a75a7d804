"""Say how targets that are numbered or shaped otherwise become the classes that a loss takes."""

from typing import Any

import numpy as np
import numpy.typing as npt

_LOOKED_AT = 1 << 16
"""Targets that are enough to tell how all are numbered."""


def as_classes(targets: npt.NDArray[Any]) -> str:
    """How targets (n, …) that are no classes (n,) become some."""
    whole = "" if targets.dtype.kind in "iu" else ".astype('int64')"
    if targets.ndim == 1:
        return f"targets{whole} if they number classes, or a loss for numbers"
    if targets.shape[1:] == (1,):
        return f"targets.ravel(){whole} if they number classes, or a loss for numbers"
    return "targets.argmax(1) if the rows are one-hot, or a loss for numbers"


def no_negatives(targets: npt.NDArray[Any]) -> str:
    """What to do about integer targets of which some are negative."""
    if np.isin(targets[:_LOOKED_AT], (-1, 1)).all():
        return (
            "classes are 0, 1, 2, …: (targets > 0).astype('int64') makes -1 and 1 classes 0 and 1, "
            "targets.astype('float32') numbers to predict"
        )
    return (
        "integers number classes 0, 1, 2, …: targets.astype('float32') makes them numbers to "
        "predict, numpy.unique(targets, return_inverse=True)[1] classes"
    )


def from_zero(targets: npt.NDArray[Any], classes: int) -> str:
    """What to do first about classes of which none is 0; "" where one is."""
    lowest = int(targets.min())
    if lowest == 0:
        return ""
    if lowest == 1:
        return f"classes start at 0, so store targets - 1 if yours are 1 to {classes - 1}; else "
    return (
        f"no example has a class below {lowest}, so store numpy.unique(targets, "
        "return_inverse=True)[1], which numbers classes from 0 without gaps; else "
    )


def to_probabilities(targets: npt.NDArray[Any]) -> str:
    """How targets of two values become 0 and 1; "" where they have others."""
    for low, high, remedy in (
        (-1, 1, "(targets + 1) / 2"),
        (1, 2, "targets - 1.0"),
        (0, 100, "targets / 100 if they are per cent"),
        (0, 255, "targets / 255 if they are pixels"),
    ):
        two = high - low <= 2
        within = np.isin(targets, (low, high)) if two else (targets >= low) & (targets <= high)
        if within.all():
            return f": store {remedy}"
    return ""
