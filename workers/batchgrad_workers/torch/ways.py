"""The ways to compute a microbatch's sums: together, or one by one; chosen when a job starts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from batchgrad_workers.torch import one_by_one, together
from batchgrad_workers.torch.replica import Batch, Replica, Sums
from batchgrad_workers.torch.tapping.calls import OtherCalls, Trace


@dataclass(frozen=True)
class Way:
    """How sums are computed; `trace` is None for one by one."""

    trace: Trace | None

    @classmethod
    def recorded(cls, preflight: Mapping[str, Any]) -> "Way":
        """The way that the engine found, from plain values."""
        is_together = preflight["path"] == "together"
        return cls(Trace.from_json(preflight["trace"]) if is_together else None)

    @property
    def means_size(self) -> int:
        """Length of the sums of mean inputs and errors."""
        return self.trace.means_size if self.trace else 0

    def sums(self, replica: Replica, batch: Batch, *, means: bool) -> Sums:
        """Sums of a microbatch; one that makes other calls than the trace goes one by one.

        Such a microbatch has no means: they are NaN.
        """
        if self.trace is not None:
            try:
                return together.sums(replica, batch, self.trace, means=means)
            except OtherCalls:
                found = one_by_one.sums(replica, batch)
                if means:
                    found.means = torch.full((self.means_size,), torch.nan, dtype=replica.dtype)
                return found
        return one_by_one.sums(replica, batch)

    def each(self, replica: Replica, batch: Batch) -> dict[str, Tensor]:
        """g_n of every example, in the way that the sums take."""
        if self.trace is not None:
            try:
                return together.each(replica, batch, self.trace)
            except OtherCalls:
                return one_by_one.each(replica, batch)
        return one_by_one.each(replica, batch)
