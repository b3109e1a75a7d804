"""Sums of clipped per-example gradients of a module, for differential privacy.

Two ways. By formulas: bounds of the norms of g_n as `sums` rounds them (see `formulas.rounding`),
then one product of a and c_n δ_n. By forming: Σ w_n g_n of a unit is formed in float64, and that
very vector is measured, cut and added; for units of several rows, for modules whose examples are
computed one by one, and for parameters whose gradients have no bounds.

Which way, and each factor, follow from the module and from the unit's own rows alone: what would
follow from the other rows of a microbatch, or their number, would let one more shorten them all.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from batchgrad_workers.arrays import Floats
from batchgrad_workers.parameters import ParameterLayout
from batchgrad_workers.reduction.clipping import ClippingRule, PrivateRows, rounded_down, totals
from batchgrad_workers.torch import one_by_one
from batchgrad_workers.torch.formulas.base import chunks
from batchgrad_workers.torch.one_pass import Pass
from batchgrad_workers.torch.preflight.rows import taken
from batchgrad_workers.torch.refusal import OtherCalls
from batchgrad_workers.torch.replica import Batch, Replica
from batchgrad_workers.torch.tapping.calls import Trace

FORMED_BYTES = 2**24
"""Of g_n that are formed at a time."""

LEAST = 2.0**-480
"""Added to norms: squares of numbers below it are lost in float64."""

Parts = Iterator[tuple[Tensor, Tensor]]
"""Of examples in their order: losses (k,), and g_n (k, P) in float64."""


@dataclass(frozen=True)
class Clipped:
    """Σ of the units' clipped gradients (P,), and `totals` as in `clipping.totals`."""

    gradient: Tensor
    totals: Floats


