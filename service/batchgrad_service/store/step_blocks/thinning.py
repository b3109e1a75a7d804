"""Thin old blocks of step rows: keep every second row, later every fourth, and so on."""

from datetime import datetime, timedelta

from sqlalchemy import Connection, select

from batchgrad_service.store.schema import step_blocks
from batchgrad_service.store.step_blocks import curves
from batchgrad_service.store.step_blocks.blocks import (
    BLOCK_COLUMNS,
    CHECKSUM_BYTES,
    JOINED_BLOCKS,
    MOST_ROWS,
    UNKNOWN,
    UNTHINNED_HOURS,
    Block,
    block_of,
    blocks_with_data,
    drop,
    insert_rows,
    near,
)
from batchgrad_service.store.step_blocks.packing import Row as StepDict
from batchgrad_service.store.step_blocks.packing import unpack

THINNED_ROWS = MOST_ROWS
"""How many rows are thinned at a time, while others wait to write."""


def thin(connection: Connection, job_id: str, now: datetime, *, exact: bool) -> None:
    """Thin some of the blocks that are due, the oldest first; `now` is the newest row's time."""
    thinned = 0
    while thinned < THINNED_ROWS and (group := _due(connection, job_id, now)):
        if not curves.cover(connection, job_id, group[-1].last):
            break  # until the bucket is complete: charts show its extremes
        _thin(connection, job_id, group, exact=exact)
        thinned += 1 + sum(block.kept for block in group)


def _due(connection: Connection, job_id: str, now: datetime) -> list[Block]:
    """Return consecutive blocks that are due and can be thinned into one block."""
    query = (
        select(*BLOCK_COLUMNS)
        .where(step_blocks.c.job_id == job_id, step_blocks.c.due <= now)
        .order_by(step_blocks.c.due, step_blocks.c.last)
        .limit(JOINED_BLOCKS)
    )
    group: list[Block] = []
    for block in map(block_of, connection.execute(query)):
        if group and not (
            block.first == group[-1].last + 1
            and sum(each.kept for each in group) + block.kept <= MOST_ROWS
            and near(group[0], block)
        ):
            break
        group.append(block)
    return group


def _thin(connection: Connection, job_id: str, group: list[Block], *, exact: bool) -> None:
    begin, end = group[0], group[-1]
    level = begin.level + 1
    rows: list[StepDict] = []
    checksums = b""
    for block, data, kept in blocks_with_data(
        connection, job_id, from_step=begin.first, upto_step=end.last
    ):
        old = unpack(data, rounded=False) if block.kept else []
        rows += [row for row in old if row["step"] % 2**level == 0]
        checksums += kept or _checksums(block, old)
        drop(connection, job_id, block)
    if end.due is None:
        raise ValueError("Only a block that is due is thinned.")
    due = end.due + timedelta(hours=UNTHINNED_HOURS * 2**begin.level)
    made = Block(end.last, begin.first, len(rows), level, due)
    insert_rows(connection, job_id, made, rows, checksums, exact=exact)


def _checksums(block: Block, rows: list[StepDict]) -> bytes:
    """Return the first bytes of each step's checksum; zeros for a step without one."""
    known = {row["step"]: row.get("gradient_checksum") for row in rows}
    parts = [
        bytes.fromhex(text)[:CHECKSUM_BYTES] if (text := known.get(step)) else UNKNOWN
        for step in range(block.first, block.last + 1)
    ]
    return b"".join(parts)
