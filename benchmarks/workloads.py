"""Four networks to train, and fixed random data for each. Imports numpy only."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

EXAMPLES = 4096  # every minibatch size divides it: no contestant meets a short one
CLASSES = 10
LEARNING_RATE = 0.001  # small: learning the noise would end in denormal numbers
MOMENTUM = 0.9
CLIP_NORM, NOISE_MULTIPLIER, DELTA = 1.0, 1.0, 1e-5  # of private steps


@dataclass(frozen=True)
class Workload:
    """A network (`layers` as in a job's spec), its minibatch size N, and one input's shape."""

    name: str
    title: str
    layers: tuple[dict[str, Any], ...]
    batch_size: int
    input_shape: tuple[int, ...]


def mlp(name: str, widths: tuple[int, ...], batch_size: int) -> Workload:
    """Linear layers of these widths (inputs first) with ReLU between them."""
    layers: list[dict[str, Any]] = []
    for width in widths[1:]:
        layers += [{"kind": "linear", "out_features": width}, {"kind": "relu"}]
    title = f"{'-'.join(map(str, widths))}, N = {batch_size}"
    return Workload(name, title, tuple(layers[:-1]), batch_size, widths[:1])


def _convolutions(channels: tuple[int, ...]) -> tuple[dict[str, Any], ...]:
    layers: list[dict[str, Any]] = []
    for count in channels:
        layers += [
            {"kind": "conv2d", "out_channels": count, "kernel_size": 3, "padding": 1},
            {"kind": "relu"},
            {"kind": "max_pool2d", "kernel_size": 2},
        ]
    return (*layers, {"kind": "flatten"}, {"kind": "linear", "out_features": CLASSES})


WORKLOADS = {
    workload.name: workload
    for workload in (
        mlp("tiny", (64, 32, CLASSES), 64),
        mlp("medium", (784, 128, CLASSES), 512),
        mlp("wide", (784, 512, 512, CLASSES), 1024),
        Workload(
            "convnet",
            "28×28, two convolutions (16 and 32 channels), N = 256",
            _convolutions((16, 32)),
            256,
            (1, 28, 28),
        ),
    )
}


def data(
    workload: Workload, examples: int = EXAMPLES
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Inputs (examples, …) float32 and classes (examples,), the same in every process."""
    random = np.random.default_rng(0)
    inputs = random.standard_normal((examples, *workload.input_shape), dtype=np.float32)
    return inputs, random.integers(0, CLASSES, examples)


class Sized(Protocol):
    """What has a minibatch size N."""

    @property
    def batch_size(self) -> int: ...


class Minibatches:
    """Example ids of successive minibatches; a new permutation each epoch."""

    def __init__(self, workload: Sized, examples: int = EXAMPLES) -> None:
        self._size, self._examples = workload.batch_size, examples
        self._random = np.random.default_rng(1)
        self._order = self._random.permutation(examples)
        self._at = 0

    def next(self) -> npt.NDArray[np.int64]:
        """The ids (N,) of the next minibatch."""
        if self._at + self._size > self._examples:
            self._order, self._at = self._random.permutation(self._examples), 0
        ids = self._order[self._at : self._at + self._size]
        self._at += self._size
        return ids
