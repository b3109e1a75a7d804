"""The form: sections of fields, with the datasets that there are as choices."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from batchgrad.contract import Dataset
from batchgrad.display.privacy import of_dataset
from batchgrad_service.web.spec_editor.fields import Choice, Field, of_spec

_SECTIONS = {
    "Job": ("name", "dataset"),
    "Model": ("model", "loss"),
    "Optimizer": ("optimizer",),
    "Length": ("batch_size", "epochs", "steps"),
    "Validation": ("validation_fraction", "validation", "early_stopping", "keep"),
    "Shortcuts": ("shortcuts", "update"),
    "Workers": ("workers", "threads", "num_gpus"),
    "Privacy": ("privacy",),
}
_FOLDED = {"Privacy"}
_OTHERS = "More settings"


@dataclass(frozen=True)
class Section:
    """Fields with a heading; a folded one is closed until a key of it is present."""

    title: str
    fields: tuple[Field, ...]
    folded: bool = False

    @property
    def is_open(self) -> bool:
        """Whether a key of it is in the spec."""
        return any(field.present for field in self.fields)


def sections(value: Any, datasets: Sequence[Dataset]) -> list[Section]:
    """The form of a spec whose value is `value`: every key of the contract, in a section."""
    fields = {
        key: _with_datasets(field, datasets)
        for key, field in of_spec(value if isinstance(value, dict) else {}).items()
    }
    made = [
        Section(title, tuple(fields.pop(key) for key in keys), title in _FOLDED)
        for title, keys in _SECTIONS.items()
    ]
    return [*made, Section(_OTHERS, tuple(fields.values()), folded=True)]


def _with_datasets(field: Field, datasets: Sequence[Dataset]) -> Field:
    """The field, or the one inside of it, that names a dataset, as a choice of those known."""
    if field.key == "validation":
        return replace(field, parts=tuple(_with_datasets(one, datasets) for one in field.parts))
    if field.key != "dataset":
        return field
    choices = [Choice(one.name, described(one)) for one in datasets]
    return replace(field, control="choice", choices=tuple(choices))


def described(dataset: Dataset) -> str:
    """Examples, shape and targets of a dataset, and what private jobs spent on it."""
    targets = "" if dataset.target_kind is None else f" · {dataset.target_kind}"
    if dataset.classes is not None:
        targets = f" · {dataset.classes} classes"
    spent = f" · spent by private jobs: {of_dataset(dataset.privacy)}" if dataset.privacy else ""
    return f"{dataset.examples:,} examples · {_shape(dataset)}{targets}{spent}"


def _shape(dataset: Dataset) -> str:
    """The shape of an example, or of each of its arrays."""
    if dataset.target_kind is None:
        return ", ".join(f"{one.name} {one.dtype} {one.shape[1:]}" for one in dataset.arrays)
    return f"{' × '.join(map(str, dataset.input_shape or [])) or 1} inputs"
