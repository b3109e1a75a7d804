"""The part of a job that its workers need: what they open, and how they gather its rows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TypeAlias, cast

from batchgrad.contract import Loss, Model, Precision, ShortcutName, SumsPrecision, Validation
from batchgrad_workers.arrays import Array, Integers
from batchgrad_workers.data.dataset import StoredDataset
from batchgrad_workers.data.examples import EvaluationSet, Examples, NetworkExamples
from batchgrad_workers.data.input_transform import InputTransform
from batchgrad_workers.data.sampler import Sampler
from batchgrad_workers.data.source import DatasetSource, open_dataset
from batchgrad_workers.data.split import split, unit_numbers
from batchgrad_workers.data.tables.encoding import TableEncoding
from batchgrad_workers.module_config import ModuleConfig
from batchgrad_workers.nn.losses import LOSSES
from batchgrad_workers.nn.network import Network
from batchgrad_workers.nn.trainable import TrainableNetwork
from batchgrad_workers.privacy.config import PrivateWork
from batchgrad_workers.privacy.sampling import PoissonSampler
from batchgrad_workers.runtime.build_info import build_info
from batchgrad_workers.trainable import MeansTrainable

JobTrainable: TypeAlias = TrainableNetwork | MeansTrainable
"""A network of layers, or a PyTorch module."""


@dataclass(frozen=True)
class WorkerConfig:
    """What a worker needs to know of a job; sent once. `module` is that of a model in PyTorch."""

    model: Model
    loss: Loss | None
    precision: Precision
    dataset: DatasetSource
    seed: int
    validation: Validation | None
    validation_dataset: DatasetSource | None
    batch_size: int
    microbatch_size: int
    class_weights: Array | None
    transform: InputTransform | None
    shortcuts: tuple[ShortcutName, ...]
    drop_nonfinite: bool
    label_smoothing: float = 0.0
    module: ModuleConfig | None = None
    private: PrivateWork | None = None
    sums: SumsPrecision = "full"

    def for_other_hosts(self) -> "WorkerConfig":
        """The same, with the code of a module that only this host has."""
        if self.module is None or self.module.code is None:
            return self
        code = self.module.code.with_content()
        return replace(self, module=replace(self.module, code=code))

    def build_info(self) -> dict[str, str]:
        """The libraries and the hardware that decide the bits."""
        return {**build_info(), **(self.module.build if self.module else {})}

    def sampler(self, dataset: StoredDataset, present: Integers | None) -> Sampler:
        """The split and the minibatches of the rows `present`; None: of all rows."""
        rows = split(self.validation, dataset, seed=self.seed, present=present)
        if self.private is None:
            return Sampler(rows, seed=self.seed, batch_size=self.batch_size)
        return PoissonSampler(
            rows,
            seed=self.seed,
            batch_size=self.batch_size,
            key=self.private.sampling_key,
            units=unit_numbers(dataset) if self.private.by_unit else None,
        )

    def trainable(self, dataset: StoredDataset) -> JobTrainable:
        """The job's model, bound to the shapes of its dataset."""
        with_means = wants_means(self.shortcuts)
        with_microbatch_means = "mean_of_means" in self.shortcuts
        if self.module is not None:
            configuring = import_module("batchgrad_workers.torch.configuring")
            return cast(
                "MeansTrainable",
                configuring.open_module(
                    self.module,
                    precision=self.precision,
                    seed=self.seed,
                    with_means=with_means,
                    with_microbatch_means=with_microbatch_means,
                    private=self.private is not None,
                ),
            )
        if self.loss is None:
            raise ValueError("A model with layers needs a loss.")
        return TrainableNetwork(
            Network(self.model, dataset.input_shape),
            LOSSES[self.loss],
            with_means=with_means,
            with_microbatch_means=with_microbatch_means,
        )

    def examples(self, dataset: StoredDataset, model: JobTrainable) -> Examples:
        """The rows of a dataset as the job's model takes them."""
        if not isinstance(model, TrainableNetwork):
            torch_examples = import_module("batchgrad_workers.torch.examples")
            return cast(
                "Examples",
                torch_examples.ModuleExamples(
                    dataset, model.task, self.precision, private=self.private is not None
                ),
            )
        return NetworkExamples(
            dataset,
            network=model.network,
            loss=model.loss,
            dtype=self.precision,
            transform=self.transform,
            class_weights=self.class_weights,
            label_smoothing=self.label_smoothing,
        )

    def evaluation_set(
        self, examples: Examples, sampler: Sampler, model: JobTrainable
    ) -> EvaluationSet:
        """The validation rows of the job's own `examples`, or all of its other dataset's."""
        if self.validation_dataset is None:
            return EvaluationSet(examples, sampler.validation)
        other = open_dataset(self.validation_dataset).renumbered(examples.class_names)
        config = self
        if isinstance(self.transform, TableEncoding) and other.table is not None:
            config = replace(self, transform=self.transform.compiled(other.table))
        return config.examples(other, model).all_present()


def wants_means(shortcuts: Sequence[ShortcutName]) -> bool:
    """True if a shortcut needs mean inputs and errors; mean_of_means does not."""
    return any(name != "mean_of_means" for name in shortcuts)
