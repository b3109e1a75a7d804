"""The kinds of questions, and the function that answers each: from bytes to bytes."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from batchgrad.contract import Dataset, GradientsRequest, JobSpec
from batchgrad_service.http.json_bodies import read_body
from batchgrad_service.questions import gradients
from batchgrad_service.validation import plan

Kind = Literal["gradients", "spec", "plan"]


class PlanQuestion(BaseModel):
    """The inputs of a plan."""

    spec: JobSpec
    dataset: Dataset
    directory: Path


def _gradients(body: bytes) -> bytes:
    return gradients.answer(read_body(GradientsRequest, body)).model_dump_json().encode()


def _spec(body: bytes) -> bytes:
    """Validate a job's spec and fill in its defaults."""
    return read_body(JobSpec, body).model_dump_json().encode()


def _plan(body: bytes) -> bytes:
    question = PlanQuestion.model_validate_json(body)
    return plan.plan(question.spec, question.dataset, question.directory).model_dump_json().encode()


ANSWERS: dict[Kind, Callable[[bytes], bytes]] = {
    "gradients": _gradients,
    "spec": _spec,
    "plan": _plan,
}
"""Each raises a ProblemError when the request is invalid."""
