"""Open the examples to predict or evaluate: rows, arrays, a file or a dataset."""

import json
import os
from pathlib import Path
from typing import Any

from batchgrad.contract import UploadedFile
from batchgrad.contract.operations import NO_DIGEST
from batchgrad_service.predicting.arrays import of_dataset, of_unpacked
from batchgrad_service.predicting.batches import Batch, OpenedExamples
from batchgrad_service.predicting.tasks import (
    DatasetData,
    DataTask,
    FileData,
    InputsData,
    RowsData,
)
from batchgrad_service.predicting.trained_network import TrainedNetwork
from batchgrad_service.problems import InvalidError
from batchgrad_service.validation.arrays import numbers


def examples(task: DataTask, network: TrainedNetwork, *, with_targets: bool) -> OpenedExamples:
    """Open the examples of a task.

    Raises:
        InvalidError: they do not fit the network; also while the batches are read.
    """
    match task:
        case DatasetData():
            return of_dataset(task, network, with_targets=with_targets)
        case InputsData():
            given = numbers(task.inputs, "/inputs")
            network.check(given)
            return OpenedExamples(network, iter([Batch(given)]), len(given))
        case RowsData():
            return _of_rows(task.rows, network)
        case FileData():
            return _of_file(task, network, with_targets=with_targets)


def _of_rows(rows: list[dict[str, Any]], network: TrainedNetwork) -> OpenedExamples:
    """Read the rows as a file of JSON lines, which exists in memory alone."""
    if network.table is None:
        raise InvalidError.field(
            "/rows", "The job was trained on arrays, which have no columns: give inputs."
        )
    if not rows:
        raise InvalidError.field("/rows", "There are no rows: give at least one.")
    descriptor = os.memfd_create("rows")
    with os.fdopen(descriptor, "wb") as memory:
        for row in rows:
            memory.write(json.dumps(row).encode() + b"\n")
        memory.flush()
        path = Path(f"/proc/self/fd/{descriptor}")
        file = UploadedFile(upload=NO_DIGEST, format="jsonl")
        data = FileData(file=file, path=path, scratch=path, max_bytes=0)
        found = _of_file(data, network, with_targets=False)
        batches = list(found.batches)  # as long as the file exists
        return OpenedExamples(network, iter(batches), len(rows), found.id_name, found.warnings)


def _of_file(data: FileData, network: TrainedNetwork, *, with_targets: bool) -> OpenedExamples:
    # pyarrow takes 40 MB, which other questions and the service need not have.
    from batchgrad_service.predicting.table_files import of_table  # noqa: PLC0415
    from batchgrad_service.reading.formats.format import TableFormat  # noqa: PLC0415
    from batchgrad_service.reading.formats.recognition import recognised  # noqa: PLC0415
    from batchgrad_service.reading.formats.registry import FORMATS  # noqa: PLC0415

    path, file, table = data.path, data.file, network.table
    format_ = FORMATS[recognised(path, file)]
    if isinstance(format_, TableFormat):
        if table is None:
            raise InvalidError.field(
                "/file",
                f"The job was trained on arrays of shape {network.training.input_shape}, but the "
                f"file is a table ({format_.title}): send npz, or pictures if it learned from "
                "them.",
            )
        return of_table(path, file, format_, network, table, with_targets=with_targets)
    names = format_.unpack(
        path,
        data.scratch,
        file,
        max_bytes=data.max_bytes,
        purpose="evaluation" if with_targets else "prediction",
    )
    return of_unpacked(data.scratch, network, names, with_targets=with_targets)
