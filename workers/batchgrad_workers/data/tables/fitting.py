"""Fit a table's encoding: statistics of the training rows, read in chunks."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from batchgrad.contract import EncodedInput, Encoding, Table
from batchgrad_workers.arrays import Array, Integers
from batchgrad_workers.data.standardization import Standardization
from batchgrad_workers.data.tables.encoding import TableEncoding
from batchgrad_workers.data.tables.medians import medians
from batchgrad_workers.data.tables.network_inputs import network_inputs

RawChunks = Callable[[], Iterator[npt.NDArray[Any]]]


def fit_encoding(
    table: Table,
    inputs: npt.NDArray[Any],
    rows: Integers,
    *,
    standardize: bool,
    chunk: int = 4096,
) -> TableEncoding:
    """The encoding by the statistics of the stored rows `inputs[rows]`, (n, columns).

    Each row counts the same. A few chunks are in memory, and 1 MiB for each input that is filled by
    its median. An input that would be 0 in every training row (a gap, a text that they lack) stays
    0, since its weights are not trained. `standardize`: numbers, dates and their parts.
    """

    def chunks() -> Iterator[npt.NDArray[Any]]:
        for start in range(0, len(rows), chunk):
            yield inputs[rows[start : start + chunk]]

    found = [each for column in table.inputs for each in network_inputs(column, table.dates)]
    numbers = [index for index, each in enumerate(found) if each.takes != "match"]
    filled = _filled(table, [found[index] for index in numbers], chunks)
    if standardize:
        filled = _standardized(table, filled, chunks)
    for index, each in zip(numbers, filled, strict=True):
        found[index] = each
    gaps, counts = _counts(table, chunks)
    matched = [
        _matching(table, each, gaps[each.column], counts.get(each.column, {})) for each in found
    ]
    return TableEncoding.of(Encoding(table=table, inputs=matched))


def _filled(table: Table, inputs: list[EncodedInput], chunks: RawChunks) -> list[EncodedInput]:
    """The number inputs with what fills their gaps."""
    rules = {column.name: column.missing_rule for column in table.inputs}
    open_ = [each.model_copy(update={"fill": np.nan}) for each in inputs]
    means = Standardization.over(_encoded(table, open_, chunks), (len(inputs),)).mean
    wanted = [n for n, each in enumerate(inputs) if rules[each.column] == "median"]
    middle = medians(_encoded(table, [open_[n] for n in wanted], chunks), len(wanted))
    fills = means.tolist()
    for n, median in zip(wanted, middle.tolist(), strict=True):
        fills[n] = median
    return [
        each.model_copy(
            update={"fill": table.constant if rules[each.column] == "constant" else fill}
        )
        for each, fill in zip(inputs, fills, strict=True)
    ]


def _standardized(
    table: Table, inputs: list[EncodedInput], chunks: RawChunks
) -> list[EncodedInput]:
    """Those that are not booleans with mean and deviation, gaps being filled."""
    booleans = {column.name for column in table.inputs if column.kind == "boolean"}
    of = Standardization.over(_encoded(table, inputs, chunks), (len(inputs),))
    return [
        each
        if each.column in booleans
        else each.model_copy(update={"mean": mean, "deviation": deviation})
        for each, mean, deviation in zip(
            inputs, of.mean.tolist(), of.deviation.tolist(), strict=True
        )
    ]


def _encoded(
    table: Table, inputs: list[EncodedInput], chunks: RawChunks
) -> Callable[[], Iterator[Array]]:
    encoding = TableEncoding.of(Encoding(table=table, inputs=inputs))
    return lambda: (encoding.apply(part, np.float64) for part in chunks())


def _counts(table: Table, chunks: RawChunks) -> tuple[dict[str, int], dict[str, dict[str, int]]]:
    """Per column its gaps, and how often it has each of its categories."""
    columns = table.inputs
    gaps = np.zeros(len(columns), np.int64)
    found = {
        index: np.zeros(len(column.categories or []), np.int64)
        for index, column in enumerate(columns)
        if column.kind == "category"
    }
    for part in chunks():
        missing = np.isnan(part)
        gaps += missing.sum(axis=0)
        for index, total in found.items():
            codes = part[~missing[:, index], index].astype(np.int64)
            total += np.bincount(codes, minlength=len(total))  # noqa: PLW2901 (in place)
    return (
        {column.name: int(count) for column, count in zip(columns, gaps, strict=True)},
        {
            columns[index].name: dict(
                zip(columns[index].categories or [], counts.tolist(), strict=True)
            )
            for index, counts in found.items()
        },
    )


def _matching(table: Table, each: EncodedInput, gaps: int, counts: dict[str, int]) -> EncodedInput:
    """An input with the categories, gaps and unknown texts that it has in the training rows."""
    if each.takes != "match":
        return each
    rare = [text for text, count in counts.items() if 0 < count < table.rare]
    if each.unknown:
        return each.model_copy(update={"categories": rare, "unknown": bool(rare)})
    if each.gaps:
        return each.model_copy(update={"gaps": gaps > 0})
    kept = [text for text in each.categories if counts[text] >= table.rare]
    return each.model_copy(update={"categories": kept})
