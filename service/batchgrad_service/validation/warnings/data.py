"""Warn of inputs and labels that are probably stored wrongly."""

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from batchgrad.contract import (
    LOSSES,
    Conv1d,
    Conv2d,
    Dataset,
    Flatten,
    GroupNorm,
    Identity,
    JobSpec,
    Layer,
    LayerNorm,
    Linear,
    Table,
)
from batchgrad_service.validation.class_names import named, range_of
from batchgrad_service.validation.images import storage_hint
from batchgrad_service.validation.job_data import layers_shape
from batchgrad_service.validation.warnings.samples import Sample, take_sample
from batchgrad_workers.arrays import Floats, Integers
from batchgrad_workers.data.dataset import StoredDataset
from batchgrad_workers.nn.network import Network

_BRIGHT = 100
"""Integers from 0 to this or more are probably raw pixels or counts."""

_PIXELS = 16
_SCALES = 1e3
_CHUNK = 1 << 20


def data_warnings(
    spec: JobSpec,
    dataset: Dataset,
    stored: StoredDataset,
    present: Integers | None,
    network: Network,
) -> list[str]:
    """The warnings; `present` are the rows that the job uses, None for all."""
    labels = LOSSES[spec.network_loss].target_kind == "class" and dataset.classes is not None
    return [
        *(
            _labels(stored.targets, present, dataset.classes or 0, stored.class_names)
            if labels
            else ()
        ),
        *_images(spec, dataset),
        *_scales(spec, stored, present, network),
    ]


def _labels(
    targets: npt.NDArray[Any],
    present: Integers | None,
    classes: int,
    names: list[str] | None,
) -> Iterator[str]:
    """Most of the classes 0 … `classes` - 1 should have examples."""
    seen = _seen(targets, present, classes)
    lowest, count = int(seen.argmax()), int(np.count_nonzero(seen))
    if count == 1:
        yield (
            f"All examples have class {named(lowest, names)}, so there is nothing to learn. Check "
            "the targets."
        )
    elif names is not None:
        absent = [names[label] for label in np.flatnonzero(~seen)]
        if absent:
            yield (
                f"The job uses no example of these classes: {range_of(len(absent), absent)}. Their "
                "outputs are never right."
            )
    elif lowest == 1 and count == classes - 1:
        yield (
            f"The targets are classes 1 to {classes - 1}; no example has class 0, so the network "
            f"has an output that is never right. Classes start at 0: store targets - 1 ({count} "
            "classes)."
        )
    elif lowest > 0 or 2 * count <= classes:
        yield (
            f"Of the classes 0 to {classes - 1} only {count} have examples; the first is {lowest}. "
            "The outputs of the other classes are never right. Number the classes 0, 1, 2, … "
            "without gaps: store numpy.unique(targets, return_inverse=True)[1]."
        )


def _seen(
    targets: npt.NDArray[Any], present: Integers | None, classes: int
) -> npt.NDArray[np.bool_]:
    """Which classes have an example, (classes,); stops when all have."""
    seen = np.zeros(classes, np.bool_)
    for start in range(0, len(targets if present is None else present), _CHUNK):
        part = slice(start, start + _CHUNK)
        seen[targets[part if present is None else present[part]]] = True
        if seen.all():
            break
    return seen


def _images(spec: JobSpec, dataset: Dataset) -> Iterator[str]:
    remedy = storage_hint(spec.model, layers_shape(dataset))
    if remedy is not None:
        yield remedy


