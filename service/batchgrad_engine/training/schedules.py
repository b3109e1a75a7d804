"""Learning-rate schedules: the rate of each step, from the step's number alone.

t step, from 0 · T steps planned · W warm-up steps · α the learning rate in the spec. A schedule
has no state, so a resumed run uses the same rates, bit for bit.
"""

from math import cos, pi

from batchgrad import contract


def learning_rate(optimizer: contract.Optimizer, step: int, steps_planned: int) -> float:
    """α_t: α (t+1)/W during the warm-up, then α times the schedule's factor."""
    schedule = optimizer.schedule
    warmup = schedule.warmup_steps
    if step < warmup:
        return optimizer.learning_rate * ((step + 1) / warmup)
    return optimizer.learning_rate * _factor(schedule, step - warmup, steps_planned - warmup)


def _factor(schedule: contract.Schedule, step: int, steps: int) -> float:
    """The factor of α at step number `step` of the `steps` after the warm-up.

    cosine: f + (1 - f) (1 + cos(π t/T))/2, f the final fraction (Loshchilov and Hutter 2017,
    equation 5; torch's CosineAnnealingLR with T_max = T), which nears f at the last step.
    step: factor^⌊t/every⌋ (torch's StepLR).
    """
    match schedule:
        case contract.Cosine():
            rest = (1 + cos(pi * step / steps)) / 2
            return schedule.final_fraction + (1 - schedule.final_fraction) * rest
        case contract.StepDecay():
            return schedule.factor ** (step // schedule.every)
        case contract.Constant():
            return 1.0
