"""Examples in batches, as they are stored: before the network's transform of inputs."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from batchgrad_service.predicting.trained_network import TrainedNetwork
from batchgrad_workers.arrays import Integers
from batchgrad_workers.data.dataset import AnyArray


@dataclass(frozen=True)
class Batch:
    """Stored inputs (n, …), targets (n,) or (n, out), weights (n,), ids (n,) UTF-8."""

    inputs: AnyArray
    targets: AnyArray | None = None
    weights: AnyArray | None = None
    ids: AnyArray | None = None


@dataclass(frozen=True)
class OpenedExamples:
    """Batches of examples for `network`; `rows` is None until their number is known.

    `id_name` names the column of the ids. `numbers` are those of stored rows in their dataset,
    of a sample less than `rows`.
    After the last batch, `warnings` are complete.
    """

    network: TrainedNetwork
    batches: Iterator[Batch]
    rows: int | None = None
    id_name: str = "id"
    warnings: list[str] = field(default_factory=list)
    numbers: Integers | range = range(0)
