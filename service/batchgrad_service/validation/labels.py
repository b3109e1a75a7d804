"""Suggest how to convert targets to the classes or probabilities that a loss needs."""

from typing import Any

import numpy as np
import numpy.typing as npt

_LOOKED_AT = 1 << 16
"""Targets that are examined to guess how all are numbered."""


def classes_hint(targets: npt.NDArray[Any]) -> str:
    """How to convert targets (n, …) to classes (n,)."""
    whole = "" if targets.dtype.kind in "iu" else ".astype('int64')"
    if targets.ndim == 1:
        return f"targets{whole} if they are class numbers, else use a loss for numbers"
    if targets.shape[1:] == (1,):
        return f"targets.ravel(){whole} if they are class numbers, else use a loss for numbers"
    return "targets.argmax(1) if the rows are one-hot, else use a loss for numbers"


def negative_classes_hint(targets: npt.NDArray[Any]) -> str:
    """How to convert integer targets of which some are negative."""
    if np.isin(targets[:_LOOKED_AT], (-1, 1)).all():
        return (
            "integer targets are classes 0, 1, 2, …: store (targets > 0).astype('int64') for "
            "classes 0 and 1, or targets.astype('float32') for numbers to predict"
        )
    return (
        "integer targets are classes 0, 1, 2, …: store targets.astype('float32') for numbers to "
        "predict, or numpy.unique(targets, return_inverse=True)[1] for classes"
    )


def first_class_hint(targets: npt.NDArray[Any], classes: int) -> str:
    """How to number classes from 0; "" if a class is 0."""
    lowest = int(targets.min())
    if lowest == 0:
        return ""
    if lowest == 1:
        return f"classes start at 0, so store targets - 1 if yours are 1 to {classes - 1}; else "
    return (
        f"no example has a class below {lowest}, so store numpy.unique(targets, "
        "return_inverse=True)[1], which numbers the classes from 0 without gaps; else "
    )


def probabilities_hint(targets: npt.NDArray[Any]) -> str:
    """How to scale targets to 0 … 1; "" if their range is not a usual one."""
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
