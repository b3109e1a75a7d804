"""The budget of a private job: it charges steps before they run, and tells ε of each."""

from collections.abc import Mapping
from pathlib import Path

from batchgrad.contract import Privacy
from batchgrad.version import __version__
from batchgrad_engine.failures import Failure
from batchgrad_engine.messages import PrivateStart
from batchgrad_engine.privacy.charges import EVALUATIONS, Charges, UnreadableChargesError
from batchgrad_engine.privacy.schedule import EpsilonSchedule
from batchgrad_workers.privacy.keys import Purpose, subkey


class BudgetSpent(Failure):
    """A step would spend more than the job's ε."""

    reason = "budget_spent"


class ChargesLost(Failure):
    """Steps were taken that no charge tells of."""

    reason = "charges_lost"

    def __init__(self, found: str) -> None:
        super().__init__(
            f"{found}, so nobody knows what the job has spent: restore charges.jsonl and "
            "charged-evaluations.jsonl in its folder from a backup, or submit a job that starts "
            "from its parameters. The job counts with all that it could have spent."
        )


def build_of(info: Mapping[str, str]) -> dict[str, str]:
    """All that decides the bits of sums and noise."""
    return {**info, "batchgrad": __version__}


def own_subkey(start: PrivateStart, build: Mapping[str, str], purpose: Purpose) -> bytes:
    """The key for one purpose, with this build."""
    return subkey(bytes.fromhex(start.key), purpose, build)


class Budget:
    """Charges steps before they run, and tells what they have spent."""

    def __init__(
        self,
        start: PrivateStart,
        privacy: Privacy,
        job_directory: Path,
        build: Mapping[str, str],
        evaluations: int,
    ) -> None:
        """`evaluations` is how many noisy evaluations the job's ε covers.

        Raises:
            ChargesLost: a file of charges is damaged.
        """
        self._evaluations = evaluations
        self._schedule = EpsilonSchedule(tuple(start.steps), tuple(start.epsilons))
        try:
            self._evaluated = Charges(
                job_directory, build, start.steps_planned + 1, file=EVALUATIONS, block=1
            )
            self._charges = Charges(job_directory, build, start.steps_planned)
        except UnreadableChargesError as error:
            raise ChargesLost(str(error)) from error
        self._unsafe = start.unsafe
        self._most = (
            self._schedule.last_step
            if privacy.epsilon is None
            else self._schedule.most_steps(privacy.epsilon)
        )

    def resume(self, steps: int, *, evaluated: bool) -> None:
        """Check that `steps` steps which a checkpoint has taken are charged.

        `evaluated`: noisy evaluations were shown too.

        Raises:
            ChargesLost: they are not.
        """
        if not self._charges.covers(steps):
            raise ChargesLost(f"The checkpoint has {steps} steps, and not all of them are charged")
        if evaluated and not self._evaluated.any():
            raise ChargesLost("The checkpoint has evaluations, and none is charged")

    def charge(self, step: int) -> float | None:
        """Charge step number `step`, from 0; ε once it has run, None under an unsafe key.

        Raises:
            BudgetSpent: steps that ran with another build were charged too, and ε is used up.
        """
        total = self._charges.total_with(step)
        if total > self._most:
            raise BudgetSpent(
                f"Step {step + 1} would be the {total}th charged step, and the budget allows "
                f"{self._most}: steps that ran again with other libraries or on another CPU were "
                "charged again. The parameters before it keep the budget."
            )
        self._charges.add(step)
        return None if self._unsafe else self._schedule.at(total)

    def charge_evaluation(self, step: int) -> bool:
        """Charge the noisy evaluation after `step` steps; False if ε does not cover it any more.

        That is so after steps ran again with another build, and were evaluated again.
        """
        if self._evaluated.total_with(step) > self._evaluations:
            return False
        self._evaluated.add(step)
        return True

    def end(self, step: int) -> None:
        """Take back charges of steps from `step` on, which did not run."""
        self._charges.end(step)
