"""The preflight of a module: checks on real rows, and the way that its gradients are computed."""

import numpy as np
import torch

from batchgrad_workers.randomness import example_keys
from batchgrad_workers.torch import one_by_one, together
from batchgrad_workers.torch.dropout.drawing import Draw
from batchgrad_workers.torch.preflight.forms import check_finite, check_parameters, untrained
from batchgrad_workers.torch.preflight.memory import saved_bytes
from batchgrad_workers.torch.preflight.mixing import CLOSE, Checks
from batchgrad_workers.torch.preflight.report import Parameter, Preflight
from batchgrad_workers.torch.preflight.rows import distinct, first
from batchgrad_workers.torch.preflight.state import State
from batchgrad_workers.torch.preflight.watching import Run, watch
from batchgrad_workers.torch.refusal import OtherCalls, Refused
from batchgrad_workers.torch.replica import Batch, Replica
from batchgrad_workers.torch.tapping.calls import Trace

LEAST_ROWS, MOST_ROWS = 4, 8
MOVED = 0.1
"""Of a parameter's root mean square, or of 0.1 where all its numbers are 0."""

FIXED = (
    "Losses are not finite if the parameters move by a thousandth of their size, so the checks ran "
    "at the initial parameters, where a gate of 0 hides what is behind it."
)
SLOW = "each example takes a forward and a backward pass of its own"


def prepare(replica: Replica, rows: Batch) -> Preflight:
    """Check that each example has a gradient of its own, and choose how it is computed.

    `rows` are real examples, of which up to 8 are used. The replica stays as it is; the checks run
    on a copy whose parameters are moved a little, because a gate of 0 would hide what is behind it.
    The choice follows from the module's calls and shapes alone, never from timing, because the way
    decides the bits: `together` wherever the calls are the same for each batch.

    Raises:
        Refused: the message names the module, says why, and what to use instead.
        ValueError: there are fewer than 4 rows.
    """
    if len(rows) < LEAST_ROWS:
        raise ValueError(f"A preflight needs {LEAST_ROWS} rows or more; got {len(rows)}.")
    rows = _with_keys(first(rows, min(len(rows), MOST_ROWS)))
    own = replica.exact()  # rounding to autocast's type would hide and feign differences
    check_parameters(own)
    generators = _generators()
    initial = State(own.module)
    start = watch(own, rows, explore=True)
    changed = initial.changed()
    initial.restore()
    check_finite(start.losses)
    if _generators() != generators:
        raise Refused(_drawing(start, "forward pass"))
    with own.evaluating():
        evaluated = watch(own, Batch(rows.arrays, rows.weights))
    if _generators() != generators:
        raise Refused(_drawing(evaluated, "forward pass of an evaluation"))
    initial.restore()
    own.axes = _axes(own, rows, start.draws)
    warnings = _perturb(own, rows)
    checks = Checks(own, rows)
    checks.check_repetition()
    base = watch(own, rows)
    checks.check_replaced_rows(base)
    calls = checks.check_sizes(base)
    looks = tuple(dict.fromkeys([*base.looks, *checks.open_decisions()]))
    checks.state.restore()
    watch(own, rows)
    changed = changed or checks.state.changed()
    if changed:
        raise Refused(changed)
    checks.check_memory(replica)
    if lonely := untrained(base.losses, own):
        warnings.append(lonely)
    unused = checks.check_gradients()
    if unused:
        warnings.append(f"No loss of these rows depends on {', '.join(sorted(unused)[:5])}.")
    if distinct(rows) < len(rows):
        warnings.append("Some rows are equal, so that the checks see less: give different ones.")
    checks.state.restore()
    trace, why = _trace(own, rows, looks, calls)
    whole, less = (saved_bytes(own, first(rows, n)) for n in (len(rows), len(rows) - 1))
    each = max(0, whole - less)
    size = sum(p.numel() * p.element_size() for p in own.trainable.values())
    return Preflight(
        path="one_by_one" if trace is None else "together",
        why=why,
        uncovered=() if trace is None else tuple(trace.uncovered),
        random=tuple(dict.fromkeys(draw.function for draw in start.draws)),
        axes=tuple(own.axes),
        looks_at_data=looks,
        decisions=tuple(checks.outcomes),
        trace=trace,
        parameters=tuple(
            Parameter(name, tuple(each.shape), each.requires_grad)
            for name, each in own.module.named_parameters()
        ),
        fixed_bytes=max(0, whole - len(rows) * each) + size,
        bytes_per_example=each,
        warnings=tuple(warnings),
    )


