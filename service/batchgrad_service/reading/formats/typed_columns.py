"""Convert the columns of typed files to a few types: numbers, booleans, texts and dates."""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from batchgrad_service.problems import InvalidError

MOST_BYTES = 2**23
MOST_ROWS = 2**16
"""In a batch."""

_PLAIN = (pa.null(), pa.bool_(), pa.float32(), pa.float64(), pa.string(), pa.date32())
_CONVERTED = (
    (types.is_large_string, pa.string()),
    (types.is_string_view, pa.string()),
    (types.is_binary, pa.string()),
    (types.is_large_binary, pa.string()),
    (types.is_binary_view, pa.string()),
    (types.is_float16, pa.float32()),
    (types.is_decimal, pa.float64()),
    (types.is_date64, pa.date32()),
)


def plain_batch(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return columns of integers, float32, float64, bool, string, date32, timestamp[us], null.

    Timestamps with a zone become UTC. Null is the only gap: NaN becomes null.

    Raises:
        InvalidError: a column has lists or other values that are no number, text or date.
    """
    names = batch.schema.names
    columns = [_plain(*named) for named in zip(names, batch.columns, strict=True)]
    return pa.RecordBatch.from_arrays(columns, names=names)


def slices(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a batch of any size, at most some 8 MB at a time."""
    rows = max(1, min(MOST_ROWS, MOST_BYTES * batch.num_rows // max(batch.nbytes, 1)))
    for first in range(0, batch.num_rows, rows):
        yield batch.slice(first, rows)


def check_type(name: str, found: pa.DataType) -> None:
    """Raise InvalidError if a column of this type can't be used."""
    _plain_type(name, found)


def _plain(name: str, column: pa.Array) -> pa.Array:
    target = _plain_type(name, column.type)
    while isinstance(column, pa.ExtensionArray):
        column = column.storage
    if types.is_run_end_encoded(column.type):
        column = pc.run_end_decode(column)
    if types.is_dictionary(column.type):
        texts = _plain(name, column.dictionary)  # some types can be cast, but not be taken from
        column = pa.DictionaryArray.from_arrays(column.indices, texts)
    if column.type != target:
        try:
            column = column.cast(target, safe=not types.is_timestamp(target))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise InvalidError.field(
                "/file",
                f"Column {name!r} holds a value that cannot be read as {target} ({error!s:.150}); "
                f"correct it, or leave the column out: --drop {name!r}.",
            ) from error
    if types.is_floating(target):
        return pc.if_else(pc.is_nan(column), pa.scalar(None, target), column)
    return column


def _plain_type(name: str, found: pa.DataType) -> pa.DataType:
    """Return the type that a column of type `found` is converted to."""
    if isinstance(found, pa.BaseExtensionType):
        return _plain_type(name, found.storage_type)
    if types.is_dictionary(found) or types.is_run_end_encoded(found):
        return _plain_type(name, found.value_type)
    if types.is_integer(found) or found in _PLAIN:
        return found
    if types.is_timestamp(found):
        return pa.timestamp("us", None if found.tz is None else "UTC")
    for is_such, plain in _CONVERTED:
        if is_such(found):
            return plain
    raise InvalidError.field(
        "/file",
        f"Column {name!r} holds values of type {found!s:.60}, expected numbers, booleans, texts or "
        f"dates: write {_remedy(found)}, or leave it out: --drop {name!r}.",
    )


def _remedy(found: pa.DataType) -> str:
    if types.is_duration(found) or types.is_time(found) or types.is_interval(found):
        return "it as a number, of seconds for example"
    if types.is_nested(found):
        return (
            "each number in it as a column of its own (lists of one length as an array of an npz)"
        )
    return "it as text or numbers"
