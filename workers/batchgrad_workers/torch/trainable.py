"""A PyTorch task, as a job trains it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from batchgrad.contract import Precision, ShortcutName
from batchgrad.torch.tasks import Task
from batchgrad_workers.arrays import Array, Floats
from batchgrad_workers.module_config import BadModule
from batchgrad_workers.parameters import ParameterLayout, ParameterSlice
from batchgrad_workers.reduction.clipping import ClippingRule, PrivateRows
from batchgrad_workers.reduction.sums import GradientSums, complete
from batchgrad_workers.torch import ways
from batchgrad_workers.torch.clipping import Clipper
from batchgrad_workers.torch.examples import ModuleRows, as_batch
from batchgrad_workers.torch.preflight import guard
from batchgrad_workers.torch.preflight.report import Preflight
from batchgrad_workers.torch.refusal import Refused
from batchgrad_workers.torch.replica import Batch, Replica
from batchgrad_workers.torch.shortcuts.gradients import of_mean_example, of_means
from batchgrad_workers.torch.shortcuts.means import MeansLayout
from batchgrad_workers.trainable import EvaluationSums, Run
from batchgrad_workers.user_code.errors import UserCodeError, place_of, private_errors, user_errors

VALUES = 4
"""Place in the sums of an evaluation where squared errors begin."""

MOST_OUTPUTS = 4096
"""Of which R² and RMSE are computed."""

DTYPES: dict[Precision, torch.dtype] = {"float32": torch.float32, "float64": torch.float64}


class TrainableModule:
    """Answers `Trainable`. Threads take replicas in turn; all see the tensors of one θ."""

    def __init__(
        self,
        task: Task,
        precision: Precision,
        *,
        package: str,
        preflight: Preflight,
        state: Mapping[str, Array],
        device: str,
        autocast: str | None,
        with_means: bool,
        with_microbatch_means: bool,
        private: bool = False,
    ) -> None:
        """`state` has values of parameters that are not trained, and of buffers, by name.

        `package` is the top package of the task's code. With `private` errors tell nothing of rows.
        """
        self._package, self._private = package, private
        self._preflight = preflight
        self._with_means = with_means
        self.task = task
        cast = getattr(torch, autocast) if autocast else None
        self._first = Replica(task, DTYPES[precision], device, cast)
        self._first.axes = preflight.axes
        _load_state(self._first, state)
        self.layout = layout_of(self._first)
        self.has_accuracy = task.correct is not None
        self.draws = bool(preflight.random)
        self._with_microbatch_means = with_microbatch_means
        self._parameters = {  # no views of one vector: bits may depend on where in memory they lie
            name: torch.empty(tuple(parameter.shape), dtype=self._first.dtype, device=device)
            for name, parameter in self._first.trainable.items()
        }
        self._idle: SimpleQueue[Replica] = SimpleQueue()
        self.means_size = ways.means_size(preflight)

    def initial_parameters(self, seed: int, precision: Precision) -> Array:
        """θ (P,) as the task's module has it; its function was called with the seed."""
        del seed
        flat = [each.detach().cpu().numpy().ravel() for each in self._first.trainable.values()]
        return np.concatenate(flat).astype(precision)

    def load(self, parameters: Array) -> None:
        """Copy θ (P,) into the tensors of all replicas."""
        for name, view in self.layout.named(parameters).items():
            self._parameters[name].copy_(torch.from_numpy(view.copy()))

    def padding(self, examples: int) -> int:
        del examples
        return 0

    def takes_pairs(self, examples: int, precision: Precision) -> bool:
        del examples, precision
        return False

    def gradient_sums(
        self, loaded: Any, batch: ModuleRows, microbatches: int = 1
    ) -> tuple[GradientSums, Array, Floats]:
        if microbatches != 1:
            raise ValueError(f"a module takes one microbatch at a time, not {microbatches}")
        del loaded
        with self._replica() as replica:
            own = self._batch(batch)
            found = ways.sums(replica, own, self._preflight, means=self._with_means)
        losses, norms = found.losses.cpu().numpy(), found.norms.cpu().numpy()
        weights = batch.weights.astype(np.float64)
        totals = np.array([np.dot(weights, losses.astype(np.float64)), weights.sum(), 0.0])
        none = np.empty(0, batch.weights.dtype)
        means = none if found.means is None else found.means.cpu().numpy()
        sums = GradientSums(self._flat(found.gradients), totals, none, means)
        complete(sums, batch.factor, with_microbatch_means=self._with_microbatch_means)
        return sums, losses, norms

    def clipped_sums(
        self, loaded: Any, batch: ModuleRows, rows: PrivateRows, rule: ClippingRule
    ) -> GradientSums:
        """See `Trainable.clipped_sums`.

        There is no `check` in private steps: what it found would tell of these rows. What decides
        by data is computed one example at a time, where none can touch another's gradient; that a
        module keeps its examples apart otherwise rests on the preflight. What the task's own code
        prints goes to the engine's log, and nothing here hides it.
        """
        del loaded
        clipper = Clipper(self._preflight.trace, self.layout, rule)
        with self._replica() as replica:
            found = clipper.sums(replica, self._batch(batch), rows)
        none = np.empty(0, batch.weights.dtype)
        return GradientSums(found.gradient.cpu().numpy(), found.totals, none, none)

    def check(self, loaded: Any, batch: ModuleRows, number: int) -> None:
        """Repeat checks of the preflight on these rows: they do not mix, and the formulas hold.

        Raises:
            BadModule: one of them is not so.
        """
        del loaded
        with self._replica() as replica:
            own = self._batch(batch)
            found = ways.sums(replica, own, self._preflight)
            try:
                guard.check(replica, own, found, number, rounds=self._preflight.rounds)
            except Refused as error:
                raise BadModule(str(error)) from error

    def without(self, batch: ModuleRows, finite: npt.NDArray[np.bool_]) -> ModuleRows:
        """A copy in which a finite example, with weight 0, takes the place of each other one."""
        place = np.where(finite, np.arange(len(finite)), finite.argmax())
        arrays = {name: array.take(place, 0) for name, array in batch.arrays.items()}
        if not finite.any():
            arrays = {name: np.zeros_like(array) for name, array in arrays.items()}
        weights = np.where(finite, batch.weights, batch.weights.dtype.type(0))
        return batch._replace(arrays=arrays, weights=weights)

    def evaluation_sums(self, loaded: Any, batch: ModuleRows) -> EvaluationSums:
        del loaded
        with self._replica() as replica, replica.evaluating(), torch.no_grad():
            own = self._batch(batch._replace(keys=None))
            outputs = replica.outputs(own)
            losses = self.task.losses(outputs, own.arrays)
            right = 0.0
            if self.task.correct is not None:
                shares = self.task.correct(outputs, own.arrays).double().nan_to_num(0.0)
                right = float(shares.clamp(0, 1).sum())  # noise on it hides at most 1 of a row
        weights = batch.weights.astype(np.float64)
        weighted = float(np.dot(losses.double().cpu().numpy(), weights)) * batch.factor
        sums = np.array([weighted, weights.sum() * batch.factor, right, len(weights)])
        squares = self._squares(outputs, own)
        return sums if squares is None else np.concatenate([sums, weights @ squares * batch.factor])

    def has_values(self, batch: ModuleRows) -> bool:
        return len(self.evaluation_sums(None, batch)) > VALUES

    def _squares(self, outputs: Tensor, batch: Batch) -> Floats | None:
        """(f - y)² of each output (n, outputs), if the task compares outputs with numbers."""
        if self.task.targets is None or self.has_accuracy:
            return None
        targets = self.task.targets(batch.arrays)
        if not targets.is_floating_point() or targets.numel() != outputs.numel():
            return None
        apart = outputs.double().reshape(len(outputs), -1) - targets.reshape(len(outputs), -1)
        return apart.square().cpu().numpy() if apart.shape[1] <= MOST_OUTPUTS else None

    def each(self, loaded: Any, batch: ModuleRows) -> dict[str, Array]:
        del loaded
        with self._replica() as replica:
            found = ways.each(replica, self._batch(batch), self._preflight)
        return {name: rows.cpu().numpy() for name, rows in found.items()}

    def shortcut_gradients(
        self,
        parameters: Array,
        row: ModuleRows,
        means: Array,
        weight: float,
        names: Sequence[ShortcutName],
        run: Run,
    ) -> dict[ShortcutName, tuple[Array, Array]]:
        trace = self._preflight.trace
        if trace is None:
            raise BadModule("Computed one by one, a module has no shortcuts of means.")
        self.load(parameters)
        averages = MeansLayout(trace).means(torch.tensor(means, device=self._first.device), weight)
        frozen: list[Array] = []
        found: dict[ShortcutName, Array] = {}

        def form(number: int) -> None:
            with self._replica() as replica, replica.without_autocast():
                if number:
                    own = of_mean_example(replica, trace, averages, self._batch(row))
                    found["mean_example"] = self._flat(own)
                    return
                means, error = of_means(
                    replica,
                    trace,
                    averages,
                    self._batch(row),
                    with_averaged_error="averaged_error" in names,
                )
                frozen.append(self._flat(means))
                if error is not None:
                    found["averaged_error"] = self._flat(error)

        run(range(1 + ("mean_example" in names)), form)
        return {name: (frozen[0], found[name]) for name in names}

    @contextmanager
    def _replica(self) -> Iterator[Replica]:
        """A replica that no other thread uses; inside, an error of the task is a BadModule."""
        try:
            replica = self._idle.get_nowait()
        except Empty:
            replica = self._new_replica()
        try:
            with (private_errors if self._private else user_errors)(self._package):
                yield replica
        except UserCodeError as error:
            if self._private:
                raise BadModule(str(error)) from None
            cause = error.__cause__
            if cause is not None and not place_of(cause, self._package):
                raise cause from None  # no line of the task's code: a defect of ours
            raise BadModule(str(error)) from error
        finally:
            self._idle.put(replica)

    def _new_replica(self) -> Replica:
        replica = self._first.copy()
        replica.load(self._parameters)
        return replica

    def _flat(self, gradients: Mapping[str, Tensor]) -> Array:
        return (
            torch.cat([gradients[each.name].flatten() for each in self.layout.slices]).cpu().numpy()
        )

    def _batch(self, rows: ModuleRows) -> Batch:
        return as_batch(rows, self._first.device)


def layout_of(replica: Replica) -> ParameterLayout:
    """θ in the order of the module's parameters; layers are the modules that hold them."""
    names: dict[str, int] = {}
    slices: list[ParameterSlice] = []
    start = 0
    for name, parameter in replica.trainable.items():
        layer, _, local = name.rpartition(".")
        number = names.setdefault(layer, len(names))
        slices.append(ParameterSlice(name, number, local, tuple(parameter.shape), start))
        start += parameter.numel()
    return ParameterLayout([name or "(root)" for name in names], slices)


def _load_state(replica: Replica, state: Mapping[str, Array]) -> None:
    known = replica.module.state_dict()
    with torch.no_grad():
        for name, array in state.items():
            known[name].copy_(torch.from_numpy(np.array(array)))  # also of shape ()
