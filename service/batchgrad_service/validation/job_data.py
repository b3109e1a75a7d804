"""The datasets that a job reads."""

from dataclasses import dataclass
from pathlib import Path

from batchgrad.contract import Dataset, JobSpec
from batchgrad_service.problems import InvalidError
from batchgrad_service.store.records import spending_digests
from batchgrad_workers.arrays import Shape


@dataclass(frozen=True)
class StoredData:
    """A dataset and the directory of its content."""

    dataset: Dataset
    directory: Path


@dataclass(frozen=True)
class JobData(StoredData):
    """A job's dataset, the other one that it validates on, and its code, if its spec names them."""

    validation: StoredData | None = None
    code: Path | None = None

    @property
    def bytes(self) -> int:
        """Size of all their arrays."""
        return self.dataset.bytes + (self.validation.dataset.bytes if self.validation else 0)

    def protected_digests(self, spec: JobSpec) -> list[str]:
        """The digests of the datasets on whose rows a private job spends ε."""
        other = None if self.validation is None else self.validation.dataset.digest
        return spending_digests(spec, self.dataset.digest, other)


def layers_shape(dataset: Dataset, pointer: str = "/dataset") -> Shape:
    """The shape of an example's inputs, for a network of layers.

    Raises:
        InvalidError: such a network cannot be trained on the dataset's arrays.
    """
    if dataset.target_kind is None or dataset.input_shape is None:
        found = ", ".join(f"{each.name} {each.shape}" for each in dataset.arrays)
        raise InvalidError.field(
            pointer,
            f"Dataset {dataset.name} has the arrays {found}. A network of layers is trained on "
            "inputs [n, …] and targets, classes [n] or numbers [n] or [n, out]: push the dataset "
            "with arrays of these names, or train a PyTorch model on it, which takes any arrays.",
        )
    return tuple(dataset.input_shape)
