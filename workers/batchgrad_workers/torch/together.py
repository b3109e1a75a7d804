"""Per-example gradients of a whole microbatch in one forward and one backward pass.

Calls run with their parameters cut, and their inputs a and errors δ are tapped. From these come
the sum of gradients, clipped ones too, and each gradient's norm, without N x P numbers.
"""

from dataclasses import replace

import torch
from torch import Tensor

from batchgrad_workers.torch import fallbacks, one_by_one
from batchgrad_workers.torch.formulas.base import LEAST, Formed, Gradients, Layout, weighted_sum
from batchgrad_workers.torch.formulas.joined import joined
from batchgrad_workers.torch.formulas.outer import CANCELLING
from batchgrad_workers.torch.refusal import OtherCalls
from batchgrad_workers.torch.replica import Batch, Replica, Sums
from batchgrad_workers.torch.shortcuts import available
from batchgrad_workers.torch.shortcuts.averaging import averaged
from batchgrad_workers.torch.shortcuts.means import OUTPUTS, TARGETS, MeansLayout, end_sums
from batchgrad_workers.torch.tapping.backward import backward
from batchgrad_workers.torch.tapping.calls import Call, Trace
from batchgrad_workers.torch.tapping.mode import Tapping
from batchgrad_workers.torch.tapping.tracing import calls_of, perturbed
from batchgrad_workers.torch.tapping.values import Value, pulled

CHECKED = 4
"""Examples whose gradients are checked against the definition when a trace is made."""


def trace(replica: Replica, batch: Batch) -> Trace:
    """How the gradients of such batches are computed, from two real examples or more.

    Raises:
        OtherCalls: Another number of examples makes other calls.
    """
    with perturbed(replica):
        calls, uncovered = calls_of(replica, batch)
        found = Trace(calls, uncovered, fallbacks.LOOP)
        wrong = _wrong(*_precise(replica, _start(batch)), found)
        found = found.without(wrong) if wrong else found
        found = replace(found, fallback=fallbacks.choose(replica, batch, found.uncovered))
        try:
            return _with_ends(replica, _start(batch), found)
        except OtherCalls as error:  # sums need no single example that stands for means
            return replace(found, alone=str(error))


def _with_ends(replica: Replica, batch: Batch, trace: Trace) -> Trace:
    """The trace with what has means beside the calls, and the arrays that have none."""
    if trace.uncovered:
        return trace
    found = replace(trace, ends=available.ends(replica, batch, trace))
    alike = Batch(batch.arrays, torch.ones_like(batch.weights), batch.keys)
    flat = sums(replica, alike, found, means=True).means
    means = MeansLayout(found).means(flat, len(batch))
    averaged(replica, found, means, batch.row(0), only_lookups=False)
    if TARGETS not in dict(found.ends):
        return found
    return replace(found, rowwise=available.rowwise(replica, batch, found, means))


def _start(batch: Batch) -> Batch:
    """Its first CHECKED examples."""
    return Batch(
        {name: array[:CHECKED] for name, array in batch.arrays.items()},
        batch.weights[:CHECKED],
        None if batch.keys is None else batch.keys[:CHECKED],
    )


def _precise(replica: Replica, batch: Batch) -> tuple[Replica, Batch]:
    """Both in float64, where no unit at the edge of a ReLU is on either side by rounding.

    As they are, if the module makes float32 numbers itself and cannot compute in float64.
    """
    arrays = {name: x.double() if x.is_floating_point() else x for name, x in batch.arrays.items()}
    twin, rows = replica.exact(torch.float64), Batch(arrays, batch.weights.double(), batch.keys)
    try:
        twin.losses(rows)
    except RuntimeError:
        return replica, batch
    return twin, rows


def _wrong(replica: Replica, batch: Batch, trace: Trace) -> set[str]:
    """Parameters whose g_n are not those of the definition.

    As in a task whose loss holds slopes of the module: they reach parameters around their calls.
    """
    found, expected = each(replica, batch, trace), one_by_one.each(replica, batch)
    share = torch.finfo(replica.dtype).eps ** CANCELLING
    whole = one_by_one.norm(expected)
    wrong = set()
    for name, own in expected.items():
        length = torch.linalg.vector_norm(own, dtype=torch.float64)
        distance = torch.linalg.vector_norm(found[name] - own, dtype=torch.float64)
        if torch.isfinite(length) and not distance <= share * length + share**2 * whole:
            wrong.add(name)
    return wrong - set(trace.uncovered)


def sums(
    replica: Replica, batch: Batch, trace: Trace, *, clip: float | None = None, means: bool = False
) -> Sums:
    """Σ w_n g_n of a microbatch, each loss and each ‖g_n‖; with `clip` C, of clipped gradients.

    With `means`, also the sums that `MeansLayout` lays out: Σ w_n a_n and Σ w_n δ_n of each call of
    the trace that has formulas, and of its ends.

    Raises:
        OtherCalls: This microbatch makes other calls than the traced one.
    """
    found = _Pass(replica, batch, trace)
    weights = None if bool((batch.weights == 1).all()) else batch.weights
    with torch.no_grad():
        if clip is None:
            gradients, norms = found.sums_and_norms(weights)
        else:
            norms = found.norms()
            factors = batch.weights * torch.clamp(clip / norms, max=1.0).to(batch.weights.dtype)
            gradients = found.sums(factors)
        flat = found.means(weights) if means else None
    return Sums(gradients, found.losses, norms, flat)


def each(replica: Replica, batch: Batch, trace: Trace) -> dict[str, Tensor]:
    """g_n of every example by parameter, (n, *shape). N x P numbers: for few examples."""
    with torch.no_grad():
        return _Pass(replica, batch, trace).each(slice(0, len(batch)))


