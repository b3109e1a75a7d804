"""What a worker of a private job needs to know besides its config."""

from dataclasses import dataclass, field

from batchgrad.contract import Clipping


@dataclass(frozen=True)
class PrivateWork:
    """Sampling and clipping of a private job; `by_unit`: the dataset's array units says whose rows.

    `loss_bound` is L, None if no loss is reported. The key of the noise never leaves the engine.
    """

    sampling_key: bytes = field(repr=False)
    clipping: Clipping
    loss_bound: float | None
    by_unit: bool
