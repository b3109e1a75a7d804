"""Tables: what a user says about a file's columns, and what a dataset keeps of them."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from batchgrad.contract.wire import Answer, Integer, Number, Truth, Wire

__all__ = [
    "Column",
    "ColumnKind",
    "ColumnRole",
    "DateRule",
    "EncodedInput",
    "Encoding",
    "MissingRule",
    "PictureOptions",
    "Table",
    "TableOptions",
    "TextOptions",
]

ColumnKind = Literal["number", "boolean", "category", "date"]
ColumnRole = Literal["input", "target", "weight", "id", "unit", "split"]
"""A unit is what several rows belong to, a person for example; a split names a row's set."""

MissingRule = Literal["refuse", "mean", "median", "constant", "indicator"]
DateRule = Literal["days", "parts"]

ColumnName = Annotated[str, StringConstraints(min_length=1, max_length=1024)]


class TableOptions(Wire):
    """What each column of a table is; columns that are not named are inputs."""

    target: ColumnName | list[ColumnName] | None = Field(
        default=None, description="the column to predict; several columns are several numbers"
    )
    target_kind: Literal["classes", "numbers"] | None = Field(
        default=None,
        description="default classes for text, booleans and integers of at most 20 different "
        "values, else numbers",
    )
    weight: ColumnName | None = Field(default=None, description="each row's weight, 0 or more")
    id: ColumnName | None = Field(
        default=None, description="names a row in lists and predictions; not an input"
    )
    units: ColumnName | None = Field(
        default=None, description="what rows belong to, a person for example; not an input"
    )
    split: ColumnName | None = Field(
        default=None,
        description="names each row's set: train, validation or test (or true for validation)",
    )
    drop: list[ColumnName] = Field(default=[], description="columns that are not used")
    kinds: dict[ColumnName, ColumnKind] = Field(
        default={}, description="columns that are not what their values look like"
    )
    missing: MissingRule | dict[ColumnName, MissingRule] = Field(
        default="refuse",
        description="gaps are refused, or filled by the training rows' mean or median or by "
        "`constant`; indicator fills by the mean and adds an input that is 1 in a gap, to columns "
        "that have gaps. A gap in a category is a category of its own. A gap in later rows, in a "
        "column without gaps, is filled by the same rule (by the mean if that refuses) and told",
    )
    constant: Number = Field(default=0.0, description="fills gaps where `missing` is constant")
    missing_target: Literal["refuse", "drop"] = Field(
        default="refuse", description="rows without a target are refused, or left out"
    )
    dates: DateRule = Field(
        default="days",
        description="a date becomes days since 1970, or year, month, day, weekday and, if there "
        "are times, hour",
    )
    max_categories: Integer = Field(
        default=100, ge=2, le=10_000, description="a text column with more is refused"
    )
    rare: Integer = Field(
        default=1,
        ge=1,
        description="categories with fewer training rows become one category, `other`",
    )


class TextOptions(Wire):
    """How a CSV file is written; what is not given is recognised from its first lines."""

    delimiter: Annotated[str, StringConstraints(min_length=1, max_length=1)] | None = None
    decimal: Literal[".", ","] = "."
    encoding: str = "utf-8"
    headings: Truth = Field(default=True, description="whether the first line names the columns")
    gaps: list[Annotated[str, StringConstraints(max_length=256)]] = Field(
        default=[],
        max_length=256,
        description="more texts that mean a missing value; in CSV nothing, NA, N/A, NaN, null, ? "
        "and the like do",
    )
    day_first: Truth | None = Field(
        default=None, description="whether 3/4/2026 is 3 April; needed if no day is above 12"
    )


class PictureOptions(Wire):
    """How pictures become arrays (channels, height, width) of bytes, 0 to 255."""

    size: tuple[Integer, Integer] | None = Field(
        default=None, description="height and width; other pictures are resized to it"
    )
    mode: Literal["rgb", "gray"] = "rgb"


class Column(Answer):
    """A column of a table that a dataset keeps, and what was found in it.

    `categories` are the texts of a category column, in the order of their codes. `inputs` are the
    names of the network's inputs that the column becomes; [] for other roles. `missing_rule` also
    says what fills gaps of later rows in a column that has none.
    """

    name: str
    role: ColumnRole
    kind: ColumnKind
    missing: int = Field(description="rows without a value")
    missing_rule: MissingRule = "refuse"
    categories: list[str] | None = None
    lowest: float | None = None
    highest: float | None = None
    has_times: bool = False
    date_form: Literal["iso", "day_first", "month_first"] | None = Field(
        default=None, description="how a date's texts are written, if they are texts"
    )
    inputs: list[str] = Field(default=[])


class Table(Answer):
    """The columns of a dataset that was made from a table.

    The stored inputs (n, c) have one number for each column with role input, in this order:
    a number or boolean itself, a category's code, days since 1970 of a date; NaN in a gap. A job
    encodes them for its network by statistics of its training rows. `classes` are the names of
    the classes 0, 1, …, if targets are classes.
    """

    columns: list[Column]
    classes: list[str] | None = None
    dropped: list[str] = Field(default=[], description="columns of the file that are not used")
    constant: float = 0.0
    dates: DateRule = "days"
    rare: int = 1
    warnings: list[str] = Field(default=[], description="what is probably not meant")

    @property
    def inputs(self) -> list[Column]:
        """The columns of the stored inputs, in order."""
        return [column for column in self.columns if column.role == "input"]

    @property
    def targets(self) -> list[Column]:
        """The columns of the targets, in order."""
        return [column for column in self.columns if column.role == "target"]


class EncodedInput(Answer):
    """One input of a job's network, and how a table's column gives it.

    value, and the parts of a date: (x - mean) / deviation of the column's number x, or of `fill`
    in a gap. match: 1 if the text is one of `categories`, in a gap if `gaps`, and for a text that
    no other input of the column names if `unknown`; else 0.
    """

    name: str
    column: str
    takes: Literal["value", "year", "month", "day", "weekday", "hour", "match"]
    fill: float = 0.0
    mean: float = 0.0
    deviation: float = 1.0
    categories: list[str] = Field(default=[])
    gaps: bool = False
    unknown: bool = False


class Encoding(Answer):
    """How a job turns a table's rows into the inputs of its network, in their order.

    The numbers are statistics of the job's training rows. `table` is that of its dataset.
    """

    table: Table
    inputs: list[EncodedInput]

    @property
    def by_column(self) -> dict[str, list[tuple[int, EncodedInput]]]:
        """Each column's inputs, with their numbers."""
        found: dict[str, list[tuple[int, EncodedInput]]] = {}
        for index, each in enumerate(self.inputs):
            found.setdefault(each.column, []).append((index, each))
        return found
