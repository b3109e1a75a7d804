"""Paths and bodies of requests, from the arguments of the client's methods."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from batchgrad.contract import GradientsRequest, Job, JobSpec
from batchgrad.errors import InvalidArgument
from batchgrad.parsing import arguments


def job_path(job_id: str) -> str:
    """The path of a job."""
    return f"/v1/jobs/{arguments.segment('job_id', job_id)}"


def id_of(job: Any) -> str:
    """The id of a job, or the id itself."""
    return job.id if isinstance(job, Job) else arguments.text("job", job)


def dataset_path(name: str) -> str:
    """The path of a dataset."""
    return f"/v1/datasets/{arguments.segment('name', name)}"


def operation_path(operation_id: str) -> str:
    """The path of an operation."""
    return f"/v1/operations/{arguments.segment('operation_id', operation_id)}"


def spec_body(value: Any) -> Any:
    """The keys that were set: for the others the service has its own defaults.

    Raises:
        InvalidArgument: it is neither a spec nor a mapping.
    """
    if isinstance(value, JobSpec | GradientsRequest):
        return value.model_dump(mode="json", exclude_unset=True)
    if isinstance(value, Mapping):
        return value
    hint = f": batchgrad.load_job({value!r:.60}) reads a file" * isinstance(value, str | Path)
    raise InvalidArgument(f"a spec is keys and values, got a {type(value).__name__}{hint}.")
