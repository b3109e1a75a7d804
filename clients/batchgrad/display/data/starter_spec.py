"""A first spec for a dataset: YAML with comments, which trains as it stands."""

import json
import re
from collections.abc import Iterator, Sequence
from math import ceil, log10, prod
from typing import TYPE_CHECKING

from batchgrad.errors import InvalidArgument

if TYPE_CHECKING:
    from batchgrad.contract import Dataset, Table

HIDDEN = (32,)

_STEPS = 20_000
"""Most steps of the job, unless one epoch has more."""

_NO_TEXTS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}
"""Words that a reader of YAML may take for other values."""

_FEW = 10
"""With fewer examples none are held out."""

_LARGE_TARGET = 10.0
"""Beyond it, a network with hidden layers would learn little but the targets' scale."""


def starter_spec(dataset: "Dataset", hidden: Sequence[int] | None = None) -> str:
    """YAML of a spec for the dataset; its keys' comments say what else may be meant.

    `hidden` are the hidden layers' widths, () for a linear network; by default one layer, or none
    where targets are large numbers. A network for pictures has two convolutions before them.

    Raises:
        InvalidArgument: a network of layers cannot be trained on the dataset.
    """
    if dataset.target_kind is None:
        found = ", ".join(array.name for array in dataset.arrays)
        raise InvalidArgument(
            f"Dataset {dataset.name} has the arrays {found}; a first spec is for a network of "
            "layers, which is trained on inputs and targets: write a spec for a PyTorch model."
        )
    targets, scale = _targets(dataset.table), _target_scale(dataset.table)
    if hidden is None:
        hidden = HIDDEN if scale == 1 and not _is_picture(dataset) else ()
    is_classes = dataset.target_kind == "classes"
    outputs = (dataset.classes or 1) if is_classes else targets
    batch_size, epochs = _length(dataset.examples)
    lines = [
        f"# A first spec for the dataset {dataset.name}: {_described(dataset)}.",
        "# Train it with: batchgrad run FILE",
        f"name: {_quoted(dataset.name)}",
        f"dataset: {_quoted(dataset.name)}",
        "model:",
        "  layers:",
        *(f"    - {layer}" for layer in _layers(dataset, hidden, outputs)),
        "loss: softmax_cross_entropy" if is_classes else "loss: squared_error",
        "optimizer:",
        "  kind: adam",
        f"  learning_rate: {_rate(scale)}",
        "  schedule: {kind: cosine}  # ends with small steps",
        f"batch_size: {batch_size}",
        f"epochs: {epochs}",
        *_validation(dataset, is_classes=is_classes),
        f"standardize: true  # {_standardized(dataset)}",
    ]
    return "\n".join(lines) + "\n"


def _described(dataset: "Dataset") -> str:
    shape = " × ".join(map(str, _shape(dataset)))
    if dataset.target_kind != "classes":
        return f"{dataset.examples} examples, {shape} inputs, numbers as targets"
    names = dataset.table.classes if dataset.table else None
    shown = "" if names is None else f" ({_one_line(', '.join(names))})"
    return f"{dataset.examples} examples, {shape} inputs, {dataset.classes} classes{shown}"


def _layers(dataset: "Dataset", hidden: Sequence[int], outputs: int) -> Iterator[str]:
    shape = _shape(dataset)
    if _is_picture(dataset):
        yield "{kind: conv2d, out_channels: 16, kernel_size: 3, padding: 1}"
        yield "{kind: relu}"
        yield "{kind: max_pool2d, kernel_size: 2}"
        yield "{kind: conv2d, out_channels: 32, kernel_size: 3, padding: 1}"
        yield "{kind: relu}"
        if prod(shape[1:]) > 32**2:
            yield "{kind: max_pool2d, kernel_size: 2}"
    if len(shape) > 1:
        yield "{kind: flatten}"
    for width in hidden:
        yield f"{{kind: linear, out_features: {width}}}"
        yield "{kind: relu}"
    each = "class" if dataset.target_kind == "classes" else "number of the target"
    yield f"{{kind: linear, out_features: {outputs}}}  # an output for each {each}"


def _validation(dataset: "Dataset", *, is_classes: bool) -> Iterator[str]:
    roles = {column.role: column.name for column in dataset.table.columns} if dataset.table else {}
    if "split" in roles:
        yield f"validation: {{rows: {_quoted(roles['split'])}}}  # as this column says"
    elif dataset.examples >= _FEW:
        drawn = "by_unit: true" if "unit" in roles else "stratify: true" if is_classes else ""
        rule = ", ".join(filter(None, ["fraction: 0.2", drawn]))
        yield f"validation: {{{rule}}}  # held out; the job keeps what is best on them"


def _standardized(dataset: "Dataset") -> str:
    if dataset.table is not None and dataset.table.columns:
        return "numbers and dates to mean 0, deviation 1; texts become 0 and 1"
    if "int" in (dataset.input_dtype or "") and len(_shape(dataset)) == 1:
        return "if inputs are ids: no, and an embedding as the first layer"
    return "inputs to mean 0, deviation 1"


def _length(examples: int) -> tuple[int, int]:
    """Batch size and epochs."""
    batch_size = 64 if examples < 20_000 else 256 if examples < 500_000 else 1024
    return batch_size, max(1, min(30, _STEPS // ceil(examples / batch_size)))


def _targets(table: "Table | None") -> int:
    """The number of target columns; 1 where that is not known."""
    return max(1, len(table.targets)) if table is not None else 1


def _target_scale(table: "Table | None") -> float:
    """A power of ten near the largest target; 1 for classes, small numbers and unknown ones."""
    if table is None or table.classes is not None:
        return 1.0
    ends = [abs(end) for each in table.targets for end in (each.lowest, each.highest) if end]
    largest = max(ends, default=1.0)
    return 1.0 if largest <= _LARGE_TARGET else 10.0 ** round(log10(largest))


def _rate(scale: float) -> str:
    if scale == 1:
        return "0.01"
    return f"{scale * 0.01:.10g}  # for a linear network, and targets of about {scale:.10g}"


def _is_picture(dataset: "Dataset") -> bool:
    return len(_shape(dataset)) == 3 and min(_shape(dataset)[1:]) >= 4


def _shape(dataset: "Dataset") -> list[int]:
    return dataset.input_shape or []


def _quoted(text: str) -> str:
    """A text as YAML takes it: in quotes unless it can be nothing but a text."""
    plain = re.fullmatch(r"[A-Za-z][\w-]*", text, re.ASCII)
    return text if plain and text.lower() not in _NO_TEXTS else json.dumps(text)


def _one_line(text: str) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= 60 else plain[:59] + "…"
