"""Reasons why a step has no figures, or only some."""

from typing import Any

from torch import Tensor

from batchgrad.errors import InvalidArgument

MOST_NAMES = 10


def left_out(names: list[str]) -> str:
    """A warning of parameters that figures leave out."""
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return (
        f"Norms, noise scale and gradient norm leave out {', '.join(names[:MOST_NAMES])}{more} "
        "(observer.uncovered): their calls have no formulas here, as those of an LSTM, or lie "
        "outside of the module's forward pass. To include them call them through the module, and "
        "write an LSTM as linear layers over its steps."
    )


def missing(visit: Any, squares: list[Tensor | None]) -> str | None:
    """Why a visit has no norms; None: it has."""
    if visit.taps.failure is not None:
        return str(visit.taps.failure)
    if not visit.complete:
        return "the module made calls that it had not made before; the next step looks at them"
    if not squares and visit.watch.uncovered and not visit.taps.taps:
        return "no parameter has uses with formulas"
    if not squares:
        return (
            "no backward pass came to a forward pass of the module; both belong inside the step, "
            "and the module must not be compiled"
        )
    if any(each is None for each in squares):
        return "no parameter has uses with formulas"
    return None


def check_length(name: str, given: Any, n: int) -> None:
    """Refuse `given`, one for each example, if it has not n entries.

    Raises:
        InvalidArgument: it has not.
    """
    if given is not None and len(given) != n:
        raise InvalidArgument(
            f"{name} has {len(given)} entries, and the step's backward passes had {n} examples: "
            "each example needs one."
        )
