"""A copy of a task's module for one thread, and the tensors that go in and come out."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from batchgrad.torch.copies import lost
from batchgrad.torch.tasks import Task
from batchgrad_workers.arrays import Keys
from batchgrad_workers.torch.dropout.drawing import drawing
from batchgrad_workers.torch.refusal import Refused


@dataclass(frozen=True)
class Batch:
    """Arrays (n, …) of n examples by name, and their weights (n,).

    Dropout draws by `keys` (n,); None: it drops nothing.
    """

    arrays: dict[str, Tensor]
    weights: Tensor
    keys: Keys | None = None

    def __len__(self) -> int:
        """Number of examples."""
        return len(self.weights)

    def row(self, n: int) -> "Batch":
        """Example n alone, in memory of its own: bits may follow from where in memory it lies."""
        rows = slice(n, n + 1)
        return Batch(
            {name: array[rows].clone() for name, array in self.arrays.items()},
            self.weights[rows],
            None if self.keys is None else self.keys[rows],
        )


@dataclass
class Sums:
    """Sums of a microbatch, and figures of its examples.

    `gradients` holds Σ w_n g_n by parameter, in its shape. `losses` (n,) and `norms` (n,), ‖g_n‖ in
    float64, include neither weights nor clipping; a norm is infinite only if a number of the
    gradient is not finite. `means` is flat: Σ w_n a_n and Σ w_n δ_n of the calls of a `Trace`; None
    if they are not wanted.
    """

    gradients: dict[str, Tensor]
    losses: Tensor
    norms: Tensor
    means: Tensor | None = None


class Replica:
    """A task with a module of its own, whose parameters see loaded tensors."""

    def __init__(
        self,
        task: Task,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
        autocast: torch.dtype | None = None,
    ) -> None:
        """Copy the task's module to a device, with floating point numbers in `dtype`.

        With `autocast`, a forward pass computes in that type what torch.autocast does.

        Raises:
            Refused: The module can't be copied, or its copies would train otherwise.
        """
        self.task = task
        self.module: nn.Module = _copied(task.module).to(device, dtype)
        self.dtype, self.device, self.autocast = dtype, device, autocast
        self.axes: Sequence[int] | None = None  # of the examples in each dropout call
        self.trainable: dict[str, nn.Parameter] = {
            name: parameter
            for name, parameter in self.module.named_parameters()
            if parameter.requires_grad
        }

    def copy(self) -> "Replica":
        """Another replica with a copy of this module and its present values."""
        return self._copied(self.dtype, self.autocast)

    def exact(self, dtype: torch.dtype | None = None) -> "Replica":
        """A copy that computes without autocast, in its own or another type."""
        return self._copied(dtype or self.dtype, None)

    def _copied(self, dtype: torch.dtype, autocast: torch.dtype | None) -> "Replica":
        copied = Replica(replace(self.task, module=self.module), dtype, self.device, autocast)
        copied.axes = self.axes
        return copied

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Inside, the module is in evaluation mode; after it, each part is in its own mode."""
        modes = [(each, each.training) for each in self.module.modules()]
        self.module.eval()
        try:
            yield
        finally:
            for each, training in modes:
                each.training = training

    @contextmanager
    def without_autocast(self) -> Iterator[None]:
        """Inside, a forward pass computes in the parameters' type."""
        autocast, self.autocast = self.autocast, None
        try:
            yield
        finally:
            self.autocast = autocast

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Make the trainable parameters see `tensors`, which several replicas may share."""
        for name, parameter in self.trainable.items():
            parameter.data = tensors[name]

    def outputs(self, batch: Batch) -> Tensor:
        """The module's outputs (n, …)."""
        with drawing(batch.keys, self.axes), self._casting():
            return self.task.outputs(self.module, batch.arrays)

    def losses(self, batch: Batch) -> Tensor:
        """ℓ_n (n,), with the graph of their computation."""
        return self.outputs_and_losses(batch)[1]

    def outputs_and_losses(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The module's outputs (n, …), and ℓ_n (n,)."""
        with drawing(batch.keys, self.axes), self._casting():
            outputs = self.task.outputs(self.module, batch.arrays)
            return outputs, self.task.losses(outputs, batch.arrays)

    def _casting(self) -> torch.autocast:
        device = torch.device(self.device).type
        return torch.autocast(device, self.autocast, enabled=self.autocast is not None)


def _copied(module: nn.Module) -> nn.Module:
    lazy = [name for name, each in module.named_parameters() if nn.parameter.is_lazy(each)]
    if lazy:
        raise Refused(
            f"Parameter {lazy[0]} has no shape yet: call the module once, on an example's inputs."
        )
    if words := lost(module):
        raise Refused(words)
    try:
        return deepcopy(module)
    except (RuntimeError, TypeError) as error:
        raise Refused(
            f"The module can't be copied, which each thread needs: {type(error).__name__}: "
            f"{error!s:.300} Attributes must be plain values, or tensors without a graph "
            "(torch.nn.utils.parametrizations.weight_norm in place of torch.nn.utils.weight_norm)."
        ) from error
