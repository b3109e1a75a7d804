"""The inputs of a network that each column of a table becomes, known before any training row."""

from batchgrad.contract import Column, DateRule, EncodedInput

PARTS = ("year", "month", "day", "weekday")
"""What a date becomes by the rule `parts`; Monday is weekday 0."""


def network_inputs(column: Column, dates: DateRule = "days") -> list[EncodedInput]:
    """The inputs of a column with role input; [] for other roles.

    An input for gaps is there only if the dataset has some in the column. Categories that turn out
    to be rare, and statistics, are added by `fit_encoding`.
    """
    if column.role != "input":
        return []
    name = column.name
    if column.kind == "category":
        return _of_category(column)
    if column.kind == "date" and dates == "parts":
        parts = (*PARTS, "hour") if column.has_times else PARTS
        found = [EncodedInput(name=f"{name} {x}", column=name, takes=x) for x in parts]
    else:
        found = [EncodedInput(name=name, column=name, takes="value")]
    if column.missing and column.missing_rule == "indicator":
        found.append(_matching(column, f"{name} is missing", gaps=True))
    return found


def input_names(column: Column, dates: DateRule = "days") -> list[str]:
    """The names of `network_inputs`, to be kept as the column's `inputs`."""
    return [each.name for each in network_inputs(column, dates)]


def _of_category(column: Column) -> list[EncodedInput]:
    found = [
        _matching(column, f"{column.name}={text}", categories=[text])
        for text in column.categories or []
    ]
    if column.missing:
        found.append(_matching(column, f"{column.name}=(missing)", gaps=True))
    return [*found, _matching(column, f"{column.name}=(other)", unknown=True)]


def _matching(
    column: Column,
    name: str,
    *,
    categories: list[str] | None = None,
    gaps: bool = False,
    unknown: bool = False,
) -> EncodedInput:
    return EncodedInput(
        name=name,
        column=column.name,
        takes="match",
        categories=categories or [],
        gaps=gaps,
        unknown=unknown,
    )
