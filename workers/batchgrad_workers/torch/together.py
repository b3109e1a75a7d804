"""Per-example gradients of a whole microbatch in one forward and one backward pass.

A `Pass` gives the sum of gradients and each gradient's norm, without N x P numbers.
"""

from dataclasses import replace

import torch
from torch import Tensor

from batchgrad_workers.torch import fallbacks, one_by_one
from batchgrad_workers.torch.formulas.outer import CANCELLING
from batchgrad_workers.torch.one_pass import Pass
from batchgrad_workers.torch.refusal import OtherCalls
from batchgrad_workers.torch.replica import Batch, Replica, Sums
from batchgrad_workers.torch.shortcuts import available
from batchgrad_workers.torch.shortcuts.averaging import averaged
from batchgrad_workers.torch.shortcuts.means import TARGETS, MeansLayout
from batchgrad_workers.torch.tapping.calls import Trace
from batchgrad_workers.torch.tapping.tracing import calls_of, perturbed

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


def sums(replica: Replica, batch: Batch, trace: Trace, *, means: bool = False) -> Sums:
    """Σ w_n g_n of a microbatch, each loss and each ‖g_n‖.

    With `means`, also the sums that `MeansLayout` lays out: Σ w_n a_n and Σ w_n δ_n of each call of
    the trace that has formulas, and of its ends.

    Raises:
        OtherCalls: This microbatch makes other calls than the traced one.
    """
    found = Pass(replica, batch, trace)
    weights = None if bool((batch.weights == 1).all()) else batch.weights
    with torch.no_grad():
        gradients, norms = found.sums_and_norms(weights)
        flat = found.means(weights) if means else None
    return Sums(gradients, found.losses, norms, flat)


def each(replica: Replica, batch: Batch, trace: Trace) -> dict[str, Tensor]:
    """g_n of every example by parameter, (n, *shape). N x P numbers: for few examples."""
    with torch.no_grad():
        return Pass(replica, batch, trace).each(slice(0, len(batch)))
