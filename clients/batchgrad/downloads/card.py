"""The model card: what a download tells of its parameters."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from batchgrad.contract.losses import LOSSES
from batchgrad.contract.tables import Encoding
from batchgrad.contract.training.spec import JobSpec
from batchgrad.contract.training.stopping import Kept
from batchgrad.contract.views import BestEvaluation
from batchgrad.contract.wire import Answer
from batchgrad.downloads.table_rows import encode_rows
from batchgrad.errors import InvalidArgument


class CardStandardization(Answer):
    """Mean and deviation of each input element over the training rows, in the inputs' shape."""

    mean: list[Any]
    deviation: list[Any]


class TrainedOn(Answer):
    """What a card tells of the training: the same for every checkpoint of a job.

    `classes` are the names of the classes 0, 1, …, if they have names. `inputs` names the network's
    inputs, if they come from a table's columns. `link` makes probabilities of outputs. A private
    job has no `dataset_digest`: who knows all rows but one could try which one has it.
    """

    spec: dict[str, Any]
    dataset_digest: str | None
    input_shape: list[int]
    inputs: list[str] | None
    classes: list[str] | None
    link: Literal["softmax", "sigmoid"] | None
    versions: dict[str, str]

    @classmethod
    def of(
        cls,
        spec: JobSpec,
        *,
        dataset_digest: str,
        input_shape: Sequence[int],
        inputs: list[str] | None,
        classes: list[str] | None,
        versions: Mapping[str, str],
    ) -> "TrainedOn":
        """The part of a job's card that its spec and its dataset decide."""
        return cls(
            spec=spec.model_dump(mode="json", exclude_defaults=True),
            dataset_digest=dataset_digest if spec.privacy is None else None,
            input_shape=list(input_shape),
            inputs=inputs,
            classes=classes,
            link=LOSSES[spec.loss].link if spec.loss else None,
            versions=dict(versions),
        )


class Card(Answer):
    """What a download tells of its parameters.

    `training` is missing in files of older versions. `evaluation` is that of the best parameters.
    Inputs are standardized, or encoded from a table's columns, unless neither is there; with
    `folded_into` the first layer with this name standardizes them.
    """

    which: Kept
    step: int
    parameters_digest: str
    training: TrainedOn | None = None
    evaluation: BestEvaluation | None = None
    standardization: CardStandardization | None = None
    encoding: Encoding | None = None
    folded_into: str | None = Field(default=None, alias="standardization_folded_into")

    @classmethod
    def read(cls, metadata: Mapping[str, Any]) -> "Card":
        """The card in a download's metadata, where the evaluation's figures stand beside it."""
        evaluation = metadata if metadata.get("which") == "best" else None
        return cls.model_validate({**metadata, "evaluation": evaluation})

    @property
    def layers(self) -> list[dict[str, Any]]:
        """The network's layers, as in a spec.

        Raises:
            InvalidArgument: the file is of a version that did not write them, or of a PyTorch
                module.
        """
        if self.training is None:
            raise InvalidArgument(
                "The file has no layers in its card, since an older version of batchgrad wrote it: "
                "download it again."
            )
        model = self.training.spec["model"]
        if "torch" in model:
            raise InvalidArgument(
                f"The parameters are those of the PyTorch module that {model['torch']} builds, not "
                "of layers: batchgrad.torch.load(module, FILE) fills it."
            )
        found: list[dict[str, Any]] = model["layers"]
        return found

    def encode(self, rows: Sequence[Mapping[str, Any]]) -> list[list[float]]:
        """The network's inputs for a table's rows, {column: value}; None is a gap.

        Dates are datetime objects or ISO 8601 text.

        Raises:
            InvalidArgument: the card has no table, a row lacks a column, or a value is of another
                kind.
        """
        if self.encoding is None:
            raise InvalidArgument(
                "The parameters were not trained on a table: give the network arrays"
                + (", standardized." if self.standardization else ".")
            )
        return encode_rows(self.encoding, rows)
