"""The spec of a training job."""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from batchgrad.contract.figures import ValidationMetric
from batchgrad.contract.losses import Loss, check_label_smoothing
from batchgrad.contract.model import Precision, ShortcutName, SumsPrecision
from batchgrad.contract.training.initial import InitialParameters
from batchgrad.contract.training.microbatches import DEFAULT_MICROBATCH, default_microbatch
from batchgrad.contract.training.module import AnyModel, JobModel
from batchgrad.contract.training.optimizers import Optimizer
from batchgrad.contract.training.privacy import Privacy, check_private
from batchgrad.contract.training.stopping import EarlyStopping, Kept
from batchgrad.contract.training.validation import Validation
from batchgrad.contract.wire import Integer, Name, Number, Truth, Wire

__all__ = [
    "JobSpec",
    "WorkerRange",
]

LabelText = Annotated[str, StringConstraints(max_length=256)]


def _class_text(value: Any) -> Any:
    plain = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(plain, bool):
        return str(plain).lower()
    return str(plain) if isinstance(plain, int) else plain


def _none_if_auto(given: Any) -> Any:
    return None if given == "auto" else given


_MicrobatchSize = Annotated[Integer, Field(ge=1, le=2**20)]

ClassName = Annotated[str, StringConstraints(max_length=1024), BeforeValidator(_class_text)]
"""The name of a class, or its number 0, 1, …, if the dataset's classes have no names."""

_INSTEAD = {
    "label_smoothing": "remove label_smoothing, and let the task's losses smooth labels.",
    "class_weights": "remove class_weights, and push the dataset with weights.",
    "standardize": "remove standardize, and let the module or the dataset standardize.",
}
"""Keys that a PyTorch task does without, and the remedy."""


class WorkerRange(Wire):
    """As many Ray workers as the cluster can run, between these bounds."""

    min: Integer = Field(ge=1, le=4096)
    max: Integer = Field(ge=1, le=4096)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min is {self.min}, max is {self.max}: min must not exceed max.")
        return self


