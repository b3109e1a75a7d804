"""Data frames of pandas and polars, tables of pyarrow, datasets of Hugging Face: as Arrow files.

A frame of pandas without pyarrow becomes a CSV file.
"""

import importlib
import importlib.util
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from batchgrad.data.source import Source, temporary_file
from batchgrad.errors import InvalidArgument

_ROWS = 10_000
_NAME = "frame.arrow"


@contextmanager
def from_pandas(frame: Any) -> Iterator[Source]:
    """A DataFrame; its index is left out, unless it has a name."""
    if not hasattr(frame, "columns"):
        raise InvalidArgument("data is a pandas Series; expected a DataFrame: series.to_frame().")
    named = any(name is not None for name in frame.index.names)
    with temporary_file() as file:
        if importlib.util.find_spec("pyarrow") is None:
            frame.to_csv(file, index=named)
            yield Source(file, "frame.csv", "csv")
        else:
            arrow = importlib.import_module("pyarrow")
            with _refusals(arrow):
                columns = frame.reset_index() if named else frame
                table = arrow.Table.from_pandas(columns, preserve_index=False)
            _write(arrow, file, table.schema, table.to_batches(_ROWS))
            yield Source(file, _NAME, "arrow")


@contextmanager
def from_polars(frame: Any) -> Iterator[Source]:
    """A DataFrame or a LazyFrame."""
    collected = frame.collect() if hasattr(frame, "collect") else frame
    if not hasattr(collected, "write_ipc"):
        raise InvalidArgument("data is a polars Series; expected a DataFrame: series.to_frame().")
    with temporary_file() as file:
        collected.write_ipc(file)
        yield Source(file, _NAME, "arrow")


@contextmanager
def from_arrow(table: Any) -> Iterator[Source]:
    """A Table, a RecordBatch or a RecordBatchReader."""
    arrow = importlib.import_module("pyarrow")
    if not hasattr(table, "schema"):
        raise InvalidArgument(f"data is pyarrow's {type(table).__name__}; expected a Table.")
    batches = table.to_batches(_ROWS) if hasattr(table, "to_batches") else table
    if isinstance(table, arrow.RecordBatch):
        batches = [table]
    with temporary_file() as file:
        _write(arrow, file, table.schema, batches)
        yield Source(file, _NAME, "arrow")


@contextmanager
def from_hugging_face(dataset: Any) -> Iterator[Source]:
    """A Dataset, in pieces: it may be larger than the memory."""
    if not hasattr(dataset, "with_format") or not hasattr(dataset, "column_names"):
        raise InvalidArgument(f"data is a {type(dataset).__name__}; expected a Dataset.")
    if isinstance(dataset, dict):
        splits = ", ".join(map(str, dataset))
        raise InvalidArgument(f"data is a DatasetDict ({splits}): give one of its datasets.")
    arrow = importlib.import_module("pyarrow")
    importlib.import_module("pyarrow.compute")
    names = {
        key: feature.names
        for key, feature in (getattr(dataset, "features", None) or {}).items()
        if type(feature).__name__ == "ClassLabel" and feature.names
    }
    pieces = (
        _named(arrow, table, names) for table in dataset.with_format("arrow").iter(batch_size=_ROWS)
    )
    first = next(pieces, None)
    if first is None:
        raise InvalidArgument("data is a Dataset without rows.")
    with temporary_file() as file:
        _write(arrow, file, first.schema, _batches(first, pieces))
        yield Source(file, _NAME, "arrow")


def _named(arrow: Any, table: Any, names: Mapping[str, Any]) -> Any:
    """The table with the names of classes instead of their numbers; -1 is no class."""
    for key, classes in names.items():
        numbers = table[key].combine_chunks()
        present = arrow.compute.if_else(arrow.compute.less(numbers, 0), None, numbers)
        texts = arrow.array(classes, arrow.string()).take(present)
        table = table.set_column(table.column_names.index(key), key, texts)
    return table


def _batches(first: Any, others: Iterator[Any]) -> Iterator[Any]:
    yield from first.to_batches()
    for table in others:
        yield from table.to_batches()


def _write(arrow: Any, file: Any, schema: Any, batches: Any) -> None:
    with _refusals(arrow), arrow.ipc.new_file(file, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)


@contextmanager
def _refusals(arrow: Any) -> Iterator[None]:
    """Raise InvalidArgument for columns that Arrow cannot hold, such as mixed types."""
    try:
        yield
    except (arrow.ArrowException, TypeError, ValueError) as error:
        raise InvalidArgument(
            f"data cannot be converted to Arrow: {error!s:.300}. Make each column one kind: "
            "numbers, texts, booleans or dates, with a name of its own."
        ) from error
