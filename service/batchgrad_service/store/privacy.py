"""Spending of private jobs on datasets: reserved at submission, settled at a job's end, kept."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from pydantic import TypeAdapter
from sqlalchemy import Connection, delete, func, insert, select, update

from batchgrad.contract import TERMINAL, DatasetPrivacy, PlannedPrivacy
from batchgrad.display.numbers import short
from batchgrad.display.privacy import lower, upper
from batchgrad_engine.privacy.accounted import Accounted
from batchgrad_engine.privacy.schedule import EpsilonSchedule
from batchgrad_service.problems import ConflictError, NotFoundError
from batchgrad_service.store.database import Database
from batchgrad_service.store.schema import datasets, jobs, privacy_budgets, privacy_spending


@dataclass(frozen=True)
class PrivateJob:
    """What is known of a private job's noise and ε before it runs.

    `validation_deviation` is that of the noise on the number of right answers, in examples.
    """

    planned: PlannedPrivacy
    schedule: EpsilonSchedule
    validation_deviation: float | None = None

    @staticmethod
    def of(planned: PlannedPrivacy, accounted: Accounted) -> "PrivateJob":
        """A job with this plan."""
        return PrivateJob(planned, accounted.schedule, accounted.validation_multiplier)

    @property
    def reserved(self) -> float:
        """ε of all planned steps, also under an unsafe key, which claims none."""
        return self.schedule.at(self.planned.steps)


PRIVATE_JOB = TypeAdapter(PrivateJob)
"""To and from JSON values."""


def reserve(
    connection: Connection, job_id: str, private: PrivateJob, digests: Collection[str]
) -> None:
    """Reserve the planned ε of a new job on each dataset.

    Raises:
        ConflictError: a dataset's budget does not hold it.
    """
    for digest in digests:
        before = spent(connection, [digest]).get(digest)
        budget = before.budget if before is not None else None
        if before is not None and budget is not None and before.epsilon + private.reserved > budget:
            left = max(budget - before.epsilon, 0.0)
            smaller = (
                "Give the job a smaller privacy.epsilon, a larger noise_multiplier or fewer steps, "
                "or raise"
                if left
                else "Only a larger budget takes another job: raise"
            )
            raise ConflictError(
                f"The job would spend an epsilon of {upper(private.reserved)} on dataset "
                f"{short(digest)}, of whose budget of {lower(budget)} private jobs have spent or "
                "reserved "
                f"{upper(before.epsilon)}: {lower(left)} is left. {smaller} the budget "
                "(batchgrad datasets budget NAME --epsilon …, or "
                "PUT /v1/datasets/{name}/privacy-budget).",
                code="privacy_budget_spent",
            )
    connection.execute(
        insert(privacy_spending),
        [
            {
                "job_id": job_id,
                "dataset_digest": digest,
                "epsilon": private.reserved,
                "delta": private.planned.delta,
                "reserved": True,
            }
            for digest in digests
        ],
    )


def settle(connection: Connection, job_id: str, epsilon: float) -> None:
    """Store what a job has spent, in place of what was reserved; nothing if no step was charged."""
    own = privacy_spending.c.job_id == job_id
    if epsilon == 0:
        connection.execute(delete(privacy_spending).where(own))
        return
    connection.execute(update(privacy_spending).where(own).values(epsilon=epsilon, reserved=False))


def spend_at_least(connection: Connection, job_id: str, epsilon: float) -> None:
    """Raise what is reserved for a job that has spent more: steps were charged twice."""
    connection.execute(
        update(privacy_spending)
        .where(privacy_spending.c.job_id == job_id, privacy_spending.c.epsilon < epsilon)
        .values(epsilon=epsilon)
    )


def spent(connection: Connection, digests: Iterable[str]) -> dict[str, DatasetPrivacy]:
    """What was spent on each of these contents, and its budget; without those with neither."""
    wanted = list(digests)
    sums = connection.execute(
        select(
            privacy_spending.c.dataset_digest,
            func.count(),
            func.sum(privacy_spending.c.epsilon),
            func.sum(privacy_spending.c.delta),
        )
        .where(privacy_spending.c.dataset_digest.in_(wanted))
        .group_by(privacy_spending.c.dataset_digest)
    ).all()
    budgets = {
        row.dataset_digest: row.epsilon
        for row in connection.execute(
            select(privacy_budgets).where(privacy_budgets.c.dataset_digest.in_(wanted))
        )
    }
    found = {
        digest: DatasetPrivacy(jobs=0, epsilon=0.0, delta=0.0, budget=budget)
        for digest, budget in budgets.items()
    }
    for digest, count, epsilon, delta in sums:
        found[digest] = DatasetPrivacy(
            jobs=count, epsilon=epsilon, delta=delta, budget=budgets.get(digest)
        )
    return found


class PrivacyRows(Database):
    """The accounting of private jobs, and the budgets of datasets' contents."""

    def private_job(self, job_id: str) -> PrivateJob | None:
        """The accounting of a job; None of a job without privacy, or if there is no such job."""
        with self.reading() as connection:
            query = select(jobs.c.privacy).where(jobs.c.id == job_id)
            values = connection.execute(query).scalar_one_or_none()
        return None if values is None else PRIVATE_JOB.validate_python(values)

    def has_privacy_budget(self, job_id: str) -> bool:
        """Whether a dataset that the job spends ε on has a budget."""
        query = (
            select(privacy_budgets.c.dataset_digest)
            .join(
                privacy_spending,
                privacy_spending.c.dataset_digest == privacy_budgets.c.dataset_digest,
            )
            .where(privacy_spending.c.job_id == job_id)
        )
        with self.reading() as connection:
            return connection.execute(query.limit(1)).first() is not None

    def set_privacy_budget(self, name: str, epsilon: float | None) -> None:
        """Set or remove the budget of a dataset's content; NotFoundError if nothing has the name.

        The budget may be less than what was spent: then no private job is accepted.
        """
        with self.writing() as connection:
            digest = connection.execute(
                select(datasets.c.digest).where(datasets.c.name == name)
            ).scalar_one_or_none()
            if digest is None:
                raise no_dataset(name)
            own = privacy_budgets.c.dataset_digest == digest
            connection.execute(delete(privacy_budgets).where(own))
            if epsilon is not None:
                connection.execute(
                    insert(privacy_budgets).values(dataset_digest=digest, epsilon=epsilon)
                )

    def dataset_privacy(self, digest: str) -> DatasetPrivacy | None:
        """What was spent on a content; None if nothing was and it has no budget."""
        with self.reading() as connection:
            return spent(connection, [digest]).get(digest)

    def datasets_privacy(self, most: int = 100) -> dict[str, DatasetPrivacy]:
        """What was spent on the contents of at most `most` datasets, by name."""
        known = select(privacy_spending.c.dataset_digest).union(
            select(privacy_budgets.c.dataset_digest)
        )
        query = (
            select(datasets.c.name, datasets.c.digest)
            .where(datasets.c.digest.in_(known))
            .order_by(datasets.c.name)
            .limit(most)
        )
        with self.reading() as connection:
            rows = connection.execute(query).all()
            found = spent(connection, {row.digest for row in rows})
        return {row.name: found[row.digest] for row in rows}

    def settle_privacy(self, job_id: str, epsilon: float) -> None:
        """See `settle`; of a job whose end was stored without it."""
        with self.writing(job_id) as connection:
            settle(connection, job_id, epsilon)
            set_epsilon_spent(connection, job_id, epsilon)

    def unsettled_jobs(self) -> list[str]:
        """The private jobs that have ended and whose reserved ε is not settled yet."""
        query = (
            select(jobs.c.id)
            .join(privacy_spending, privacy_spending.c.job_id == jobs.c.id)
            .where(jobs.c.status.in_(TERMINAL), privacy_spending.c.reserved)
            .distinct()
        )
        with self.reading() as connection:
            return list(connection.execute(query).scalars())

    def private_jobs_to_run(self) -> set[str]:
        """The private jobs that have not ended, which need their keys."""
        query = select(jobs.c.id).where(jobs.c.privacy.is_not(None), jobs.c.status.not_in(TERMINAL))
        with self.reading() as connection:
            return set(connection.execute(query).scalars())


def set_epsilon_spent(connection: Connection, job_id: str, epsilon: float) -> None:
    """Store the ε that a job shows, unless its key is unsafe and it claims none."""
    connection.execute(
        update(jobs)
        .where(jobs.c.id == job_id, jobs.c.epsilon_spent.is_not(None))
        .values(epsilon_spent=epsilon)
    )


def no_dataset(name: str) -> NotFoundError:
    """Return the problem to raise for an unknown dataset."""
    return NotFoundError(
        f"There is no dataset {name!r}; GET /v1/datasets lists all datasets, "
        "PUT /v1/datasets/{name} stores one.",
        code="dataset_not_found",
    )
