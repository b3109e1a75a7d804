"""Datasets of the service, and what private jobs have spent on them."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from batchgrad.contract.tables import Table
from batchgrad.contract.wire import Answer

__all__ = ["ArrayInfo", "Dataset", "DatasetPrivacy"]


class ArrayInfo(Answer):
    """An array of a dataset: its name, numpy's name of its type, and its shape (n, …)."""

    name: str
    dtype: str
    shape: list[int]


class DatasetPrivacy(Answer):
    """What private jobs have spent on a dataset's rows, deleted jobs too.

    ε and δ of jobs add up: `epsilon` and `delta` are the sums, with all planned steps of jobs
    that run. Jobs that would exceed `budget` are refused; null: none is set.
    """

    jobs: int
    epsilon: float
    delta: float
    budget: float | None


class Dataset(Answer):
    """A dataset; `digest` identifies its content.

    `arrays` are those that a model may see, `inputs` and `targets` too. `input_shape` is of a
    network's inputs: of a table, the number of inputs into which its columns are encoded.
    `input_shape` and `input_dtype` are null without an array `inputs`, and `target_kind` is null
    if a network of layers cannot be trained on the dataset: without `inputs` or `targets`, or if
    targets are neither classes (n,) nor numbers (n,) or (n, out).
    """

    name: str
    digest: str
    examples: int
    input_shape: list[int] | None
    input_dtype: str | None
    target_kind: Literal["classes", "values"] | None
    classes: int | None
    weighted: bool
    bytes: int
    created_at: datetime
    table: Table | None = None
    arrays: list[ArrayInfo] = Field(default=[])
    privacy: DatasetPrivacy | None = None
