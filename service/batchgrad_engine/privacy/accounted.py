"""An accountant's findings about a private job: its noise, its steps, and their ε."""

from dataclasses import dataclass

from batchgrad_engine.privacy.schedule import EpsilonSchedule


@dataclass(frozen=True)
class Accounted:
    """The noise of a job, and what its steps spend.

    `noise_multiplier` is σ of a whole step, in units of the clip norm. `sampling_rate` is q.
    `epsilon` is what `steps` spend at the job's δ; the schedule may go on, for steps that are
    charged again. `validation_multiplier` is σ_v, the deviation of the noise on the number of right
    answers in each evaluation, in examples; None without noisy validation.
    """

    noise_multiplier: float
    sampling_rate: float
    steps: int
    epsilon: float
    schedule: EpsilonSchedule
    validation_multiplier: float | None = None
