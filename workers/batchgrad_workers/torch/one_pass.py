"""One forward and one backward pass of a microbatch, and the per-example gradients they give.

Calls run with their parameters cut, and their inputs a and errors δ are tapped. From these come
the sum of gradients, clipped ones too, and each gradient's norm, without N x P numbers.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from batchgrad_workers.torch import fallbacks, one_by_one
from batchgrad_workers.torch.formulas.base import LEAST, Formed, Gradients, Layout, weighted_sum
from batchgrad_workers.torch.formulas.joined import joined
from batchgrad_workers.torch.refusal import OtherCalls
from batchgrad_workers.torch.replica import Batch, Replica
from batchgrad_workers.torch.shortcuts.means import OUTPUTS, end_sums
from batchgrad_workers.torch.tapping.backward import backward
from batchgrad_workers.torch.tapping.calls import Call, Trace
from batchgrad_workers.torch.tapping.mode import Tapping
from batchgrad_workers.torch.tapping.values import Value, pulled


class Pass:
    """The taps of a forward and a backward pass, and the gradients that they give."""

    def __init__(self, replica: Replica, batch: Batch, trace: Trace) -> None:
        """Run both.

        Raises:
            OtherCalls: This microbatch makes other calls than the traced one.
        """
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
        """Σ w_n g_n by parameter, and ‖g_n‖ (n,) in float64."""
        gradients, squares = {}, self.losses.new_zeros(self.n, dtype=torch.float64)
        for name, parameter in self.replica.trainable.items():
            own = self.whole.get(name)
            if own is None:
                gradients[name] = torch.zeros_like(parameter)
                continue
            gradients[name], square = own.sums_and_squared_norms(weights)
            squares += square
        return gradients, self._root(squares)

    def sums(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Σ of w_n g_n by parameter, each with weights (n,) of its own."""
        return {
            name: self.whole[name].sums(weights[name])
            if name in self.whole
            else torch.zeros_like(parameter)
            for name, parameter in self.replica.trainable.items()
        }

    def squared_norm_bounds(self) -> dict[str, Tensor] | None:
        """Bounds (n,) of ‖g_n‖² by parameter, that hold for what `sums` adds.

        None: it has gradients of which there are none.
        """
        found = {}
        for name, own in self.whole.items():
            bounds = own.squared_norm_bounds()
            if bounds is None:
                return None
            found[name] = bounds
        return found

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
        """g_n of the examples in `rows`, (k, *shape) by parameter."""
        count = rows.stop - rows.start
        return {
            name: self.whole[name].each(rows)
            if name in self.whole
            else parameter.new_zeros(count, *parameter.shape)
            for name, parameter in self.replica.trainable.items()
        }

    def means(self, weights: Tensor | None) -> Tensor:
        """What `MeansLayout` lays out."""
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
