"""Fit a table's encoding: statistics of the training rows, read in chunks."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from batchgrad.contract import Column, EncodedInput, Encoding, Table
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

    gaps, counts = _counts(table, chunks)
    found = [each for column in table.inputs for each in network_inputs(column, table.dates)]
    numbers = [index for index, each in enumerate(found) if each.takes != "match"]
    filled = _numbers(table, [found[n] for n in numbers], gaps, chunks, standardize=standardize)
    for index, each in zip(numbers, filled, strict=True):
        found[index] = each
    matched = [
        _matching(each, table.rare, gaps[each.column], counts.get(each.column, {}))
        for each in found
    ]
    return TableEncoding.of(Encoding(table=table, inputs=matched))


def gap_filling(column: Column, constant: float) -> str:
    """What an unexpected gap in a column becomes, in words."""
    if column.kind == "category":
        return "no category, or `other` if there are rare ones"
    if column.missing_rule == "constant":
        return f"the constant {constant:g}"
    return f"the training rows' {'median' if column.missing_rule == 'median' else 'mean'}"


def _numbers(
    table: Table,
    inputs: list[EncodedInput],
    gaps: dict[str, int],
    chunks: RawChunks,
    *,
    standardize: bool,
) -> list[EncodedInput]:
    """Inputs that are numbers, with what fills their gaps, and mean and deviation after filling."""
    columns = {column.name: column for column in table.inputs}
    rules = [columns[each.column].missing_rule for each in inputs]
    bare = [each.model_copy(update={"fill": np.nan}) for each in inputs]
    statistics = _statistics(table, bare, chunks)
    fills = [
        table.constant if rule == "constant" else mean
        for rule, (mean, _) in zip(rules, statistics, strict=True)
    ]
    wanted = [n for n, rule in enumerate(rules) if rule == "median"]
    if wanted:
        middle = medians(_encoded(table, [bare[n] for n in wanted], chunks), len(wanted))
        for n, median in zip(wanted, middle.tolist(), strict=True):
            fills[n] = median
    filled = [
        each.model_copy(update={"fill": fill}) for each, fill in zip(inputs, fills, strict=True)
    ]
    if not standardize:
        return filled
    changed = [n for n, each in enumerate(filled) if gaps[each.column]]
    if changed:
        for n, found in zip(
            changed, _statistics(table, [filled[n] for n in changed], chunks), strict=True
        ):
            statistics[n] = found
    return [
        each
        if columns[each.column].kind == "boolean"
        else each.model_copy(update={"mean": mean, "deviation": deviation})
        for each, (mean, deviation) in zip(filled, statistics, strict=True)
    ]


def _statistics(
    table: Table, inputs: list[EncodedInput], chunks: RawChunks
) -> list[tuple[float, float]]:
    """Mean and deviation of each input."""
    of = Standardization.over(_encoded(table, inputs, chunks), (len(inputs),))
    return list(zip(of.mean.tolist(), of.deviation.tolist(), strict=True))


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


def _matching(each: EncodedInput, least: int, gaps: int, counts: dict[str, int]) -> EncodedInput:
    """An input with its categories, gaps and unknown texts in the training rows.

    A category with fewer than `least` rows is rare.
    """
    if each.takes != "match":
        return each
    if each.unknown:
        rare = [text for text, count in counts.items() if 0 < count < least]
        return each.model_copy(update={"categories": rare, "unknown": bool(rare)})
    if each.gaps:
        return each.model_copy(update={"gaps": gaps > 0})
    kept = [text for text in each.categories if counts[text] >= least]
    return each.model_copy(update={"categories": kept})