class _Pass:
    """The taps of a forward and a backward pass, and the gradients that they give."""

    def __init__(self, replica: Replica, batch: Batch, trace: Trace) -> None:
        self.replica, self.batch, self.n = replica, batch, len(batch)
        mode = Tapping(replica, trace.calls)
        with torch.enable_grad():
            with mode:
                outputs, losses = replica.outputs_and_losses(batch)
            if mode.place != len(trace.calls):
                missing = trace.calls[mode.place]
                raise OtherCalls(f"{missing.function} of {missing.name} was not called.")
            self.taps = mode.taps
            self.ends, self.outputs = dict(trace.ends), outputs.detach()
            ends = [outputs] if OUTPUTS in self.ends and outputs.requires_grad else []
            self.errors, errors = backward(losses, self.taps, replica, trace.uncovered, ends)
            self.error = errors[0] if errors else None
            if replica.autocast is not None:
                self._widen()
            rest = {}
            if trace.uncovered:
                rest = fallbacks.each(replica, batch, trace.uncovered, trace.fallback)
        self.losses = losses.detach()
        self.uses: dict[str, list[Gradients]] = {name: [] for name in replica.trainable}
        for name, rows in rest.items():
            self.uses[name].append(Formed(rows))
        self._collect()
        self.whole = {name: joined(uses) for name, uses in self.uses.items() if uses}

    def _widen(self) -> None:
        """Inputs and errors in the parameters' type: sums of an autocast pass keep its digits."""
        dtype = self.replica.dtype
        for tap in self.taps:
            tap.check()
            tap.arguments, tap.held = tap.arguments.widened(dtype), []
        self.errors = [None if each is None else each.to(dtype) for each in self.errors]
        self.error = None if self.error is None else self.error.to(dtype)
        self.outputs = self.outputs.to(dtype)

    def _collect(self) -> None:
        """The uses of each parameter; those of a tensor made of parameters are joined first."""
        made: dict[int, tuple[Value, tuple[str, ...], list[Gradients]]] = {}
        for tap, error in zip(self.taps, self.errors, strict=True):
            if error is None:
                continue
            tap.check()
            layout = Layout(tap.call.axis, tap.call.strided)
            for role, names in tap.call.parameters.items():
                value = tap.values[role]
                own = tap.kind.gradients(tap.arguments, role, error, layout, self.n)
                if value.made:
                    made.setdefault(id(value), (value, names, []))[2].append(own)
                else:
                    self.uses[names[0]].append(own)
        for value, names, uses in made.values():
            inner = joined(uses)
            for name in names:
                parameter = self.replica.trainable[name]
                self.uses[name].append(pulled(inner, value.tensor, parameter))

    def sums_and_norms(self, weights: Tensor | None) -> tuple[dict[str, Tensor], Tensor]:
        gradients, squares = {}, self.losses.new_zeros(self.n, dtype=torch.float64)
        for name, parameter in self.replica.trainable.items():
            own = self.whole.get(name)
            if own is None:
                gradients[name] = torch.zeros_like(parameter)
                continue
            gradients[name], square = own.sums_and_squared_norms(weights)
            squares += square
        return gradients, self._root(squares)

    def sums(self, weights: Tensor | None) -> dict[str, Tensor]:
        return {
            name: self.whole[name].sums(weights)
            if name in self.whole
            else torch.zeros_like(parameter)
            for name, parameter in self.replica.trainable.items()
        }

    def norms(self) -> Tensor:
        squares = self.losses.new_zeros(self.n, dtype=torch.float64)
        for own in self.whole.values():
            squares += own.squared_norms()
        return self._root(squares)

    def _root(self, squares: Tensor) -> Tensor:
        """‖g_n‖; where the squares left the range, from g_n."""
        norms = squares.sqrt()
        least = LEAST * torch.finfo(self.replica.dtype).tiny
        usable = (squares > least) & torch.isfinite(squares)
        if not bool(usable.all()):
            for n in (~usable).nonzero().flatten().tolist():
                norms[n] = one_by_one.norm(self.each(slice(n, n + 1)))
        return norms

    def each(self, rows: slice) -> dict[str, Tensor]:
        count = rows.stop - rows.start
        return {
            name: self.whole[name].each(rows)
            if name in self.whole
            else parameter.new_zeros(count, *parameter.shape)
            for name, parameter in self.replica.trainable.items()
        }

    def means(self, weights: Tensor | None) -> Tensor:
        parts = []
        for tap, error in zip(self.taps, self.errors, strict=True):
            call = tap.call
            layout = Layout(call.axis, call.strided)
            if call.input_shape is not None:
                mean = tap.kind.mean_inputs(tap.arguments, layout, self.n, weights)
                parts.append(_present(mean, call).reshape(-1))
            own = self.losses.new_zeros(tap.shape) if error is None else error
            parts.append(weighted_sum(layout.first(own, self.n), weights).reshape(-1))
        if self.ends:
            error = torch.zeros_like(self.outputs) if self.error is None else self.error
            found = end_sums(self.replica.task, self.batch.arrays, self.outputs, weights)
            found[OUTPUTS] = weighted_sum(error, weights)
            parts += [found[name].reshape(-1) for name in self.ends]
        return torch.cat(parts) if parts else self.losses.new_zeros(0)


def _present(mean: Tensor | None, call: Call) -> Tensor:
    if mean is None:
        raise OtherCalls(f"{call.name} has no mean input, and in the trace it had one.")
    return mean
