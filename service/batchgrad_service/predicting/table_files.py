"""Batches of a file that holds a table: columns are found by their names.

Importing pyarrow takes 40 MB, which other questions need not have.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from batchgrad.contract import Table, UploadedFile
from batchgrad.parsing.wording import listed
from batchgrad_service.predicting.batches import Batch, OpenedExamples
from batchgrad_service.predicting.trained_network import TrainedNetwork
from batchgrad_service.reading.formats.format import TableFormat
from batchgrad_service.reading.rows import conformed, ignored
from batchgrad_workers.arrays import Integers
from batchgrad_workers.data.tables.fitting import gap_filling


def of_table(
    path: Path,
    file: UploadedFile,
    format_: TableFormat,
    network: TrainedNetwork,
    table: Table,
    *,
    with_targets: bool,
) -> OpenedExamples:
    """Rows of a file with the columns of `table`, the job's own.

    Raises:
        InvalidError: a column is missing; while the batches are read, a value cannot be used.
    """
    source = format_.open(path, file)
    warnings = []
    if unused := ignored(source, table):
        warnings.append(f"Columns that the job does not know were not used: {listed(unused)}.")

    def batches() -> Iterator[Batch]:
        gaps, unknown = np.zeros((2, len(table.inputs)), np.int64)
        for rows in conformed(source, table, file.text, with_targets=with_targets):
            more_gaps, more_unknown = network.unfamiliar(rows.inputs)
            gaps += more_gaps
            unknown += more_unknown
            yield Batch(rows.inputs, rows.targets, rows.weights, rows.ids)
        warnings.extend(_unfamiliar(table, gaps, unknown))

    id_name = next((x.name for x in table.columns if x.role == "id"), "id")
    return OpenedExamples(network, batches(), source.rows, id_name, warnings)


def _unfamiliar(table: Table, gaps: Integers, unknown: Integers) -> Iterator[str]:
    for index, column in enumerate(table.inputs):
        if gaps[index]:
            yield (
                f"Column {column.name} has {gaps[index]} gaps, but the job's training rows had "
                f"none: they count as {gap_filling(column, table.constant)}."
            )
        if unknown[index]:
            yield (
                f"Column {column.name} has {unknown[index]} values that no training row had: they "
                "count as no category, or as `other` if there were rare ones."
            )