class JobSpec(Wire):
    """A training job: all that decides its bits, and where it runs, which does not."""

    name: Name = Field(description="letters, digits, '.', '_', '-'")
    dataset: Name = Field(description="a dataset's name")
    model: AnyModel
    loss: Loss | None = Field(
        default=None,
        validate_default=True,
        description="of a model with layers; a PyTorch task has its own",
    )
    optimizer: Optimizer
    privacy: Privacy | None = Field(
        default=None, description="make the parameters differentially private"
    )
    labels: dict[Name, LabelText] = Field(
        default_factory=dict, max_length=32, description="your own, to find jobs"
    )
    batch_size: Literal["full"] | Annotated[Integer, Field(ge=1, le=2**24)] = Field(
        description="N, examples in a minibatch; an epoch's last minibatch may have fewer, and its "
        "step counts as a whole one"
    )
    microbatch_size: Annotated[
        _MicrobatchSize | None,
        BeforeValidator(
            _none_if_auto, json_schema_input_type=Literal["auto"] | _MicrobatchSize | None
        ),
    ] = Field(
        default=None,
        description="B, examples that a worker computes at a time; auto, the default, is min(N, "
        "128), of linear layers without positions N/16 from 128 to 512, of a private job N/4 from "
        "128 to 256, of a PyTorch module N/4, but at least 16 or N/2, whichever is less, and at "
        "most 128",
    )
    epochs: Integer | None = Field(default=None, ge=1, le=10**7)
    steps: Integer | None = Field(default=None, ge=1, le=10**9)
    seed: Integer = Field(
        default=0,
        ge=0,
        lt=2**63,
        description="of the initial parameters, the split and the sample order",
    )
    precision: Precision = "float32"
    workers: Literal["auto"] | Annotated[Integer, Field(ge=0, le=4096)] | WorkerRange = Field(
        default="auto",
        description="Ray workers; 0 trains in the engine's process, auto measures what is fastest",
    )
    threads: Literal["auto"] | Annotated[Integer, Field(ge=1, le=1024)] = Field(
        default="auto", description="of each worker"
    )
    num_gpus: Number = Field(
        default=0.0,
        ge=0,
        le=16,
        description="of each worker; only a model in PyTorch uses GPUs",
    )
    shortcuts: list[ShortcutName] | None = Field(
        default=None,
        description="measured at every step; default averaged_error and mean_example, and "
        "mean_of_means when weights differ",
    )
    update: Literal["mean_gradient"] | ShortcutName = Field(
        default="mean_gradient", description="a shortcut's name trains on the shortcut instead"
    )
    early_stopping: EarlyStopping | None = Field(
        default=None, description="stops when metric has not improved for patience epochs"
    )
    keep: Kept | None = Field(
        default=None,
        description="which parameters are the job's: those of the best evaluation, by "
        "early_stopping.metric or else by validation_loss, or the last; default best where there "
        "are validation examples, else last; with noisy validation by its accuracy, default last",
    )
    class_weights: Literal["balanced"] | dict[ClassName, Number] | None = Field(
        default=None,
        description="multiply the examples' own weights, also in the validation loss (not so in "
        "Keras), not in the accuracy; only the ratios matter, weight 0 removes an example. Keys "
        "are the classes' names, or their numbers if they have none",
    )
    label_smoothing: Number = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="ε for softmax_cross_entropy: a target y becomes (1 − ε) y + ε/classes, also "
        "in the validation loss",
    )
    validation_fraction: Number = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="of the examples, held out: short for validation: {fraction: …}",
    )
    validation: Validation | None = Field(
        default=None,
        description="which examples are held out: a fraction, if you like by class or by unit, "
        "another dataset, or the rows that a column names",
    )
    initial_parameters: InitialParameters | None = Field(
        default=None, description="initial θ; in a spec file also {file: PATH}"
    )
    standardize: Truth = Field(
        default=False,
        description="inputs to mean 0, deviation 1 over the training rows, where each counts the "
        "same unless its weight is 0; in float64, then rounded to precision",
    )
    nonfinite: Literal["fail", "drop"] = Field(
        default="fail",
        description="for examples whose gradient is not finite: fail the job, or drop them; if the "
        "others have weight 0, momentum, averages and decay do not change either",
    )
    sums: SumsPrecision = Field(
        default="full",
        description="how sums of gradients are kept; bfloat16 rounds each of them, in other bits, "
        "to halve their bytes between nodes; needs precision float32",
    )
    checkpoint_interval_seconds: Number = Field(
        default=30.0, gt=0, description="time between checkpoints"
    )
    max_restarts: Integer = Field(
        default=3, ge=0, le=100, description="restarts of the engine without progress between them"
    )

    @model_validator(mode="before")
    @classmethod
    def _private_defaults(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("privacy") is not None:
            return {"nonfinite": "drop", "shortcuts": [], **value}
        return value

    @field_validator(
        "update", "shortcuts", "class_weights", "standardize", "nonfinite", "sums", mode="after"
    )
    @classmethod
    def _keeps_privacy(cls, value: Any, info: ValidationInfo) -> Any:
        start: InitialParameters | None = info.data.get("initial_parameters")
        if info.field_name == "standardize" and start and start.standardization == "keep":
            return value  # these rows are not read
        if info.data.get("privacy") is not None and info.field_name is not None:
            check_private(info.field_name, value)
        return value

    @field_validator("validation_fraction", "validation", mode="after")
    @classmethod
    def _says_what_validation_tells(cls, value: Any, info: ValidationInfo) -> Any:
        privacy: Privacy | None = info.data.get("privacy")
        if privacy is not None and value and privacy.validation is None:
            raise ValueError(
                "figures of held-out rows tell of them: say privacy.validation: public, or noisy."
            )
        return value

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.epochs is None) == (self.steps is None):
            both = "both" if self.epochs is not None else "neither"
            raise ValueError(f"got {both} of epochs and steps: give exactly one.")
        return self

    @field_validator("loss", mode="after")
    @classmethod
    def _of_layers(cls, loss: Loss | None, info: ValidationInfo) -> Loss | None:
        model: JobModel | None = info.data.get("model")
        if model is None:
            return loss  # the model has its own error
        if model.torch is None and loss is None:
            raise PydanticCustomError("missing", "loss is required: add it.")
        if model.torch is not None and loss is not None:
            raise ValueError("a PyTorch task has its own losses: remove loss.")
        return loss

    @model_validator(mode="after")
    def _of_the_kind_of_model(self) -> Self:
        if self.model.torch is None:
            if self.num_gpus:
                raise ValueError(
                    f"num_gpus is {self.num_gpus:g}, but a model with layers computes on CPUs: "
                    "remove num_gpus, or give the model in PyTorch."
                )
            return self
        if self.num_gpus and not isinstance(self.workers, int):
            raise ValueError(
                f"num_gpus is {self.num_gpus:g}, so give the number of workers, each with its own "
                "GPU: workers: 1, or 0 for the engine's process."
            )
        if self.num_gpus and self.threads not in {"auto", 1}:
            raise ValueError(
                f"threads is {self.threads}, but a worker with a GPU computes one microbatch at a "
                "time: remove threads."
            )
        for key, instead in _INSTEAD.items():
            if getattr(self, key):
                raise ValueError(f"a PyTorch task takes its inputs as they are: {instead}")
        return self

    @model_validator(mode="after")
    def _rounded_sums_are_float32(self) -> Self:
        if self.sums != "full" and self.precision != "float32":
            raise ValueError(
                f"sums is {self.sums}, precision {self.precision}: rounded sums need precision: "
                "float32; or remove sums."
            )
        return self

    @model_validator(mode="after")
    def _one_validation(self) -> Self:
        if self.validation is not None and self.validation_fraction > 0:
            raise ValueError(
                "got both of validation and validation_fraction: give only one, for example "
                f"validation: {{fraction: {self.validation_fraction:g}, stratify: true}}."
            )
        return self

    @model_validator(mode="after")
    def _early_stopping_needs_validation(self) -> Self:
        if self.early_stopping is not None and self.held_out is None:
            raise ValueError(
                "early_stopping needs validation figures, but no examples are held out: set "
                "validation_fraction, to 0.1 for example, or validation."
            )
        return self

    @model_validator(mode="after")
    def _best_needs_validation(self) -> Self:
        if self.keep == "best" and self.held_out is None:
            raise ValueError(
                "keep: best needs validation figures, but no examples are held out: set "
                "validation_fraction, to 0.1 for example, or validation, or keep: last."
            )
        return self

    @model_validator(mode="after")
    def _kept_standardization_is_used(self) -> Self:
        start = self.initial_parameters
        if start is not None and start.standardization == "keep" and not self.standardize:
            raise ValueError(
                "initial_parameters.standardization is keep, standardize is false: set "
                "standardize: true, which then takes mean and deviation from there."
            )
        return self

    @model_validator(mode="after")
    def _smoothed_labels_are_classes(self) -> Self:
        if self.loss is not None:
            check_label_smoothing(self.loss, self.label_smoothing)
        return self

    @model_validator(mode="after")
    def _sane_class_weights(self) -> Self:
        if isinstance(self.class_weights, dict):
            for label, weight in self.class_weights.items():
                if not 0 <= weight < float("inf"):
                    raise ValueError(
                        f"class_weights[{label}] is {weight}: weights are finite and at least 0."
                    )
        return self

    @property
    def network_loss(self) -> Loss:
        """The loss of a model with layers."""
        if self.loss is None:
            raise ValueError(f"the loss of {self.model.torch} is in its PyTorch task")
        return self.loss

    @property
    def held_out(self) -> Validation | None:
        """The rule by which validation examples are held out; None if none are."""
        if self.validation is None and self.validation_fraction > 0:
            return Validation(fraction=self.validation_fraction)
        return self.validation

    @property
    def best_by(self) -> ValidationMetric | None:
        """The figure that decides which parameters are kept; None if the last ones are."""
        if self.keep == "last" or self.held_out is None:
            return None
        if self.privacy is not None and self.privacy.validation == "noisy":
            return "validation_accuracy" if self.keep == "best" else None
        return self.early_stopping.metric if self.early_stopping else "validation_loss"

    def minibatch(self, training_examples: int) -> int:
        """N: the examples of a full minibatch."""
        if self.batch_size == "full":
            return training_examples
        return min(self.batch_size, training_examples)

    @property
    def microbatch(self) -> int:
        """B: the microbatch size, from the spec alone."""
        if self.batch_size == "full":
            return self.microbatch_size or DEFAULT_MICROBATCH
        if self.microbatch_size is not None:
            return min(self.batch_size, self.microbatch_size)
        return default_microbatch(
            self.batch_size,
            self.model.layers if self.model.torch is None else None,
            private=self.privacy is not None,
        )
