"""A job's curves: its steps in buckets, kept in the table `step_curves` and extended from blocks.

The table has the buckets of a job's first steps, up to step `upto`, so that neither a million rows
are read for each chart, nor extremes are lost when rows are thinned out. It is extended before
rows are thinned, and when many steps that it lacks are asked for.
"""

from dataclasses import dataclass

import numpy as np
import orjson
from sqlalchemy import Connection, delete, func, insert, select

from batchgrad_service.store.schema import step_blocks, step_curves
from batchgrad_service.store.step_blocks import blocks
from batchgrad_service.store.step_blocks.charted import charted_columns
from batchgrad_service.store.step_blocks.grid import Buckets, width_of

MOST_LACKING = 16_384
"""So many steps after `upto` are read from their blocks for each answer."""

EXTENDED_ROWS = 32_768
"""About as many rows are read in one transaction, while others wait to write."""


@dataclass(frozen=True)
class Stored:
    """The buckets of the steps up to `upto`, a multiple of their width."""

    upto: int
    buckets: Buckets


def last_step(connection: Connection, job_id: str) -> int:
    """Return the last step that has been stored; 0 for none."""
    query = select(func.max(step_blocks.c.last)).where(step_blocks.c.job_id == job_id)
    return connection.execute(query).scalar() or 0


def covered(connection: Connection, job_id: str) -> int:
    """Return `upto` of the stored buckets; 0 for none."""
    query = select(step_curves.c.upto).where(step_curves.c.job_id == job_id)
    return connection.execute(query).scalar() or 0


def read(connection: Connection, job_id: str, begin: int, width: int) -> Buckets:
    """Return the buckets after step `begin`, a multiple of `width`, up to the last step.

    `width` is at least that of the stored buckets.
    """
    if begin >= covered(connection, job_id):
        return _of_blocks(connection, job_id, begin)[0].widened(width)
    stored = _stored(connection, job_id)
    at = stored.buckets.width
    rest, last = _of_blocks(connection, job_id, stored.upto)
    every = Buckets.joined([stored.buckets, rest.widened(at)], at).widened(width)
    return every.within(begin, last)


def cover(connection: Connection, job_id: str, step: int) -> bool:
    """Extend the stored buckets past the step; False if its bucket may still grow."""
    upto, before = covered(connection, job_id), -1
    while before < upto < step:
        before, upto = upto, extend(connection, job_id)
    return upto >= step


def lacking(connection: Connection, job_id: str) -> bool:
    """Whether the stored buckets lack so many steps that they should be extended."""
    last = last_step(connection, job_id)
    return last - covered(connection, job_id) >= MOST_LACKING + width_of(last)


def extend(connection: Connection, job_id: str) -> int:
    """Extend the stored buckets by at least one, by about EXTENDED_ROWS rows; return their end.

    The last bucket may still grow, so it is left out.
    """
    width = width_of(last_step(connection, job_id))
    stored = _stored(connection, job_id)
    more, last = _of_blocks(connection, job_id, stored.upto, enough=stored.upto + width)
    end = last // width * width
    if end <= stored.upto:
        return stored.upto
    at = stored.buckets.width
    added = more.within(stored.upto, end).widened(at)
    _write(connection, job_id, end, Buckets.joined([stored.buckets, added], at).widened(width))
    return end


def cut(connection: Connection, job_id: str, first: int) -> None:
    """Forget the buckets of the steps from `first` on, which are computed again.

    A bucket that lacks rows of its earlier steps, since they were thinned out, stays as it is: the
    steps come out the same, and nothing else has its extremes.
    """
    if covered(connection, job_id) >= first:
        kept = _stored(connection, job_id).buckets
        end = (first - 1) // kept.width * kept.width
        for block in blocks.blocks_after(connection, job_id, end):
            if block.first < first and block.level:
                end = -(-first // kept.width) * kept.width
        _write(connection, job_id, end, kept.within(0, end))


def _of_blocks(
    connection: Connection, job_id: str, after: int, enough: int | None = None
) -> tuple[Buckets, int]:
    """Return the steps after `after` as buckets of width 1, and the last step that they cover.

    With `enough`, stop after EXTENDED_ROWS rows once that step is covered.
    """
    parts: list[Buckets] = []
    rows, last = 0, after
    for block in blocks.blocks_after(connection, job_id, after):
        if block.kept:
            columns = charted_columns(blocks.data_of(connection, job_id, block))
            new = columns["step"] > after
            parts.append(Buckets.of_rows({name: one[new] for name, one in columns.items()}))
        rows, last = rows + block.kept, block.last
        if enough is not None and rows >= EXTENDED_ROWS and last >= enough:
            break
    return Buckets.joined(parts, 1), last


def _stored(connection: Connection, job_id: str) -> Stored:
    query = select(step_curves).where(step_curves.c.job_id == job_id)
    row = connection.execute(query).first()
    if row is None:
        return Stored(0, Buckets.joined([], 1))
    names = orjson.loads(row.names)
    numbers = np.frombuffer(row.data, "<f8").reshape(1 + 4 * len(names), -1)
    figures = {name: numbers[1 + 4 * i : 5 + 4 * i] for i, name in enumerate(names)}
    return Stored(row.upto, Buckets(row.width, numbers[0].astype(np.int64), figures))


def _write(connection: Connection, job_id: str, upto: int, buckets: Buckets) -> None:
    numbers = np.concatenate([buckets.index[np.newaxis], *buckets.figures.values()])
    connection.execute(delete(step_curves).where(step_curves.c.job_id == job_id))
    connection.execute(
        insert(step_curves).values(
            job_id=job_id,
            upto=upto,
            width=buckets.width,
            names=orjson.dumps(list(buckets.figures)).decode(),
            data=numbers.astype("<f8").tobytes(),
        )
    )
