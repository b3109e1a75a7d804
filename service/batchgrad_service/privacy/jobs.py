"""Private jobs of the service: what their engines get, and what they have spent at their end."""

import logging
from collections.abc import Collection
from pathlib import Path

from batchgrad.contract import DatasetPrivacy, Plan, Privacy
from batchgrad.display.numbers import short
from batchgrad.display.privacy import lower, upper
from batchgrad_engine.messages import PrivateStart
from batchgrad_engine.privacy.accounted import Accounted
from batchgrad_engine.privacy.charges import UnreadableChargesError, charged
from batchgrad_service.privacy.keys import Keys
from batchgrad_service.store import PrivateJob, RetryingStore, Store

log = logging.getLogger(__name__)


class PrivateJobs:
    """What a private job's engine gets, and what its end leaves. Thread-safe."""

    def __init__(self, store: Store | RetryingStore, keys: Keys, data_dir: Path) -> None:
        self.keys = keys
        self._store = store
        self._jobs = data_dir / "jobs"

    def completed(
        self, store: Store, plan: Plan, accounted: Accounted, protected: Collection[str]
    ) -> Plan:
        """The plan with warnings: ε of all jobs on these datasets, and an unsafe key."""
        own = accounted.schedule.at(accounted.steps)
        warnings = []
        for digest in protected:
            before = store.dataset_privacy(digest)
            if before is not None and before.jobs:
                warnings.append(_total(digest, before, own))
        return self.keys.marked(plan.model_copy(update={"warnings": [*plan.warnings, *warnings]}))

    def start(self, job_id: str, privacy: Privacy | None) -> PrivateStart | None:
        """What the engine of a private job needs beside its spec; None of a job without privacy.

        Where a dataset has a budget, steps that are charged again may not spend more than the job
        has reserved.

        Raises:
            KeyGoneError: the job cannot run any more.
        """
        private = self._store.private_job(job_id) if privacy is not None else None
        if private is None:
            return None
        schedule = private.schedule
        if self._store.has_privacy_budget(job_id):
            schedule = schedule.within(private.reserved)
        return PrivateStart(
            key=self.keys.of(job_id),
            noise_multiplier=private.planned.noise_multiplier,
            sampling_rate=private.planned.sampling_rate,
            steps=list(schedule.steps),
            epsilons=list(schedule.epsilons),
            steps_planned=private.planned.steps,
            validation_deviation=private.validation_deviation,
            unsafe=private.planned.unsafe,
        )

    def epsilon_spent(self, job_id: str) -> float | None:
        """ε of a job's charged steps; None of a job without privacy.

        Call it while the job has no engine that takes steps: blocks of steps are charged ahead.
        """
        private = self._store.private_job(job_id)
        return None if private is None else self._epsilon(job_id, private)

    def ended(self, job_id: str) -> None:
        """Destroy the key of a job that has ended."""
        self.keys.destroy(job_id)

    def sweep(self, store: Store) -> None:
        """At the service's start: settle jobs that ended as it died, and destroy their keys."""
        for job_id in store.unsettled_jobs():
            private = store.private_job(job_id)
            if private is not None:
                store.settle_privacy(job_id, self._epsilon(job_id, private))
        found = self.keys.sweep(store.private_jobs_to_run())
        if found:
            log.info("Destroyed %d keys of jobs that have ended.", found)

    def _epsilon(self, job_id: str, private: PrivateJob) -> float:
        """What the charges say; without them all that the job could have spent."""
        try:
            steps = charged(self._jobs / job_id)
        except UnreadableChargesError as error:
            log.warning("Job %s counts with all that it could have spent: %s", job_id, error)
            return private.schedule.epsilons[-1]
        taken = self._store.job(job_id).step
        if steps < taken:
            log.warning(
                "Job %s counts with all that it could have spent: it took %d steps, and its file "
                "has %d charges.",
                job_id,
                taken,
                steps,
            )
            return private.schedule.epsilons[-1]
        # A killed engine may have charged more ahead than it could have run.
        return private.schedule.at(min(steps, private.schedule.last_step))


def _total(digest: str, before: DatasetPrivacy, own: float) -> str:
    budget = "" if before.budget is None else f", of a budget of {lower(before.budget)}"
    return (
        f"Private jobs have spent or reserved an epsilon of {upper(before.epsilon)} on dataset "
        f"{short(digest)}. Epsilons add up: with this job's it is "
        f"{upper(before.epsilon + own)}{budget}."
    )
