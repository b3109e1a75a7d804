"""Warn of inputs and labels that cannot be meant as they are stored."""

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from batchgrad.contract import Conv2d, Dataset, Flatten, Identity, JobSpec, Layer, LayerNorm, Linear
from batchgrad_service.validation.images import how_to_store
from batchgrad_service.validation.samples import Sample, look
from batchgrad_workers.arrays import Floats, Integers
from batchgrad_workers.data.dataset import StoredDataset
from batchgrad_workers.nn.losses import LOSSES
from batchgrad_workers.nn.network import Network

_BRIGHT = 100
"""Whole numbers from 0 up to at least this are taken for raw pixels, or counts like them."""

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
    """A sentence or two for each thing to know; `present` are the job's rows, None for all."""
    labels = LOSSES[spec.loss].targets == "classes" and dataset.classes is not None
    return [
        *(_labels(stored.targets, present, dataset.classes or 0) if labels else ()),
        *_images(spec, dataset),
        *_scales(spec, stored, present, network),
    ]


def _labels(targets: npt.NDArray[Any], present: Integers | None, classes: int) -> Iterator[str]:
    """Classes 0 … `classes` - 1 should have examples, most of them."""
    seen = _seen(targets, present, classes)
    lowest, count = int(seen.argmax()), int(np.count_nonzero(seen))
    if count == 1:
        yield (
            f"All examples have class {lowest}: there is nothing to tell apart. Check the targets."
        )
    elif lowest == 1 and count == classes - 1:
        yield (
            f"The targets are classes 1 to {classes - 1}, no example has class 0, whose output can "
            f"only be wrong. Classes start at 0: store targets - 1, which makes {count} of them."
        )
    elif lowest > 0 or 2 * count <= classes:
        yield (
            f"Of the classes 0 to {classes - 1} only {count} have examples, the first is "
            f"{lowest}: the other outputs can only be wrong. Classes are 0, 1, 2, … without gaps: "
            "numpy.unique(targets, return_inverse=True)[1] numbers them so."
        )


def _seen(
    targets: npt.NDArray[Any], present: Integers | None, classes: int
) -> npt.NDArray[np.bool_]:
    """Which classes (classes,) have an example; looks no further once all have."""
    seen = np.zeros(classes, np.bool_)
    for start in range(0, len(targets if present is None else present), _CHUNK):
        part = slice(start, start + _CHUNK)
        seen[targets[part if present is None else present[part]]] = True
        if seen.all():
            break
    return seen


def _images(spec: JobSpec, dataset: Dataset) -> Iterator[str]:
    remedy = how_to_store(spec.model, tuple(dataset.input_shape))
    if remedy is not None:
        yield remedy


def _scales(
    spec: JobSpec, stored: StoredDataset, present: Integers | None, network: Network
) -> Iterator[str]:
    """What `standardize` would mend; ids have no scale, and layer_norm has its own."""
    first = next((x for x in spec.model.layers if not isinstance(x, Flatten | Identity)), None)
    if network.takes_ids or spec.standardize or isinstance(first, LayerNorm):
        return
    seen = look(stored.inputs, present)
    lowest, highest = float(seen.lowest.min()), float(seen.highest.max())
    largest = max(-lowest, highest)
    if largest > float(np.finfo(spec.precision).max):
        yield (
            f"The inputs reach {largest:.3g}, {spec.precision} holds at most "
            f"{np.finfo(spec.precision).max:.3g}: set standardize: true, or scale them down."
        )
    elif seen.whole and lowest >= 0 and highest >= _BRIGHT and len(seen.lowest) >= _PIXELS:
        yield (
            f"The inputs are whole numbers from {lowest:g} to {highest:g}, as raw pixels and "
            f"counts are, and standardize is false: the first layer's gradients are up to "
            f"{highest:g} times those of inputs up to 1. Set standardize: true, or store "
            f"inputs / {highest:g}."
        )
    else:
        yield from _differing(*_features(seen, stored.inputs.shape[1:], first))


def _features(
    seen: Sample, shape: tuple[int, ...], first: Layer | None
) -> tuple[str, Floats, Floats]:
    """What shares weights has one scale: its name, lowest and highest of each, (features,)."""
    if len(seen.lowest) == prod(shape):
        lowest, highest = seen.lowest.reshape(shape), seen.highest.reshape(shape)
        if len(shape) == 1:
            return "column", lowest, highest
        if isinstance(first, Conv2d):
            return "channel", lowest.min((1, 2)), highest.max((1, 2))
        if isinstance(first, Linear) and len(shape) == 2:
            return "feature", lowest.min(0), highest.max(0)
    return "", np.empty(0), np.empty(0)


def _differing(name: str, lowest: Floats, highest: Floats) -> Iterator[str]:
    """Features whose ranges differ much; those that are constant have none."""
    spans = highest - lowest
    varying = np.flatnonzero(spans > 0)
    if not len(varying):
        return
    narrow, wide = varying[spans[varying].argmin()], varying[spans[varying].argmax()]
    ratio = spans[wide] / spans[narrow]
    if ratio >= _SCALES:
        yield (
            f"The inputs' scales differ: {name} {wide} goes from {lowest[wide]:.4g} to "
            f"{highest[wide]:.4g}, {name} {narrow} from {lowest[narrow]:.4g} to "
            f"{highest[narrow]:.4g}, {ratio:.3g} times less. No learning rate suits both: set "
            "standardize: true."
        )
