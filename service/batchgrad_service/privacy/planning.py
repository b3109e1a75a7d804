"""Plans of private jobs: checks against their data, and what an accountant finds out."""

import threading
from collections import OrderedDict
from collections.abc import Callable

import anyio.to_thread
from anyio import CapacityLimiter
from starlette.concurrency import run_in_threadpool

from batchgrad.contract import JobSpec, Plan, PlannedPrivacy, Privacy
from batchgrad_engine.privacy.accountant.messages import Answer, Request
from batchgrad_engine.privacy.accounted import Accounted
from batchgrad_service.privacy.rules import check_data, check_delta
from batchgrad_service.problems import InvalidError
from batchgrad_service.validation.job_data import JobData
from batchgrad_workers.privacy.sampling import poisson_microbatches

MAX_RUNNING = 2
REMEMBERED = 256


class Accounting:
    """Completes plans of private jobs by `run`, at most MAX_RUNNING at once; others wait.

    Answers follow from requests alone, so they are remembered.
    """

    def __init__(self, run: Callable[[Request], Answer]) -> None:
        self._run = run
        self._limiter = CapacityLimiter(MAX_RUNNING)
        self._lock = threading.Lock()
        self._known: OrderedDict[str, Accounted] = OrderedDict()

    async def complete(self, planned: Plan, spec: JobSpec, data: JobData) -> tuple[Plan, Accounted]:
        """The plan with its privacy, its steps cut to the budget, and the schedule of ε.

        Raises:
            InvalidError: data or figures allow no guarantee; the message says what to change.
        """
        privacy = spec.privacy
        if privacy is None:
            raise TypeError("only a private job has an accountant")
        await run_in_threadpool(check_data, spec, data)
        check_delta(privacy, planned.training_examples)
        rows = planned.training_examples
        batch_size = spec.minibatch(rows)
        request = Request(
            privacy=_as_accounted(privacy),
            batch_size=batch_size,
            training_rows=rows,
            steps=planned.steps_planned,
            steps_per_epoch=planned.steps_per_epoch,
        )
        found = await anyio.to_thread.run_sync(
            self._account, request, limiter=self._limiter, abandon_on_cancel=False
        )
        warnings = planned.warnings
        if found.steps < planned.steps_planned:
            warnings = [_cut(privacy, found, planned.steps_planned), *warnings]
        update = {
            "privacy": PlannedPrivacy(
                noise_multiplier=found.noise_multiplier,
                sampling_rate=found.sampling_rate,
                epsilon=found.epsilon,
                delta=privacy.delta,
                steps=found.steps,
                accountant=privacy.accountant,
            ),
            "steps_planned": found.steps,
            "microbatches_per_step": poisson_microbatches(rows, batch_size, spec.microbatch),
            "warnings": warnings,
        }
        return planned.model_copy(update=update), found

    def _account(self, request: Request) -> Accounted:
        key = request.model_dump_json()
        with self._lock:
            known = self._known.get(key)
            if known is not None:
                self._known.move_to_end(key)
                return known
        answer = self._run(request)
        if answer.problem is not None:
            raise InvalidError.field(answer.problem.pointer, answer.problem.detail)
        if answer.accounted is None:
            raise TypeError("An accountant answers what it found, or a problem.")
        with self._lock:
            self._known[key] = answer.accounted
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return answer.accounted


def _cut(privacy: Privacy, found: Accounted, wanted: int) -> str:
    """The warning that a job has fewer steps than its spec wants."""
    return (
        f"epsilon {privacy.epsilon:g} allows {found.steps} of {wanted} steps with noise_multiplier "
        f"{found.noise_multiplier:g}: the job stops after them. Raise either for more."
    )


def _as_accounted(privacy: Privacy) -> Privacy:
    """The same privacy without what the accountant does not look at, so that more are alike."""
    return privacy.model_copy(
        update={"clip_norm": 1.0, "clipping": "flat", "report": "none", "unit": "example"}
    )
