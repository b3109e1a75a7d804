"""Decide a column's kind from what was found in it; refuse what is probably a mistake."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from batchgrad.contract.tables import ColumnKind, TextOptions
from batchgrad_service.problems import InvalidError
from batchgrad_service.reading.columns.facts import Facts, First
from batchgrad_service.reading.table_source import TableSource
from batchgrad_service.reading.values.texts import (
    ALMOST_NUMBERS,
    DATE_EXAMPLES,
    FALSE,
    TRUE,
    DateForm,
)

MOST = 0.95
"""If more of a column's texts are numbers, or dates, the others are probably mistakes."""

_ZERO_ONE = {"0", "1"}


@dataclass(frozen=True)
class Found:
    """A column's kind; `form` of a date that is a text, `categories` of a category."""

    kind: ColumnKind
    form: DateForm | None = None
    categories: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Kinds:
    """Decides kinds; messages name the places of `source`."""

    source: TableSource
    text: TextOptions
    max_categories: int

    def decide(self, facts: Facts, given: ColumnKind | None) -> Found:
        """Return the kind of a column that has values, the `given` one if it fits.

        Raises:
            InvalidError: it does not fit, some values differ from the others, there are too many
                texts for a category, or numbers that no float64 holds.
        """
        kind = given or self._likely(facts)
        match kind:
            case "number":
                return self._number(facts)
            case "boolean":
                return self._boolean(facts)
            case "date":
                return self._date(facts)
            case _:
                return self._category(facts)

    def at(self, first: First) -> str:
        """Say where a value is, and what it is: 'abc' in row 3 (line 4)."""
        return f"{first.value[:80]!r} in {self.place(first)}"

    def place(self, first: First) -> str:
        """Say where a value is."""
        return self.source.place(first.row or 1)

    def _likely(self, facts: Facts) -> ColumnKind:
        if facts.type == "text":
            return self._likely_of_texts(facts)
        return facts.type or "category"

    def _likely_of_texts(self, facts: Facts) -> ColumnKind:
        every, numbers = facts.values, facts.numbers.count
        if numbers == every:
            return "number"
        if facts.truths == every:
            return "boolean"
        dates = {form: facts.dates[form].count for form in self._forms()}
        if every in dates.values():
            return "date"
        almost = max(facts.almost, key=lambda name: facts.almost[name])
        if facts.almost[almost] and numbers + facts.almost[almost] > MOST * every:
            raise self._almost(facts, almost)
        if numbers > MOST * every:
            raise self._no_number(facts)
        if max(dates.values()) > MOST * every:
            raise self._no_date(facts)
        slashed = max(count for form, count in dates.items() if form != "iso")
        if dates["iso"] and slashed and dates["iso"] + slashed > MOST * every:
            raise refused(
                f"Column {facts.name} has dates in more than one form, "
                f"{self.at(facts.no_date['iso'])} beside dates like 2026-11-28: write all like "
                f"2026-11-28, or leave the column out with --drop {facts.name}."
            )
        return "category"

    def _forms(self) -> Iterator[DateForm]:
        yield "iso"
        if self.text.day_first in {None, True}:
            yield "day_first"
        if self.text.day_first in {None, False}:
            yield "month_first"

    def _number(self, facts: Facts) -> Found:
        name = facts.name
        if facts.type == "date":
            raise refused(
                f"--as {name}=number: column {name} holds dates, not numbers: a date becomes days "
                f"since 1970 by itself, so remove --as {name}=number."
            )
        if facts.type == "text" and facts.numbers.count < facts.values:
            raise self._no_number(facts)
        if facts.infinite.row is not None:
            raise refused(
                f"Column {name} is {facts.infinite.value} in {self.place(facts.infinite)}, not a "
                f"finite number: correct it, or leave the column out with --drop {name}."
                + f" If it means a gap: --gap {facts.infinite.value}."
                * (facts.type == "text")
            )
        if facts.inexact.row is not None and facts.numbers.integers:
            raise refused(
                f"Column {name} is {facts.inexact.value} in {self.place(facts.inexact)}: integers "
                "from 2^53 (9007199254740992) on are not exact as numbers. If it names the row: "
                f"--id {name}; if it is a code: --as {name}=category; else --drop {name}."
            )
        return Found("number")

    def _boolean(self, facts: Facts) -> Found:
        zero_one = facts.distinct.counts is not None and set(facts.distinct.counts) <= _ZERO_ONE
        if facts.type in {"text", "number"} and not zero_one and facts.truths < facts.values:
            wrong = f", but {self.at(facts.no_truth)}" if facts.no_truth.row is not None else ""
            words = ", ".join((*TRUE, *FALSE))
            raise refused(
                f"--as {facts.name}=boolean: column {facts.name} is not boolean throughout{wrong}: "
                f"expected one of {words}, or 0 and 1 alone. Correct it, or remove "
                f"--as {facts.name}=boolean."
            )
        if facts.type == "date":
            raise refused(
                f"--as {facts.name}=boolean: column {facts.name} holds dates: remove "
                f"--as {facts.name}=boolean."
            )
        return Found("boolean")

    def _date(self, facts: Facts) -> Found:
        name = facts.name
        if facts.type in {"number", "boolean"}:
            raise refused(
                f"--as {name}=date: column {name} holds {facts.type}s: a date is a text like "
                f"2026-11-28, or has a date's type in the file. Remove --as {name}=date; a number "
                "of days or seconds is a good input as it is."
            )
        if facts.type == "date":
            return Found("date")
        forms = [form for form in self._forms() if facts.dates[form].count == facts.values]
        if len(forms) == 2:
            raise refused(
                f"Column {name} has dates like {self.at(facts.no_date['iso'])}, and no day is "
                "above 12: is the day or the month first? Give --day-first or --month-first, or "
                "write 2026-11-28."
            )
        if not forms:
            raise self._no_date(facts)
        return Found("date", forms[0])

    def _category(self, facts: Facts) -> Found:
        name, distinct = facts.name, facts.distinct
        if distinct.counts is None or len(distinct.counts) > self.max_categories:
            shown = ", ".join(
                repr(text[:40]) for text in (distinct.sample or list(distinct.rows)[:3])
            )
            raise refused(
                f"Column {name} has more than {self.max_categories} different texts ({shown}, …), "
                "too many for categories, and free text is not read: leave it out with "
                f"--drop {name}, name the rows by it with --id {name}, or take more categories, as "
                f"in --max-categories {min(10_000, 10 * self.max_categories)}."
            )
        return Found("category", categories=sorted(distinct.counts))

    def _no_number(self, facts: Facts) -> InvalidError:
        name, first = facts.name, facts.no_number
        likely = max(facts.almost, key=lambda kind: facts.almost[kind])
        if facts.almost[likely]:
            return self._almost(facts, likely)
        gap = f", or if it means a gap: --gap {first.value[:80]!r}" if facts.type == "text" else ""
        return refused(
            f"Column {name} is {self.at(first)}, but a number in {facts.numbers.count} of "
            f"{facts.values} rows: correct it{gap}. If the column is a code and no quantity: "
            f"--as {name}=category."
        )

    def _almost(self, facts: Facts, kind: str) -> InvalidError:
        _, remedy = ALMOST_NUMBERS[kind]
        return refused(
            f"Column {facts.name} is {self.at(facts.no_number)}, a number with {kind}: {remedy}. "
            f"If the column is a code and no quantity: --as {facts.name}=category."
        )

    def _no_date(self, facts: Facts) -> InvalidError:
        form = max(self._forms(), key=lambda form: facts.dates[form].count)
        gap = f", or if it means a gap: --gap {facts.no_date[form].value[:80]!r}"
        return refused(
            f"Column {facts.name} is {self.at(facts.no_date[form])}, but a date in "
            f"{facts.dates[form].count} of {facts.values} rows: expected {DATE_EXAMPLES[form]}; "
            f"correct it{gap if facts.type == 'text' else ''}."
        )


def refused(message: str) -> InvalidError:
    """Return the problem to raise for a table whose columns cannot be used."""
    return InvalidError.field("/table", message)
