"""Check what a job's initial parameters mean for its inputs, before it is queued."""

from pathlib import Path

from batchgrad.contract import JobSpec
from batchgrad_engine.checkpoints.origin import CHECKED_NUMBERS, objection, origin
from batchgrad_engine.training.sampling import job_sampler
from batchgrad_service.problems import InvalidError
from batchgrad_workers.data.dataset import StoredDataset
from batchgrad_workers.data.standardization import Standardization


def warnings_of_start(spec: JobSpec, directory: Path, content: bytes) -> list[str]:
    """Why the job on the dataset in `directory` would not start where the parameters' training was.

    `content` is the safetensors file that `spec.initial_parameters` stand for.

    Raises:
        InvalidError: its standardization shall be kept, and it says none for such inputs.
    """
    stored, of = StoredDataset.open(directory), origin(content)
    known, shape = of.standardization, stored.inputs.shape[1:]
    if spec.initial_parameters and spec.initial_parameters.standardization == "keep":
        if known is None or known.mean.shape != shape:
            says = f"one for inputs of shape {list(known.mean.shape)}" if known else "none"
            raise InvalidError.field(
                "/initial_parameters/standardization",
                f"got keep, but of a standardization the parameters say {says}; inputs have shape "
                f"{list(shape)}: leave it out, or take the parameters of a job with standardize: "
                "true, without folding.",
            )
        return []
    own = None
    if spec.standardize and known is not None and stored.inputs.size <= CHECKED_NUMBERS:
        own = Standardization.of(stored.inputs, job_sampler(spec, stored).training)
    found = objection(of, own, standardize=spec.standardize)
    return [] if found is None else [found]
