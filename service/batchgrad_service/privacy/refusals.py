"""Refusals of requests whose answers would tell of a private job's single rows."""

from batchgrad.contract import JobSpec, RowSet
from batchgrad_service.problems import ConflictError

LEDGER = (
    "the losses and gradient norms of single training examples are what its noise hides. Train "
    "without privacy where the rows may be known."
)
EXAMPLES = "its rows are what the job protects, so they are not shown beside it."
INFLUENCE = (
    "the examples of a step, and how far each moved it, would undo the noise. The steps themselves "
    "are in its history."
)
LONGER = (
    "its epsilon was fixed when it was submitted. Submit a job that starts from its parameters "
    "(initial_parameters: {{job: {job_id}}}); the epsilon of both adds up."
)
OWN_ROWS = (
    "exact figures of its own dataset's rows tell of single rows. Use rows that are not protected: "
    "a file, another dataset, or validation examples that the spec calls public."
)


def private_job(job_id: str, why: str) -> ConflictError:
    """The problem to raise where something would tell of a private job's rows."""
    return ConflictError(
        f"Job {job_id} is private: {why.format(job_id=job_id)}", code="private_job"
    )


def refuse_private(job_id: str, spec: JobSpec, why: str) -> None:
    """Raise if the job is private.

    Raises:
        ConflictError: it is.
    """
    if spec.privacy is not None:
        raise private_job(job_id, why)


def refuse_private_rows(
    job_id: str,
    spec: JobSpec,
    protected: list[str],
    digest: str | None,
    rows: RowSet | None,
) -> None:
    """Raise if figures of a dataset, or of a set of the job's own rows, would tell of them.

    `protected` are the digests of the datasets on which the job spends ε, `digest` that of the
    dataset that is wanted, if one is.

    Raises:
        ConflictError: they would.
    """
    if spec.privacy is None:
        return
    public = rows == "validation" and spec.privacy.validation == "public"
    if digest in protected or (rows is not None and not public):
        raise private_job(job_id, OWN_ROWS)
