"""Look at all rows of a table once, and decide what each column is: the Table of a dataset."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from batchgrad.contract.tables import Column, ColumnRole, Table, TableOptions, TextOptions
from batchgrad_service.reading.columns.facts import Distinct, Facts
from batchgrad_service.reading.columns.kinds import Found, Kinds, refused
from batchgrad_service.reading.columns.roles import Roles, assign, missing_rule
from batchgrad_service.reading.columns.special_columns import check_ids, check_split, check_weight
from batchgrad_service.reading.columns.targets import MOST_INTEGER_CLASSES, Targets, decide_targets
from batchgrad_service.reading.table_source import TableSource
from batchgrad_service.reading.values.column_arrays import as_text
from batchgrad_service.reading.values.pieces import Reader
from batchgrad_workers.data.tables.network_inputs import input_names

MOST_INPUTS = 100_000


@dataclass(frozen=True)
class Inferred:
    """What a table becomes: `rows` of the `read` ones are used.

    `single_…`: float32 holds every value exactly.
    """

    table: Table
    rows: int
    read: int
    reader: Reader
    single_inputs: bool
    single_targets: bool
    id_bytes: int


def infer(
    source: TableSource,
    options: TableOptions,
    text: TextOptions,
    progress: Callable[[int], None] = lambda _: None,
) -> Inferred:
    """Read the table once. `progress` gets the number of rows so far.

    Raises:
        InvalidError: an option or a value cannot be used; the message names column, row and remedy.
    """
    roles = assign(source.names, options)
    needed = roles.of("target") if options.missing_target == "drop" else []
    reader = Reader(source, text, needed)
    facts, rows, read = _look(reader, roles, options, progress)
    _check_rows(rows, read, needed)
    return _Inference(reader, options, rows, read).decide(roles, facts)


def _look(
    reader: Reader, roles: Roles, options: TableOptions, progress: Callable[[int], None]
) -> tuple[dict[str, Facts], int, int]:
    """The facts about each column, and how many rows were used and read."""
    as_texts = {name for role in ("id", "unit", "split") for name in roles.of(role)} | {
        name for name, kind in options.kinds.items() if kind == "category"
    }
    facts = {
        name: Facts(
            name,
            Distinct(_limit(role, options)),
            decimal=reader.text.decimal,
            is_name=role in {"id", "unit", "split"},
        )
        for name, role in roles.roles.items()
    }
    rows = read = 0
    for piece in reader.pieces(list(facts)):
        for name, column in piece.columns.items():
            facts[name].add(as_text(column) if name in as_texts else column, piece.rows)
        rows += piece.length
        read = piece.last_row
        progress(read)
    return facts, rows, read


def _limit(role: ColumnRole, options: TableOptions) -> int:
    """How many different texts of a column are kept."""
    match role:
        case "input" | "split":
            return options.max_categories
        case "target":
            return max(options.max_categories, MOST_INTEGER_CLASSES)
        case _:
            return 0


def _check_rows(rows: int, read: int, needed: list[str]) -> None:
    if not read:
        raise refused("The table has headings, but no rows: expected at least one row below them.")
    if not rows:
        raise refused(
            f"No row has a value in the target {', '.join(needed)}, so --missing-target drop "
            "leaves out all rows: name another --target."
        )


@dataclass(frozen=True)
class _Inference:
    reader: Reader
    options: TableOptions
    rows: int
    read: int

    def decide(self, roles: Roles, facts: dict[str, Facts]) -> Inferred:
        kinds = Kinds(self.reader.source, self.reader.text, self.options.max_categories)
        warnings: list[str] = []
        targets = decide_targets([facts[name] for name in roles.of("target")], kinds, self.options)
        warnings += targets.warnings
        for name in roles.of("input"):
            if not facts[name].values:
                roles = roles.without(name)
                warnings.append(
                    f"Column {name} has no value in any row, so it is left out: --drop {name} says "
                    "so yourself."
                )
        if not roles.of("input"):
            raise refused("No column with values is left as an input: name another file.")
        for name in roles.of("weight"):
            check_weight(facts[name], kinds)
        for name in (*roles.of("id"), *roles.of("unit")):
            check_ids(facts[name], kinds, roles.roles[name])
        for name in roles.of("split"):
            check_split(facts[name], kinds)
        columns = [
            self._column(facts[name], role, kinds, targets, warnings)
            for name, role in roles.roles.items()
        ]
        width = sum(len(column.categories or [""]) for column in columns if column.role == "input")
        if width > MOST_INPUTS:
            raise refused(
                f"The columns become {width} inputs or more, at most {MOST_INPUTS} are possible: "
                "--drop columns, or lower --max-categories."
            )
        columns = [
            column.model_copy(update={"inputs": input_names(column, self.options.dates)})
            for column in columns
        ]
        inputs = [column for column in columns if column.role == "input"]
        table = Table(
            columns=columns,
            classes=targets.classes,
            dropped=list(roles.dropped),
            constant=self.options.constant,
            dates=self.options.dates,
            rare=self.options.rare,
            warnings=warnings,
        )
        return Inferred(
            table=table,
            rows=self.rows,
            read=self.read,
            reader=self.reader,
            single_inputs=all(_is_single(facts[column.name], column) for column in inputs),
            single_targets=targets.single,
            id_bytes=max((facts[name].longest_bytes for name in roles.of("id")), default=0),
        )

    def _column(
        self,
        facts: Facts,
        role: ColumnRole,
        kinds: Kinds,
        targets: Targets,
        warnings: list[str],
    ) -> Column:
        name = facts.name
        if role == "target":
            found = targets.found[name]
        elif role == "input":
            found = kinds.decide(facts, self.options.kinds.get(name))
        else:
            found = Found("number" if role == "weight" else "category")
        range_ = facts.dates[found.form or "iso"] if found.kind == "date" else facts.numbers
        has_range = found.kind in {"number", "date"} and range_.count > 0
        column = Column(
            name=name,
            role=role,
            kind=found.kind,
            missing=facts.gaps,
            missing_rule=missing_rule(self.options, name) if role == "input" else "refuse",
            categories=found.categories if role == "input" and found.kind == "category" else None,
            lowest=range_.lowest if has_range else None,
            highest=range_.highest if has_range else None,
            has_times=found.kind == "date" and not range_.integers,
            date_form=found.form,
        )
        if role == "input":
            self._check_gaps(facts, column, kinds)
            warnings += self._doubts(facts, column)
        return column

    def _check_gaps(self, facts: Facts, column: Column, kinds: Kinds) -> None:
        name, rule = column.name, column.missing_rule
        if column.kind == "category":
            if isinstance(self.options.missing, dict) and name in self.options.missing:
                raise refused(
                    f"--missing {name}={rule}: column {name} is a category, and its gaps are a "
                    f"category of their own: remove --missing {name}={rule}."
                )
        elif column.missing and rule == "refuse":
            raise refused(
                f"Column {name} has no value in {column.missing} of {self.rows} rows, first in "
                f"{kinds.place(facts.gap)}: fill gaps with --missing mean, median, constant or "
                f"indicator (or --missing {name}=mean for this column), or leave the column out "
                f"with --drop {name}."
            )

    def _doubts(self, facts: Facts, column: Column) -> Iterator[str]:
        """What is legal, but probably not meant."""
        name = column.name
        texts = facts.distinct.counts
        constant = column.lowest is not None and column.lowest == column.highest
        if (constant or (texts is not None and len(texts) == 1)) and not column.missing:
            value = next(iter(texts)) if texts else f"{column.lowest:g}"
            yield (
                f"Column {name} is {value[:80]!r} in all rows, so it teaches nothing: "
                f"--drop {name}."
            )
        counts = texts.values() if texts is not None and column.kind == "category" else ()
        rare = sum(count < self.options.rare for count in counts)
        if rare:
            yield (
                f"Column {name}: {rare} of {len(counts)} categories have fewer than "
                f"{self.options.rare} rows, and become one, `{name}=(other)`."
            )


def _is_single(facts: Facts, column: Column) -> bool:
    match column.kind:
        case "number":
            return facts.type == "boolean" or facts.numbers.single
        case "date":
            return facts.dates[column.date_form or "iso"].single
        case _:
            return True
