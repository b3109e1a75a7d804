"""The schedule of a job: its curve on about 60 steps, close together at first."""

from math import ceil, isfinite

from batchgrad_engine.privacy.accountant.curves import Curve
from batchgrad_engine.privacy.accountant.losses import DeltaTooSmallError
from batchgrad_engine.privacy.schedule import EpsilonSchedule

POINTS = 60
LEAST = 1e-9
"""An ε that is told as such, though the accountant finds 0: a step that ran spends something."""

_BEYOND = 12


def grid(steps: int, most: int) -> list[int]:
    """Steps of a schedule: those of a job of `steps` steps, its last one, and others to `most`."""
    own = {ceil(steps ** (index / (POINTS - 1))) for index in range(POINTS)} | {steps}
    beyond = {ceil(steps * (most / steps) ** (index / _BEYOND)) for index in range(1, _BEYOND + 1)}
    return sorted(each for each in own | beyond if each <= most)


def schedule(curve: Curve, steps: int, epsilon: float, budget: float | None) -> EpsilonSchedule:
    """ε of a job of `steps` steps, which spend `epsilon`, and of up to twice as many.

    Steps that run again under another build are charged again. With a budget, the schedule ends
    where it is spent. `curve` may be coarser than the one that found `epsilon`.
    """
    kept, found = list[int](), list[float]()
    for each in grid(steps, 2 * steps):
        try:
            bound = curve.epsilon(each) if each != steps else epsilon
        except DeltaTooSmallError:
            break  # beyond the job's last step, where the accountant's rounding is too large
        bound = max(bound, LEAST)
        # ε never falls: a coarse bound may be above that of the last step, or of an earlier one.
        bound = min(bound, epsilon) if each < steps else max(bound, epsilon)
        bound = max(bound, found[-1]) if found else bound
        if not isfinite(bound) or (budget is not None and bound > budget):
            break
        kept.append(each)
        found.append(bound)
    return EpsilonSchedule(tuple(kept), tuple(found))
