"""A stored dataset and a worker's config on it, for tests of shards."""

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from batchgrad.contract import Model, Validation
from batchgrad_workers.arrays import Array
from batchgrad_workers.data.source import DatasetSource
from batchgrad_workers.reduction.rounding import REDUCTIONS
from batchgrad_workers.reduction.sums import GradientSums
from batchgrad_workers.reduction.tree import ReductionTree
from batchgrad_workers.runtime.config import WorkerConfig
from batchgrad_workers.runtime.shard import RangeSums, ShardRunner, microbatches

EXAMPLES, BATCH, MICROBATCH = 61, 45, 4
FRACTION = 0.2
"""Of the examples, held out."""

M = microbatches(BATCH, MICROBATCH)
MODEL = Model.model_validate(
    {
        "layers": [
            {"kind": "linear", "out_features": 7},
            {"kind": "tanh"},
            {"kind": "linear", "out_features": 3},
        ]
    }
)


def store(directory: Path, **arrays: Any) -> Path:
    """61 examples of 5 numbers in 3 classes; `arrays` replace or add to them."""
    random = np.random.default_rng(11)
    rows = {
        "inputs": random.normal(2, 3, size=(EXAMPLES, 5)),
        "targets": random.integers(0, 3, EXAMPLES),
        **arrays,
    }
    for name, array in rows.items():
        np.save(directory / f"{name}.npy", array)
    return directory


def worker_config(directory: Path, **changes: Any) -> WorkerConfig:
    """A job of 45 examples a step in microbatches of 4, so the last one holds a single one."""
    fields: dict[str, Any] = {
        "model": MODEL,
        "loss": "softmax_cross_entropy",
        "precision": "float64",
        "dataset": DatasetSource(directory),
        "seed": 7,
        "validation": Validation(fraction=FRACTION),
        "validation_dataset": None,
        "batch_size": BATCH,
        "microbatch_size": MICROBATCH,
        "class_weights": None,
        "transform": None,
        "shortcuts": ("averaged_error", "mean_example", "mean_of_means"),
        "drop_nonfinite": False,
        **changes,
    }
    return WorkerConfig(**fields)


def theta(of: WorkerConfig) -> Array:
    """Initial parameters (P,) for `of`."""
    with closing(ShardRunner(of, 1)) as shard:
        return shard.model.initial_parameters(1, of.precision)


def whole(
    of: WorkerConfig,
    parts: Sequence[tuple[int, int]] | None = None,
    threads: int = 1,
    step: int = 0,
) -> tuple[GradientSums, list[RangeSums[GradientSums]]]:
    """The root of one step, computed in `parts` (or at once), each by a shard of its own."""
    total = microbatches(BATCH, of.microbatch_size)
    found = []
    for start, stop in parts or [(0, total)]:
        with closing(ShardRunner(of, threads)) as shard:
            found.append(shard.gradient_sums(step, theta(of), start, stop))
    return joined(found, total, REDUCTIONS[of.sums].join), found


def joined(
    parts: Sequence[RangeSums[GradientSums]],
    leaves: int = M,
    join: Callable[[GradientSums, GradientSums], GradientSums] = GradientSums.join,
) -> GradientSums:
    """The root of the canonical tree over these parts of a step."""
    tree: ReductionTree[GradientSums] = ReductionTree(leaves, join)
    for part in parts:
        for node in part.nodes:
            tree.add(node.level, node.index, node.sum)
    return tree.root()


def bits(sums: GradientSums) -> list[bytes]:
    """The exact contents."""
    parts: list[Any] = [sums.gradient, sums.totals, sums.microbatch_means, sums.means]
    return [part.tobytes() for part in parts]
