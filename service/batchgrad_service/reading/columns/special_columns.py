"""Check the columns that are no inputs: weights, names of rows, units, sets."""

from batchgrad.contract.tables import ColumnRole
from batchgrad_service.reading.columns.facts import Facts, First
from batchgrad_service.reading.columns.kinds import Kinds, refused
from batchgrad_service.reading.values.split_column import EXPECTED, set_of

MOST_ID_BYTES = 256
_OPTIONS = {"id": "--id", "unit": "--units", "split": "--split", "weight": "--weight"}


def check_weight(facts: Facts, kinds: Kinds) -> None:
    """Raise InvalidError unless all rows have a finite weight of 0 or more, one more than 0."""
    _refuse_gaps(facts, kinds, "weight", "a row that does not count has weight 0")
    if facts.type not in {"number", "text"}:
        raise refused(
            f"--weight {facts.name}: column {facts.name} holds {facts.type}s: a weight is a "
            "number, 0 or more. Name another column."
        )
    kinds.decide(facts, "number")
    if facts.negative.row is not None:
        raise refused(
            f"--weight {facts.name}: the weight is {facts.negative.value} in "
            f"{kinds.place(facts.negative)}: weights are 0 or more. Correct it, or name another "
            "column."
        )
    if facts.numbers.highest == 0:
        raise refused(
            f"--weight {facts.name}: all weights are 0, so there is no mean: give at least one row "
            "a weight above 0, or leave out --weight."
        )


def check_ids(facts: Facts, kinds: Kinds, role: ColumnRole) -> None:
    """Raise InvalidError unless each row has an id, or unit, of some 256 bytes at most."""
    what = "name" if role == "id" else "unit"
    _refuse_gaps(facts, kinds, role, f"give each row a {what}, or leave out {_OPTIONS[role]}")
    if facts.longest_bytes > MOST_ID_BYTES:
        raise refused(
            f"{_OPTIONS[role]} {facts.name}: a text has {facts.longest_bytes} bytes, at most "
            f"{MOST_ID_BYTES} are possible: name a column of short names, or leave out "
            f"{_OPTIONS[role]} and --drop {facts.name}."
        )


def check_split(facts: Facts, kinds: Kinds) -> None:
    """Raise InvalidError unless each row names a set, and some rows are for training."""
    _refuse_gaps(facts, kinds, "split", f"write {EXPECTED}")
    rows = facts.distinct.rows
    wrong = [word for word in rows if set_of(word) is None]
    if facts.distinct.counts is None or wrong:
        text = wrong[0] if wrong else facts.distinct.sample[0]
        where = f" in {kinds.place(First(rows[text]))}" if text in rows else ""
        raise refused(
            f"--split {facts.name}: {text[:80]!r}{where} names no set: expected {EXPECTED}. "
            "Correct it, or leave out --split."
        )
    if 0 not in {set_of(word) for word in rows}:
        raise refused(
            f"--split {facts.name}: no row is for training, all are {', '.join(sorted(rows))}: "
            f"write {EXPECTED}."
        )


def _refuse_gaps(facts: Facts, kinds: Kinds, role: ColumnRole, remedy: str) -> None:
    if facts.gaps:
        raise refused(
            f"{_OPTIONS[role]} {facts.name}: there is no value in {facts.gaps} rows, first in "
            f"{kinds.place(facts.gap)}: {remedy}."
        )
