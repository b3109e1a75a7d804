"""Which shortcuts a traced module has, and why not the others; what its means consist of."""

from batchgrad.contract import ShortcutName
from batchgrad.torch.tasks import Task
from batchgrad_workers.torch.replica import Batch, Replica
from batchgrad_workers.torch.shortcuts.averaging import averaged, mean_row
from batchgrad_workers.torch.shortcuts.gradients import ends_in
from batchgrad_workers.torch.shortcuts.means import (
    MOST_NUMBERS,
    OUTPUTS,
    TARGETS,
    Means,
    MeansLayout,
    end_sums,
)
from batchgrad_workers.torch.tapping.calls import Call, Trace
from batchgrad_workers.torch.tapping.mode import Tapping

MOST_NAMES = 5


def available(trace: Trace, task: Task) -> dict[ShortcutName, str | None]:
    """For each shortcut that passes means through the module: None, or why there is none."""
    averaged_error = _no_averages(trace)
    return {
        "averaged_error": averaged_error,
        "mean_example": averaged_error or _no_mean_example(trace, task),
    }


def _no_averages(trace: Trace) -> str | None:
    if trace.uncovered:
        return (
            f"{_listed(trace.uncovered)}: their gradients come from autograd alone, without a mean "
            "input and a mean error."
        )
    if trace.alone:
        return f"No example can stand for the means of others: {trace.alone}"
    for call in trace.calls:
        if call.parameters and call.input_shape is None and call.needs_input:
            return (
                f"{_listed(_names(call))}: {call.function} of {call.name} has no mean input, as it "
                "takes several tensors, or a mean would be too many numbers."
            )
    size = MeansLayout(trace).size
    if size > MOST_NUMBERS:
        return f"The means of this module are {size} numbers, more than {MOST_NUMBERS}."
    return None


def _no_mean_example(trace: Trace, task: Task) -> str | None:
    if task.mean_losses is None or task.targets is None:
        return "The task has no mean_losses or no targets: no loss of a mean example."
    if TARGETS not in dict(trace.ends):
        return "The targets are neither numbers nor classes of the outputs' last axis."
    if trace.rowwise:
        return (
            f"The outputs depend on {_listed(trace.rowwise)}, whole numbers or masks that have no "
            "mean; those that only an embedding looks up have one."
        )
    return None


def _names(call: Call) -> tuple[str, ...]:
    return tuple(name for names in call.parameters.values() for name in names)


def _listed(names: tuple[str, ...]) -> str:
    more = "" if len(names) <= MOST_NAMES else f" and {len(names) - MOST_NAMES} more"
    return ", ".join(names[:MOST_NAMES]) + more


def ends(replica: Replica, batch: Batch, trace: Trace) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """What has means beside the calls, with its shape for one example, from a traced batch."""
    mode = Tapping(replica, trace.calls)
    with mode:
        outputs = replica.outputs(batch)
    found = {}
    if not any(ends_in(outputs, tap) for tap in mode.taps):
        found[OUTPUTS] = tuple(outputs.shape[1:])
    sums = end_sums(replica.task, batch.arrays, outputs.detach(), None)
    found.update({name: tuple(each.shape) for name, each in sums.items()})
    return tuple(sorted(found.items()))


def rowwise(replica: Replica, batch: Batch, trace: Trace, means: Means) -> tuple[str, ...]:
    """The arrays without a mean on which the outputs of the mean example depend."""
    example, found = mean_row(means, batch.row(0)), []
    outputs, _ = averaged(replica, trace, means, example, only_lookups=True)
    for name, array in batch.arrays.items():
        if array.is_floating_point():
            continue
        for n in range(1, len(batch)):
            other = Batch({**example.arrays, name: batch.row(n).arrays[name]}, example.weights)
            found_outputs, _ = averaged(replica, trace, means, other, only_lookups=True)
            if not found_outputs.equal(outputs):
                found.append(name)
                break
    return tuple(found)