def _with_keys(rows: Batch) -> Batch:
    """The rows with keys, so that dropout draws."""
    return Batch(rows.arrays, rows.weights, example_keys(0, 0, np.arange(len(rows))))


def _generators() -> list[bytes]:
    """States of torch's global generators."""
    states = [torch.get_rng_state()]
    if torch.cuda.is_available():
        states += torch.cuda.get_rng_state_all()
    return [state.numpy().tobytes() for state in states]


def _drawing(run: Run, what: str) -> str:
    where = ", ".join(dict.fromkeys(run.random)) or "an operation of the forward pass"
    return (
        f"The {what} draws from torch's global generator: {where}. Numbers that depend on "
        "what was drawn before can't be drawn again for one example. Use "
        "torch.nn.functional.dropout, torch.rand or Tensor.bernoulli_, which follow from each "
        "example's key here (x * dropout(x.new_ones(len(x), 1), p) is stochastic depth), and for "
        "other noise an array of the dataset."
    )


def _axes(replica: Replica, rows: Batch, draws: list[Draw]) -> list[int]:
    """The axis of the examples in the mask of each dropout call.

    Raises:
        Refused: a mask does not grow with the examples.
    """
    smaller = watch(replica, first(rows, len(rows) - 1), explore=True).draws
    if len(smaller) != len(draws):
        return []  # another number of calls: one by one, where the axis does not matter
    axes = []
    for draw, less in zip(draws, smaller, strict=True):
        pairs = list(zip(draw.shape, less.shape, strict=False))
        differ = [axis for axis, (a, b) in enumerate(pairs) if a != b]
        if not differ:
            raise Refused(
                f"{draw.function} draws {list(draw.shape)} numbers that all examples share. Apply "
                "it to the examples' numbers, after a position embedding is added to them, "
                "and not to parameters."
            )
        axes.append(differ[0])
    return axes


def _perturb(replica: Replica, rows: Batch) -> list[str]:
    """Move θ by a share of its size, less where losses are then not finite; returns warnings."""
    random = torch.Generator().manual_seed(1)
    start = {name: each.detach().clone() for name, each in replica.trainable.items()}
    steps = {}
    for name, each in start.items():
        size = float(each.square().mean().sqrt()) if each.numel() else 0.0
        noise = torch.randn(each.shape, dtype=each.dtype, generator=random).to(each.device)
        steps[name] = MOVED * (size or MOVED) * noise
    state = State(replica.module)
    for share in (1.0, 0.1, 0.01, 0.0):
        state.restore()
        with torch.no_grad():
            for name, each in replica.trainable.items():
                each.copy_(start[name] + share * steps[name])
        after = State(replica.module)
        finite = bool(watch(replica, rows).losses.isfinite().all())
        after.restore()
        if finite:
            break
    return [] if share else [FIXED]


def _trace(
    replica: Replica, rows: Batch, looks: tuple[str, ...], calls: list[str]
) -> tuple[Trace | None, str]:
    """The trace for `together`, or None, and why."""
    if looks:
        return None, f"The forward pass decides by the data ({', '.join(looks[:3])}), so {SLOW}."
    if calls:
        return None, f"The number of examples changes the calls ({calls[0]}), so {SLOW}."
    try:
        trace = together.trace(replica, rows)
        wrong = _wrong(replica, rows, trace)
    except (OtherCalls, RuntimeError) as error:
        return None, f"The calls can't be tapped ({type(error).__name__}: {error}), so {SLOW}."
    if wrong:
        return None, f"The formulas differ from single gradients in {wrong}, so {SLOW}."
    covered = len(replica.trainable) - len(trace.uncovered)
    why = (
        f"Formulas for {len(trace.calls)} calls cover {covered} of {len(replica.trainable)} "
        "parameters, so a microbatch takes one forward and one backward pass"
    )
    if trace.uncovered:
        why += f"; the gradients of the others come by {trace.fallback}, which takes longer"
    return trace, f"{why}."


def _wrong(replica: Replica, rows: Batch, trace: Trace) -> str:
    """The name of a sum that `together` and `one_by_one` do not agree on; else nothing."""
    found, expected = (
        together.sums(replica, rows, trace),
        one_by_one.sums(replica, rows),
    )
    pairs = {name: (found.gradients[name], each) for name, each in expected.gradients.items()}
    size = max(float(each.abs().max()) for each in expected.gradients.values() if each.numel())
    close = CLOSE[replica.dtype]
    for name, (one, other) in pairs.items():
        if not torch.allclose(one, other, rtol=0, atol=close * size, equal_nan=True):
            return name
    agree = torch.allclose(found.norms, expected.norms, rtol=close, atol=0, equal_nan=True)
    return "" if agree else "the norms"
