"""The questions that a process of its own may answer, from bytes to bytes."""

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
    """What a plan is made from."""

    spec: JobSpec
    dataset: Dataset
    directory: Path


def _gradients(body: bytes) -> bytes:
    return gradients.answer(read_body(GradientsRequest, body)).model_dump_json().encode()


def _spec(body: bytes) -> bytes:
    """A job's spec as it was sent, checked and with its defaults."""
    return read_body(JobSpec, body).model_dump_json().encode()


def _plan(body: bytes) -> bytes:
    asked = PlanQuestion.model_validate_json(body)
    return plan.plan(asked.spec, asked.dataset, asked.directory).model_dump_json().encode()


ANSWERS: dict[Kind, Callable[[bytes], bytes]] = {
    "gradients": _gradients,
    "spec": _spec,
    "plan": _plan,
}
"""Each raises a ProblemError when the request is invalid."""
