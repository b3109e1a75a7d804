"""One step of a loop that is observed: the figures that it gives."""

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

import torch
from torch import Tensor

from batchgrad.errors import InvalidArgument
from batchgrad.torch.observing.gap import Gap

if TYPE_CHECKING:
    from types import TracebackType

Reduction = Literal["mean", "sum"]


class Watcher(Protocol):
    """What measures steps."""

    def begin(self, step: "Step") -> None:
        """A step begins."""

    def end(self, step: "Step", *, failed: bool) -> None:
        """It ends; `failed`: by an error."""


class Step:
    """A context around forward pass, backward pass and update; figures are there at its end.

    All gradient norms are of what the losses alone give, before clipping. They are None where
    `missing` says why.
    """

    def __init__(
        self,
        watcher: Watcher,
        number: int,
        ids: Sequence[Hashable] | None,
        weights: Tensor | None,
    ) -> None:
        """See `Observer.step`."""
        self.number = number
        """Of the step, from 1."""
        self.ids = ids
        self.weights = weights
        self.norms: Tensor | None = None
        """‖g_n‖ (n,), float64 on the CPU, of the examples' own losses; NaN at weight 0."""
        self.gradient_norm: float | None = None
        """‖G‖ of the mean gradient, of the parameters whose norms are counted."""
        self.noise_trace: float | None = None
        """tr Σ, unbiased, of this step (McCandlish et al. 2018)."""
        self.noise_signal: float | None = None
        """‖∇J‖², unbiased, of this step; it can be negative."""
        self.noise_scale: float | None = None
        """Simple noise scale, smoothed over steps: smaller batches are mostly noise."""
        self.norm_test_ratio: float | None = None
        """√(tr Σ / n) / ‖G‖ (Byrd et al. 2012)."""
        self.norm_test_batch_size: float | None = None
        """The n at which that ratio is ½."""
        self.quantiles: dict[str, float] = {}
        """Of the norms: min, p10, p50, p90, p99, max."""
        self.histogram: list[int] = []
        """Of the norms: a count for each bucket of batchgrad.contract.EXAMPLE_NORM_BOUNDS."""
        self.missing: str | None = None
        """Why there are no figures."""
        self.gap: Gap | None = None
        """Between the shortcut averaged_error and G, whole and by module."""
        self.gap_missing: str | None = None
        """Why there is no gap."""
        self._losses: Tensor | None = None
        self._watcher = watcher

    @property
    def losses(self) -> Tensor | None:
        """ℓ_n (n,), as the loop has given them."""
        return self._losses

    @losses.setter
    def losses(self, losses: Tensor) -> None:
        """Keep the losses (n,) of the examples, without their graph."""
        if not isinstance(losses, Tensor) or losses.dim() != 1:
            shape = list(losses.shape) if isinstance(losses, Tensor) else type(losses).__name__
            raise InvalidArgument(
                f"losses are {shape}; expected a tensor (n,): a loss with reduction='none'."
            )
        self._losses = losses.detach().double().cpu()

    def __enter__(self) -> Self:
        """Begin to observe."""
        self._watcher.begin(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: "TracebackType | None",
    ) -> None:
        """Compute the figures, unless an error ended the step."""
        self._watcher.end(self, failed=error is not None)

    def row(self) -> dict[str, Any]:
        """Its figures with flat names, without those of single examples."""
        names = ("gradient_norm", "noise_trace", "noise_signal", "noise_scale")
        tests = ("norm_test_ratio", "norm_test_batch_size")
        loss = None if self._losses is None else float(self._losses.mean())
        return {
            "step": self.number,
            "examples": None if self.norms is None else len(self.norms),
            "loss": loss,
            **{name: getattr(self, name) for name in (*names, *tests)},
            **{f"example_norm_{name}": value for name, value in self.quantiles.items()},
            **({} if self.gap is None else self.gap.row()),
        }


def own_norms(
    squares: list[Tensor], weights: Tensor | None, reduction: Reduction, scale: float
) -> Tensor:
    """‖g_n‖ (Σn,) from ‖contribution to the step's gradient‖² (n,) of each backward pass.

    The gradient is the mean over the passes of the means of losses, or the sum of all losses; with
    weights it is Σ w ℓ / Σ w, or Σ w ℓ. `scale` is that of a GradScaler.
    """
    found, start = [], 0
    for each in squares:
        n = len(each)
        own = each.cpu().sqrt() / scale
        share = torch.ones(n, dtype=torch.float64)
        if weights is not None:
            share = weights[start : start + n]
        if reduction == "mean":
            own = own * (share.sum() * len(squares))
        found.append(torch.where(share > 0, own / share, torch.nan))
        start += n
    return torch.cat(found)
