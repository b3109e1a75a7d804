"""Checks that no example's loss or gradient depends on the other examples of its batch."""

from functools import partial

import torch
from torch import Tensor

from batchgrad_workers.torch.dropout.drawing import drawing
from batchgrad_workers.torch.preflight.culprit import (
    culprit,
    instead,
    outside,
    same,
    unlike,
    unsteady,
)
from batchgrad_workers.torch.preflight.rows import first, masked, replaced, taken
from batchgrad_workers.torch.preflight.state import State
from batchgrad_workers.torch.preflight.watching import Run, watch
from batchgrad_workers.torch.refusal import Refused
from batchgrad_workers.torch.replica import Batch, Replica

CLOSE = {torch.float32: 1e-3, torch.float64: 1e-7}
"""Differences, as a share of the largest number, that the order of additions may make."""


class Checks:
    """Checks of a replica, one for each way of mixing, on rows (n, …) at its present parameters."""

    def __init__(self, replica: Replica, rows: Batch) -> None:
        self.replica, self.rows = replica, rows
        self.n = len(rows)
        self.state = State(replica.module)
        self.close = CLOSE[replica.dtype]
        self.outcomes: dict[str, set[bool]] = {}
        """Of each decision, in all runs."""

    def run(self, batch: Batch, *, keep: bool = False) -> Run:
        """Watch a batch, from the state at the beginning."""
        self.state.restore()
        found = watch(self.replica, batch, keep=keep)
        for place, outcome in found.decisions:
            self.outcomes.setdefault(place, set()).add(outcome)
        return found

    def check_replaced_rows(self, base: Run) -> None:
        """Replace examples: no other loss may change by one bit.

        Where the forward pass looks at data, rows may be computed in other groups, so only
        differences beyond rounding count.

        Raises:
            Refused: names the module.
        """
        tolerance = self.close if base.looks or base.decisions else 0.0
        for row in sorted({0, self.n // 2, self.n - 1}):
            others = [n for n in range(self.n) if n != row]
            for number, batch in enumerate(replaced(self.rows, row)):
                try:
                    run = self.run(batch)
                except Refused:
                    if number == 0:  # a real example
                        raise
                    continue  # numbers that the model does not take
                kept, found = base.losses[others].detach(), run.losses[others].detach()
                if not same(kept, found, tolerance).all():
                    spread = partial(_outside, row=row, n=self.n, tolerance=tolerance)
                    raise Refused(
                        f"{self._culprit(batch, spread)} With another example in row {row}, "
                        f"{_difference(kept, found, others)}. So an example has no gradient of "
                        "its own."
                    )

    def check_sizes(self, base: Run) -> list[str]:
        """Leave examples out: losses stay the same. Returns what differs among the calls.

        Raises:
            Refused: names the module, or says what arrived.
        """
        smaller = list(range(self.n - 1))
        for rows in (smaller, *([row] for row in range(self.n))):
            try:
                run = self.run(taken(self.rows, rows))
            except Refused as refused:
                raise Refused(
                    f"With {len(rows)} of {self.n} examples: {refused} Operations that depend on "
                    "the number of examples do this: squeeze() without an axis, a fixed size in "
                    "view or reshape."
                ) from refused
            kept, found = base.losses[rows].detach(), run.losses.detach()
            if not same(kept, found, self.close).all():
                spread = partial(_unlike, rows=rows, n=self.n, tolerance=self.close)
                raise Refused(
                    f"{self._culprit(taken(self.rows, rows), spread)} In a batch of {len(rows)}, "
                    f"{_difference(kept, found, rows)}. So an example has no "
                    "gradient of its own."
                )
        run = self.run(first(self.rows, self.n - 1))
        if run.decisions != base.decisions or run.functions == base.functions:
            return []
        return [_calls(base, run, self.n)]

    def open_decisions(self) -> list[str]:
        """Decisions of which it is not known that both outcomes give the same losses.

        In the checks before, rows alone and in batches had equal losses; decisions that had both
        outcomes there do no harm. For the others masks are tried that leave something out.
        """
        batch = masked(self.rows)
        if self.outcomes and batch is not None:
            try:
                whole = self.run(batch).losses.detach()
                alone = [self.run(taken(batch, [row])).losses.detach() for row in (0, 1)]
            except Refused:  # numbers that the model does not take
                return list(self.outcomes)
            if not same(whole[:2], torch.cat(alone), self.close).all():
                return list(self.outcomes)
        return [place for place, found in self.outcomes.items() if len(found) < 2]

    def check_gradients(self) -> set[str]:
        """The gradient of one loss of a batch is that of the example alone.

        Returns the names of parameters that no loss depends on.

        Raises:
            Refused: names the parameters whose gradients differ.
        """
        names = list(self.replica.trainable)
        self.state.restore()
        whole = self._gradients(self.rows, range(self.n))
        used = set[str]()
        for n in range(self.n):
            self.state.restore()
            (alone,) = self._gradients(self.rows.row(n), [0])
            size = max((float(each.abs().max()) for each in alone if each.numel()), default=0.0)
            pairs = zip(names, whole[n], alone, strict=True)
            wrong = [
                name
                for name, one, other in pairs
                if not torch.allclose(one, other, rtol=0, atol=self.close * size, equal_nan=True)
            ]
            if wrong:
                raise Refused(self._wrong_gradients(wrong, n))
            used |= {name for name, each in zip(names, alone, strict=True) if each.any()}
        return set(names) - used

    def check_repetition(self) -> None:
        """The same batch gives the same bits twice.

        Raises:
            Refused: it does not, and nothing known draws numbers or changes a buffer.
        """
        one, other = (self.run(self.rows, keep=True) for _ in range(2))
        if same(one.losses.detach(), other.losses.detach(), 0).all():
            return
        raise Refused(
            f"{unsteady(one, other)} gives other numbers for the same batch a second time. It "
            "draws numbers of its own (Python's random, numpy's, an own torch.Generator) or keeps "
            "a count: use torch.nn.functional.dropout, which draws by each example's key here, "
            "or make the numbers an array of the dataset."
        )

    def check_memory(self, unused: Replica) -> None:
        """A copy that has not computed anything yet gives the same losses.

        Raises:
            Refused: it does not: the module keeps numbers of an earlier pass.
        """
        copied = unused.copy()
        copied.axes = self.replica.axes
        self.state.restore()
        with torch.no_grad():
            for name, parameter in copied.trainable.items():
                parameter.copy_(self.replica.trainable[name])
        last = taken(self.rows, [self.n - 1])
        kept, found = (watch(each, last).losses.detach() for each in (self.replica, copied))
        if not same(kept, found, self.close).all():
            raise Refused(
                "The module keeps numbers of an earlier forward pass: the loss of the last row is "
                f"{kept.item():.9g}, and {found.item():.9g} in a copy that has computed nothing "
                "before. Compute in each forward pass what depends on parameters or examples, or "
                "make it an array of the dataset."
            )

    def _gradients(self, batch: Batch, rows: range | list[int]) -> list[list[Tensor]]:
        parameters = list(self.replica.trainable.values())
        with drawing(batch.keys, self.replica.axes):  # it refuses to draw in a backward pass
            losses = self.replica.losses(batch)
            found = [
                torch.autograd.grad(
                    losses[n], parameters, retain_graph=True, materialize_grads=True
                )
                for n in rows
            ]
        return [[each.to_dense().detach() for each in row] for row in found]

    def _culprit(self, batch: Batch, spread: "partial[bool]") -> str:
        runs = [
            self.run(each, keep=True) for each in (self.rows, batch, first(self.rows, self.n - 1))
        ]
        return culprit(runs[0], runs[1], runs[2], spread)

    def _wrong_gradients(self, names: list[str], n: int) -> str:
        owner = names[-1].rpartition(".")[0]
        kind = type(self.replica.module.get_submodule(owner)).__name__
        return (
            f"The gradient of {', '.join(names[:3])} of row {n}'s loss is another in a batch than "
            f"alone, though the losses are equal: the backward pass mixes examples, in or after "
            f"module {owner or 'itself'} ({kind}). {instead(kind)}"
        )


def _outside(
    one: Tensor, other: Tensor, smaller: Tensor, *, row: int, n: int, tolerance: float
) -> bool:
    return outside(one, other, smaller, row, n, tolerance)


def _unlike(
    one: Tensor, other: Tensor, _: Tensor, *, rows: list[int], n: int, tolerance: float
) -> bool:
    return unlike(one, other, rows, n, tolerance)


def _difference(before: Tensor, after: Tensor, rows: list[int]) -> str:
    """That the loss of a row changed, with the row in which it did most."""
    most = int((before - after).abs().nan_to_num(torch.inf).argmax())
    got, expected = after[most].item(), before[most].item()
    return f"the loss of row {rows[most]} is {got:.9g} instead of {expected:.9g}"


def _calls(base: Run, run: Run, n: int) -> str:
    """The first call of torch that is another in a smaller batch."""
    pairs = zip(base.functions, run.functions, strict=False)
    place = next((k for k, (a, b) in enumerate(pairs) if a != b), None)
    counts = f"{len(base.functions)} torch calls for {n} examples, {len(run.functions)} for {n - 1}"
    if place is None:
        return counts
    return f"{counts}; call {place} is {base.functions[place]} or {run.functions[place]}"
