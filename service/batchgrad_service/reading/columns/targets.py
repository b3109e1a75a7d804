"""Decide what the target columns are: classes with names, or numbers."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from batchgrad.contract.tables import TableOptions
from batchgrad.parsing.wording import listed
from batchgrad_service.reading.columns.facts import Facts
from batchgrad_service.reading.columns.kinds import Found, Kinds, refused
from batchgrad_service.reading.values.texts import TRUE

MOST_INTEGER_CLASSES = 20
"""A target of integers with more different values is a number."""

FEW_ROWS = 5
"""Fewer rows of a class are told."""

_SHOWN = 5


@dataclass(frozen=True)
class Targets:
    """The kind of each target column; `classes` are their names, None if targets are numbers."""

    found: dict[str, Found]
    classes: list[str] | None
    single: bool
    warnings: list[str] = field(default_factory=list)


def decide_targets(columns: list[Facts], kinds: Kinds, options: TableOptions) -> Targets:
    """Decide; several columns are numbers.

    Raises:
        InvalidError: a gap, a date, too many classes, texts where numbers are needed.
    """
    found = {}
    for facts in columns:
        _refuse_gaps(facts, kinds)
        found[facts.name] = _kind(facts, kinds, options)
    if len(columns) == 1 and _are_classes(columns[0], found[columns[0].name], options):
        names = _names(columns[0], found[columns[0].name], options)
        return Targets(found, list(names), True, list(_doubts(columns[0], names)))
    for facts in columns:
        _check_number(facts, found[facts.name], len(columns), options)
    single = all(facts.type == "boolean" or facts.numbers.single for facts in columns)
    return Targets(found, None, single, list(_constant(columns)))


def _refuse_gaps(facts: Facts, kinds: Kinds) -> None:
    if not facts.values:
        raise refused(
            f"--target {facts.name}: the column has no value in any row: name another column, or "
            "fill it in."
        )
    if facts.gaps:
        raise refused(
            f"--target {facts.name}: there is no value in {facts.gaps} of "
            f"{facts.gaps + facts.values} rows, first in {kinds.place(facts.gap)}: leave such rows "
            "out with --missing-target drop, or fill it in."
        )


def _kind(facts: Facts, kinds: Kinds, options: TableOptions) -> Found:
    given = options.kinds.get(facts.name)
    texts = facts.distinct.counts
    if given is None and facts.type == "text" and facts.truths == facts.values and texts:
        # yes and no keep their names, which predictions show; true and false are booleans
        given = "boolean" if {text.lower() for text in texts} <= {"true", "false"} else "category"
    found = kinds.decide(facts, given)
    if found.kind == "date":
        raise refused(
            f"--target {facts.name}: the column holds dates: a target is a class or a number. "
            "Store a number instead, days until the date for example, or name another column."
        )
    return found


def _are_classes(facts: Facts, found: Found, options: TableOptions) -> bool:
    if options.target_kind is not None:
        return options.target_kind == "classes"
    if found.kind != "number":
        return True
    numbers = _integers(facts)
    return numbers is not None and len(numbers) <= MOST_INTEGER_CLASSES


def _integers(facts: Facts) -> dict[int, int] | None:
    """The different integers and their rows; None if there are other numbers, or too many."""
    if facts.distinct.counts is None or not facts.numbers.integers:
        return None
    found: dict[int, int] = {}
    for text, count in facts.distinct.counts.items():
        number = int(float(text.replace(",", ".")))
        found[number] = found.get(number, 0) + count
    return found


def _names(facts: Facts, found: Found, options: TableOptions) -> dict[str, int]:
    """The names of the classes in their order, with the rows of each."""
    counts = facts.distinct.counts or {}
    if found.kind == "boolean":
        true = sum(n for text, n in counts.items() if text.lower() in {*TRUE, "1"})
        return {"false": facts.values - true, "true": true}
    if found.kind == "category":
        return {name: counts[name] for name in found.categories}
    numbers = _integers(facts)
    if numbers is None or len(numbers) > options.max_categories:
        problem = (
            f"more than {options.max_categories} different integers"
            if facts.numbers.integers
            else "numbers that are no integers"
        )
        raise refused(
            f"--target {facts.name} with --target-kind classes: the column has {problem}: give "
            "--target-kind numbers to predict the number itself, or raise --max-categories."
        )
    return {str(number): numbers[number] for number in sorted(numbers)}


def _check_number(facts: Facts, found: Found, columns: int, options: TableOptions) -> None:
    if found.kind == "category":
        why = "--target-kind numbers" if columns == 1 else f"one of {columns} targets"
        remedy = "remove --target-kind" if columns == 1 else "name one --target for classes"
        first = (found.categories or ["?"])[0]
        raise refused(
            f"--target {facts.name}, {why}: the column holds texts such as {first[:80]!r}, and "
            f"numbers are needed: {remedy}."
        )
    if columns > 1 and options.target_kind == "classes":
        raise refused(
            f"--target-kind classes needs one target column, there are {columns}: name one, or "
            "remove --target-kind."
        )


def _doubts(facts: Facts, names: dict[str, int]) -> Iterator[str]:
    present = {name: count for name, count in names.items() if count}
    if len(present) == 1:
        yield (
            f"The target {facts.name} is {next(iter(present))!r} in all rows, so there is nothing "
            "to learn: check the file, or name another --target."
        )
        return
    few = [f"{name} ({count})" for name, count in present.items() if count < FEW_ROWS]
    if few:
        yield (
            f"Some classes of the target {facts.name} have few rows: "
            f"{listed(few, _SHOWN)}. They can hardly be learned, and may be missing "
            "among the validation rows: join them with others, or collect more."
        )


def _constant(columns: list[Facts]) -> Iterator[str]:
    for facts in columns:
        if facts.type != "boolean" and facts.numbers.lowest == facts.numbers.highest:
            yield (
                f"The target {facts.name} is {facts.numbers.lowest:g} in all rows, so there is "
                "nothing to learn: check the file, or name another --target."
            )
