"""The rule by which a job holds out validation examples."""

from typing import Self

from pydantic import Field, model_validator

from batchgrad.contract.tables import ColumnName
from batchgrad.contract.wire import Name, Number, Truth, Wire, exactly_one

__all__ = ["Validation"]


class Validation(Wire):
    """The validation examples; give exactly one of fraction, dataset, rows.

    `stratify` and `by_unit` say how a fraction is drawn.
    """

    fraction: Number | None = Field(
        default=None, gt=0, lt=1, description="of the examples, rounded down, drawn by seed"
    )
    dataset: Name | None = Field(
        default=None, description="another dataset, all of it; of a table with the same columns"
    )
    rows: ColumnName | None = Field(
        default=None,
        description="the column that names each row's set, which `datasets push --split` gave; "
        "rows of the set test are neither trained on nor validated",
    )
    stratify: Truth = Field(
        default=False, description="hold out the same fraction of each class, as nearly as possible"
    )
    by_unit: Truth = Field(
        default=False,
        description="hold out the fraction of the dataset's units, each with all its rows, so that "
        "no unit is both trained on and validated",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        given = exactly_one(self, "fraction", "dataset", "rows")
        drawn = [key for key in ("stratify", "by_unit") if getattr(self, key)]
        if drawn and self.fraction is None:
            raise ValueError(f"{drawn[0]} needs fraction, but {given} names the examples.")
        if len(drawn) > 1:
            raise ValueError("got stratify and by_unit: set only one of them.")
        return self
