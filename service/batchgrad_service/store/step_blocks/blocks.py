"""The table `step_blocks`: packed rows of consecutive steps, thinned as they grow old.

A block covers the steps `first` to `last` of a job and keeps rows of some of them; a job's blocks
do not overlap. A block of level k keeps the rows of steps that are multiples of 2^k, and 8 bytes of
every step's checksum, so that a replay of any step can be verified. A block is `due` for the next
level 2^k hours after its newest row, by the times of the job's own steps; the blocks of the first
steps are never due.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from batchgrad_engine import step_columns
from batchgrad_engine.step_columns import Columns
from batchgrad_service.store.schema import step_blocks
from batchgrad_service.store.step_blocks.joining import join
from batchgrad_service.store.step_blocks.packing import Row as StepDict
from batchgrad_service.store.step_blocks.packing import pack, pack_columns, unpack

FIRST_STEPS = 1000
"""The rows of these steps are never thinned: users look at them most."""

UNTHINNED_HOURS = 1
"""Rows newer than this are not thinned."""

MOST_ROWS = 4096
"""The most rows in a block."""

JOINED_BLOCKS = 16
"""The most blocks that are joined at a time."""

CHECKSUM_BYTES = 8
UNKNOWN = bytes(CHECKSUM_BYTES)


@dataclass(frozen=True)
class Block:
    """A row of the table, without its data."""

    last: int
    first: int
    kept: int
    level: int
    due: datetime | None

    @property
    def steps_a_row(self) -> float:
        """How many steps each row represents."""
        return (self.last - self.first + 1) / self.kept if self.kept else 0.0


BLOCK_COLUMNS = tuple(step_blocks.c[name] for name in ("last", "first", "kept", "level", "due"))


def put(connection: Connection, job_id: str, rows: list[StepDict], *, exact: bool) -> None:
    """Store rows, sorted by step, in place of rows of the same steps; `exact`: as float64."""
    steps = [row["step"] for row in rows]
    _make_room(connection, job_id, steps, exact=exact)
    for part in _parts(steps):
        data = pack(rows[part], exact=exact)
        _append(connection, job_id, steps[part], rows[part][-1]["time"], data)


def put_columns(connection: Connection, job_id: str, parts: list[Columns], *, exact: bool) -> None:
    """Store rows that come by columns, as `put` stores rows."""
    if len(parts) != 1:
        return put(connection, job_id, list(chain(*map(step_columns.rows_of, parts))), exact=exact)
    [columns] = parts
    steps = columns["step"]
    _make_room(connection, job_id, steps, exact=exact)
    for part in _parts(steps):
        data = pack_columns(step_columns.cut(columns, part), exact=exact)
        newest = step_columns.row_at(columns, part.stop - 1)["time"]
        _append(connection, job_id, steps[part], newest, data)
    return None


def blocks_after(connection: Connection, job_id: str, after: int) -> list[Block]:
    """Return the blocks with steps after `after`, in order."""
    query = (
        select(*BLOCK_COLUMNS)
        .where(step_blocks.c.job_id == job_id, step_blocks.c.last > after)
        .order_by(step_blocks.c.last)
    )
    return [block_of(row) for row in connection.execute(query)]


def rows_of(
    connection: Connection,
    job_id: str,
    block: Block,
    places: list[int] | slice = slice(None),
    *,
    rounded: bool = True,
) -> list[StepDict]:
    """Return a block's rows, or those at `places`; `rounded` as in `unpack`."""
    if not block.kept:
        return []
    return unpack(data_of(connection, job_id, block), places, rounded=rounded)


def data_of(connection: Connection, job_id: str, block: Block) -> bytes:
    """Return a block's packed rows."""
    query = select(step_blocks.c.data).where(
        step_blocks.c.job_id == job_id, step_blocks.c.last == block.last
    )
    data: bytes = connection.execute(query).scalar_one()
    return data


def checksum(connection: Connection, job_id: str, step: int) -> tuple[bool, str | None]:
    """Return whether the step was recorded, and its checksum (its first 16 digits if thinned)."""
    for block, data, checksums in blocks_with_data(
        connection, job_id, from_step=step, upto_step=step
    ):
        if block.kept:
            for row in unpack(data):
                if row["step"] == step:
                    return True, row.get("gradient_checksum")
        if checksums is not None:
            known = _part(checksums, block, step, step) or UNKNOWN
            return True, None if known == UNKNOWN else known.hex()
    return False, None


def _make_room(connection: Connection, job_id: str, steps: Sequence[int], *, exact: bool) -> None:
    """Remove the rows of these steps, which are consecutive."""
    if not steps:
        return
    first, last = steps[0], steps[-1]
    for block, data, checksums in blocks_with_data(
        connection, job_id, from_step=first, upto_step=last
    ):
        drop(connection, job_id, block)
        old = unpack(data, rounded=False) if block.kept else []
        for begin, end in ((block.first, first - 1), (last + 1, block.last)):
            if begin <= end:
                piece = [row for row in old if begin <= row["step"] <= end]
                left = Block(end, begin, len(piece), block.level, block.due)
                known = _part(checksums, block, begin, end)
                insert_rows(connection, job_id, left, piece, known, exact=exact)