def _scales(
    spec: JobSpec, stored: StoredDataset, present: Integers | None, network: Network
) -> Iterator[str]:
    """Scales that `standardize` would correct; not for ids or in front of a norm."""
    first = next((x for x in spec.model.layers if not isinstance(x, Flatten | Identity)), None)
    if network.takes_ids or spec.standardize or isinstance(first, LayerNorm | GroupNorm):
        return
    if stored.table is not None:
        yield from _ranges(spec, stored.table)
        return
    sample = take_sample(stored.inputs, present)
    lowest, highest = float(sample.lowest.min()), float(sample.highest.max())
    largest = max(-lowest, highest)
    if largest > float(np.finfo(spec.precision).max):
        yield _beyond("The inputs", largest, spec)
    elif sample.integers and lowest >= 0 and highest >= _BRIGHT and len(sample.lowest) >= _PIXELS:
        yield (
            f"The inputs are integers from {lowest:g} to {highest:g}, probably raw pixels or "
            "counts, and standardize is false: the gradients of the first layer are up to "
            f"{highest:g} times as large as with inputs up to 1. Set standardize: true, or store "
            f"inputs / {highest:g}."
        )
    else:
        yield from _differing(*_features(sample, stored.inputs.shape[1:], first))


def _ranges(spec: JobSpec, table: Table) -> Iterator[str]:
    """Of the inputs that are numbers or dates; dates in parts and categories are small numbers."""
    found = [
        (column.name, column.lowest, column.highest)
        for column in table.inputs
        if column.kind == "number" or (column.kind == "date" and table.dates == "days")
    ]
    known = [(name, low, high) for name, low, high in found if low is not None and high is not None]
    if not known:
        return
    names, lowest, highest = zip(*known, strict=True)
    largest = [max(-low, high) for low, high in zip(lowest, highest, strict=True)]
    worst = int(np.argmax(largest))
    if largest[worst] > float(np.finfo(spec.precision).max):
        yield _beyond(f"The values of column {names[worst]}", largest[worst], spec)
    else:
        others = len(table.inputs) > len(known)  # of which most are 0 or 1
        yield from _differing(
            [*(f"column {name}" for name in names), *(["a category or boolean"] if others else [])],
            np.array([*lowest, *([0.0] if others else [])]),
            np.array([*highest, *([1.0] if others else [])]),
        )


def _beyond(what: str, largest: float, spec: JobSpec) -> str:
    return (
        f"{what} reach {largest:.3g}, but {spec.precision} holds at most "
        f"{np.finfo(spec.precision).max:.3g}: set standardize: true, or scale the inputs down."
    )


def _features(
    sample: Sample, shape: tuple[int, ...], first: Layer | None
) -> tuple[list[str], Floats, Floats]:
    """Names, minimum and maximum of the groups of inputs that share weights, (features,)."""
    if len(sample.lowest) == prod(shape):
        lowest, highest = sample.lowest.reshape(shape), sample.highest.reshape(shape)
        if len(shape) == 1:
            return _numbered("column", lowest), lowest, highest
        if isinstance(first, Conv1d | Conv2d):
            places = tuple(range(1, len(shape)))
            lowest, highest = lowest.min(places), highest.max(places)
            return _numbered("channel", lowest), lowest, highest
        if isinstance(first, Linear) and len(shape) == 2:
            lowest, highest = lowest.min(0), highest.max(0)
            return _numbered("feature", lowest), lowest, highest
    return [], np.empty(0), np.empty(0)


def _numbered(name: str, features: Floats) -> list[str]:
    return [f"{name} {index}" for index in range(len(features))]


def _differing(names: list[str], lowest: Floats, highest: Floats) -> Iterator[str]:
    """Features whose ranges differ by a factor of 1000 or more; constant ones do not count."""
    spans = highest - lowest
    varying = np.flatnonzero(spans > 0)
    if not len(varying):
        return
    narrow, wide = varying[spans[varying].argmin()], varying[spans[varying].argmax()]
    ratio = spans[wide] / spans[narrow]
    if ratio >= _SCALES:
        yield (
            f"The scales of the inputs differ: {names[wide]} ranges from {lowest[wide]:.4g} to "
            f"{highest[wide]:.4g}, {names[narrow]} from {lowest[narrow]:.4g} to "
            f"{highest[narrow]:.4g}, a range {ratio:.3g} times smaller. No learning rate suits "
            "both: set standardize: true."
        )