class Clipper:
    """Clips the units' gradients of a module by a rule."""

    def __init__(self, trace: Trace | None, layout: ParameterLayout, rule: ClippingRule) -> None:
        """With a `trace` examples are computed together."""
        self._trace, self._layout, self._rule = trace, layout, rule
        layers = [each.layer if rule.clipping == "per_layer" else 0 for each in layout.slices]
        names = list(dict.fromkeys(layers))
        self._layers = len(names)
        self._places = [
            (names.index(layer), slice_)
            for layer, slice_ in zip(layers, layout.slices, strict=True)
        ]

    def sums(self, replica: Replica, batch: Batch, rows: PrivateRows) -> Clipped:
        """The sums of a microbatch; the batch's own weights count for nothing.

        Rows that make other calls than those of the trace are computed one by one, the others as
        ever: each row's number, whatever the rest of its microbatch is.
        """
        if self._trace is None:
            return self._formed(replica, self._alone(replica, batch), rows)
        try:
            found = Pass(replica, batch, self._trace)
        except OtherCalls:
            if rows.starts is not None or len(batch) == 1:
                return self._formed(replica, self._alone(replica, batch), rows)
            return self._apart(replica, batch, rows)
        with torch.no_grad():
            if rows.starts is None:
                bounds = found.squared_norm_bounds()
                if bounds is not None:
                    return self._factored(found, bounds, rows)
            return self._formed(replica, self._parts(found), rows)

    def _apart(self, replica: Replica, batch: Batch, rows: PrivateRows) -> Clipped:
        """The sums of each row alone, added."""
        gradient, counts = self._zeros(replica), np.zeros(3)
        for n in range(len(batch)):
            own = self.sums(replica, batch.row(n), PrivateRows(rows.weights[n : n + 1]))
            gradient += own.gradient
            counts += own.totals
        return Clipped(gradient, counts)

    def _factored(self, found: Pass, bounds: dict[str, Tensor], rows: PrivateRows) -> Clipped:
        """From bounds (n,) of ‖g_n‖² by parameter.

        A row that is not finite is left out in a pass of the others: 0 times it would be nan.
        """
        squares = found.losses.new_zeros(found.n, self._layers, dtype=torch.float64)
        for layer, slice_ in self._places:
            if slice_.name in bounds:
                squares[:, layer] += bounds[slice_.name]
        lengths = rows.weights[:, None] * (squares.sqrt() + LEAST).cpu().numpy()
        norms = np.sqrt(np.square(lengths).sum(1))
        finite = np.isfinite(norms)
        if not finite.all():
            return self._without(found.replica, found.batch, rows, finite)
        dtype = np.dtype(str(found.replica.dtype).removeprefix("torch."))
        factors = rounded_down(rows.of_rows(self._rule.factors(lengths)), dtype)
        shares = torch.tensor(factors, device=found.losses.device)
        gradients = found.sums({each.name: shares[:, layer] for layer, each in self._places})
        flat = torch.cat([gradients[each.name].flatten() for each in self._layout.slices])
        losses = found.losses.double().cpu().numpy()
        return Clipped(flat, totals(self._rule, rows, losses, norms))

    def _without(
        self, replica: Replica, batch: Batch, rows: PrivateRows, finite: npt.NDArray[np.bool_]
    ) -> Clipped:
        kept = np.flatnonzero(finite)
        if not len(kept):
            return Clipped(self._zeros(replica), np.zeros(3))
        with torch.enable_grad():
            return self.sums(replica, taken(batch, kept.tolist()), PrivateRows(rows.weights[kept]))

    def _formed(self, replica: Replica, parts: Parts, rows: PrivateRows) -> Clipped:
        """From g_n, which are formed in `parts`: a unit's own may lie in several."""
        n = len(rows.weights)
        starts = np.arange(n) if rows.starts is None else rows.starts
        stops = [*starts[1:].tolist(), n]
        total = self._zeros(replica).double()
        weights = torch.tensor(rows.weights, device=total.device)
        losses, lengths = [], []
        place, unit, own = 0, 0, None
        for part, gradients in parts:
            losses.append(part.double().cpu().numpy())
            stop = place + len(part)
            at = place
            while at < stop:
                until = min(stop, stops[unit])
                share = weights[at:until] @ gradients[at - place : until - place]
                own = share if own is None else own + share
                if until == stops[unit]:
                    lengths.append(self._add(total, own))
                    unit, own = unit + 1, None
                at = until
            place = stop
        norms = np.sqrt(np.square(np.stack(lengths)).sum(1))
        counts = totals(self._rule, rows, np.concatenate(losses), norms)
        return Clipped(total.to(replica.dtype), counts)

    def _add(self, total: Tensor, unit: Tensor) -> Floats:
        """Add a unit's gradient (P,) to `total`, clipped; its norm by layer."""
        squares = unit.new_zeros(self._layers)
        for layer, each in self._places:
            squares[layer] += torch.linalg.vector_norm(
                unit[each.start : each.start + each.size]
            ).square()
        lengths: Floats = (squares.sqrt() + LEAST).cpu().numpy()
        for layer, each in self._places:
            factor = self._rule.factors(lengths[None])[0, layer]
            if factor > 0:
                own = slice(each.start, each.start + each.size)
                total[own].add_(unit[own], alpha=factor)
        return lengths

    def _parts(self, found: Pass) -> Parts:
        for rows in chunks(found.n, 8 * self._layout.size, FORMED_BYTES):
            yield found.losses[rows], self._flat(found.each(rows))

    def _alone(self, replica: Replica, batch: Batch) -> Parts:
        for n in range(len(batch)):
            losses, own = one_by_one.gradient(replica, batch.row(n))
            yield losses, self._flat({name: each[None] for name, each in own.items()})

    def _flat(self, gradients: dict[str, Tensor]) -> Tensor:
        rows = [
            gradients[each.name].reshape(len(gradients[each.name]), each.size)
            for each in self._layout.slices
        ]
        return torch.cat(rows, 1).double()

    def _zeros(self, replica: Replica) -> Tensor:
        return torch.zeros(self._layout.size, dtype=replica.dtype, device=replica.device)
