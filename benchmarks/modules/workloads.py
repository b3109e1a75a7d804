"""Four modules to train, the same at sizes for tests, and random data for each. No torch here."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

EXAMPLES = 1024  # every minibatch size divides it
VOCABULARY = 256
CLASSES = 10
LEARNING_RATE = 1e-5  # small: learning the noise would end in denormal numbers


@dataclass(frozen=True)
class ModuleWorkload:
    """A module by its kind and sizes, and its minibatch size n.

    `sizes` are a gpt's blocks, width and positions; an mlp's widths, inputs first; of conv, the
    side of an image and the channels of each convolution, inputs first.
    """

    name: str
    title: str
    kind: str
    sizes: tuple[int, ...]
    batch_size: int


WORKLOADS = {
    each.name: each
    for each in (
        ModuleWorkload("gpt-128", "GPT 4×128, T 64, n 32", "gpt", (4, 128, 64), 32),
        ModuleWorkload("gpt-256", "GPT 4×256, T 128, n 8", "gpt", (4, 256, 128), 8),
        ModuleWorkload("mlp", "MLP 784-512-512-10, n 128", "mlp", (784, 512, 512, CLASSES), 128),
        ModuleWorkload(
            "conv",
            "4 convolutions with GroupNorm, 32×32, n 32",
            "conv",
            (32, 3, 32, 32, 64, 64),
            32,
        ),
    )
}
TINY = {
    each.name: each
    for each in (
        ModuleWorkload("tiny-gpt", "GPT 1×32, T 8, n 4", "gpt", (1, 32, 8), 4),
        ModuleWorkload("tiny-mlp", "MLP 6-5-10, n 8", "mlp", (6, 5, CLASSES), 8),
        ModuleWorkload("tiny-conv", "2 convolutions, 8×8, n 4", "conv", (8, 3, 8, 8), 4),
    )
}
ALL = WORKLOADS | TINY


def data(workload: ModuleWorkload, examples: int = EXAMPLES) -> dict[str, npt.NDArray[Any]]:
    """Inputs, then targets, by the names of a dataset's arrays; the same in every process.

    Of a gpt tokens (examples, T) and the next ones; otherwise inputs (examples, …) float32 and
    classes (examples,).
    """
    random = np.random.default_rng(0)
    if workload.kind == "gpt":
        ids = random.integers(0, VOCABULARY, (examples, workload.sizes[2] + 1))
        return {"input_ids": ids[:, :-1].copy(), "labels": ids[:, 1:].copy()}
    shape = workload.sizes[:1]
    if workload.kind == "conv":
        side, channels = workload.sizes[:2]
        shape = (channels, side, side)
    inputs = random.standard_normal((examples, *shape), dtype=np.float32)
    return {"inputs": inputs, "targets": random.integers(0, CLASSES, examples)}