def _parts(steps: Sequence[int]) -> list[slice]:
    """Where to cut rows of these steps into blocks."""
    beginning = bisect_right(steps, FIRST_STEPS)
    bounds = (0, beginning), (beginning, len(steps))
    return [
        slice(at, min(at + MOST_ROWS, end))
        for begin, end in bounds
        for at in range(begin, end, MOST_ROWS)
    ]


def _append(
    connection: Connection, job_id: str, steps: Sequence[int], newest: datetime, data: bytes
) -> None:
    """Insert packed rows of steps after all others, and join the small blocks at the end."""
    first, last = steps[0], steps[-1]
    due = None if last <= FIRST_STEPS else newest + timedelta(hours=UNTHINNED_HOURS)
    _insert_packed(connection, job_id, Block(last, first, len(steps), 0, due), data, None)
    query = (
        select(*BLOCK_COLUMNS)
        .where(step_blocks.c.job_id == job_id, step_blocks.c.last <= last)
        .order_by(step_blocks.c.last.desc())
        .limit(JOINED_BLOCKS)
    )
    if joinable := _joinable([block_of(row) for row in connection.execute(query)]):
        begin, end = joinable[-1], joinable[0]
        found = blocks_with_data(connection, job_id, from_step=begin.first, upto_step=end.last)
        for block, _, _ in found:
            drop(connection, job_id, block)
        kept = sum(block.kept for block in joinable)
        made = Block(end.last, begin.first, kept, 0, end.due)
        _insert_packed(connection, job_id, made, join([data for _, data, _ in found]), None)


def _joinable(blocks: list[Block]) -> list[Block]:
    """Return those of the last blocks, the newest first, that are joined now; [] if none is.

    As in a binary counter, a block is joined once as many rows follow it. So a row is packed
    again only a few times, whether reports have one row or a thousand.
    """
    group = blocks[:1]
    total = group[0].kept
    for block in blocks[1:]:
        after = group[-1]
        total += block.kept
        if (
            block.level
            or block.kept * 2 > total
            or total > MOST_ROWS
            or block.last + 1 != after.first
            or not near(block, group[0])
        ):
            break
        group.append(block)
    return group if len(group) > 1 else []


def near(older: Block, newer: Block) -> bool:
    """Whether the times of two blocks are close enough for one block, which is thinned at once."""
    if older.level != newer.level or older.due is None or newer.due is None:
        return older.due is newer.due
    return newer.due - older.due <= timedelta(hours=UNTHINNED_HOURS) * 2**older.level / 4


def insert_rows(
    connection: Connection,
    job_id: str,
    block: Block,
    rows: list[StepDict],
    checksums: bytes | None,
    *,
    exact: bool,
) -> None:
    """Insert a block with these rows, and with the checksums of thinned steps."""
    data = pack(rows, exact=exact) if rows else b""
    _insert_packed(connection, job_id, block, data, checksums)


def _insert_packed(
    connection: Connection, job_id: str, block: Block, data: bytes, checksums: bytes | None
) -> None:
    connection.execute(
        insert(step_blocks).values(
            job_id=job_id,
            last=block.last,
            first=block.first,
            kept=block.kept,
            level=block.level,
            due=block.due,
            data=data,
            checksums=checksums,
        )
    )


def drop(connection: Connection, job_id: str, block: Block) -> None:
    """Delete a block."""
    connection.execute(
        delete(step_blocks).where(step_blocks.c.job_id == job_id, step_blocks.c.last == block.last)
    )


def blocks_with_data(
    connection: Connection, job_id: str, *, from_step: int, upto_step: int
) -> list[tuple[Block, bytes, bytes | None]]:
    """Return the blocks that cover any of these steps, with their data and checksums."""
    query = (
        select(*BLOCK_COLUMNS, step_blocks.c.data, step_blocks.c.checksums)
        .where(step_blocks.c.job_id == job_id, step_blocks.c.last >= from_step)
        .where(step_blocks.c.first <= upto_step)
        .order_by(step_blocks.c.last)
    )
    return [(block_of(row), row.data, row.checksums) for row in connection.execute(query)]


def block_of(row: Any) -> Block:
    """Make a Block from a row with the columns BLOCK_COLUMNS."""
    return Block(row.last, row.first, row.kept, row.level, row.due)


def _part(checksums: bytes | None, block: Block, begin: int, end: int) -> bytes | None:
    """Return the checksums of the steps `begin` to `end`."""
    if checksums is None:
        return None
    return checksums[
        (begin - block.first) * CHECKSUM_BYTES : (end - block.first + 1) * CHECKSUM_BYTES
    ]
