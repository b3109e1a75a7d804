"""The initial parameters of a job, as a client gives them."""

from typing import Annotated, Literal, Self

from pydantic import StringConstraints, model_validator

from batchgrad.contract.wire import Sha256, Wire, exactly_one

__all__ = ["InitialParameters"]


class InitialParameters(Wire):
    """The initial parameters θ; give exactly one key.

    `job` takes the parameters that another job keeps, its best or its last; `safetensors` and
    `npz` carry a file's bytes in base64, as download writes them, which the service stores and
    replaces by `digest`. `standardization` keep standardizes by the mean and deviation that the
    parameters were trained with, own by those of this job's training rows.
    """

    job: Annotated[str, StringConstraints(max_length=128)] | None = None
    safetensors: Annotated[str, StringConstraints(min_length=1)] | None = None
    npz: Annotated[str, StringConstraints(min_length=1)] | None = None
    digest: Sha256 | None = None
    standardization: Literal["own", "keep"] = "own"

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        note = " (in a spec file, `file: PATH` is read for you)"
        exactly_one(self, "job", "safetensors", "npz", "digest", note=note)
        return self
