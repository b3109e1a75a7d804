"""Decide what each column of a table is for, from the options alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from batchgrad.contract.tables import ColumnRole, MissingRule, TableOptions
from batchgrad.parsing.suggestions import suggest
from batchgrad.parsing.wording import listed
from batchgrad_service.problems import InvalidError

_LIKELY_TARGETS = ("target", "label", "labels", "class", "y", "outcome", "churn", "churned")
_SHOWN = 30


@dataclass(frozen=True)
class Roles:
    """The role of each column that is used, in the order of the file but targets as given."""

    roles: dict[str, ColumnRole]
    dropped: tuple[str, ...]

    def of(self, role: ColumnRole) -> list[str]:
        """The names of the columns with this role."""
        return [name for name, each in self.roles.items() if each == role]

    def without(self, name: str) -> "Roles":
        """The same without one column, which is dropped."""
        roles = {each: role for each, role in self.roles.items() if each != name}
        return replace(self, roles=roles, dropped=(*self.dropped, name))


def assign(names: Sequence[str], options: TableOptions) -> Roles:
    """Give each column its role.

    Raises:
        InvalidError: there is no target or no input, a name is unknown or has two roles, or a
            rule is about a column that is no input.
    """
    given: dict[str, tuple[str, ColumnRole | None]] = {}
    for option, key, role, name in _given(options):
        if name not in names:
            raise InvalidError.field(f"/table/{key}", f"{option} {name}: {unknown(name, names)}")
        if name in given and given[name][0] != option:
            raise InvalidError.field(
                f"/table/{key}",
                f"Column {name} is named by {given[name][0]} and by {option}: a column has one "
                "role, so name it once.",
            )
        given[name] = option, role
    targets = [name for name, (_, role) in given.items() if role == "target"]
    if not targets:
        raise _no_target(names, given)
    inputs: dict[str, ColumnRole] = {name: "input" for name in names if name not in given}
    if not inputs:
        raise InvalidError.field(
            "/table",
            f"No column is left as an input: the file has only {listed(names, _SHOWN)}, and each "
            "has another role or is dropped. Drop fewer columns.",
        )
    others = {name: role for name, (_, role) in given.items() if role is not None}
    in_order = {name: (others | inputs)[name] for name in names if name in others | inputs}
    roles = Roles(
        {name: in_order[name] for name in [*targets, *in_order]},
        tuple(name for name in names if name in given and given[name][1] is None),
    )
    _check_rules(names, options, roles)
    return roles


def missing_rule(options: TableOptions, name: str) -> MissingRule:
    """What is done about gaps in an input."""
    if isinstance(options.missing, dict):
        return options.missing.get(name, "refuse")
    return options.missing


def unknown(name: str, names: Sequence[str]) -> str:
    """Say that there is no such column, and which was probably meant."""
    same = [each for each in names if each.strip().lower() == name.strip().lower()]
    meant = same[0] if same else suggest(name, names)
    hint = f"; did you mean {meant}?" if meant else "."
    if len(parts := name.split(",")) > 1 and all(part.strip() in names for part in parts):
        hint = "; repeat the option for each of several columns."
    return f"there is no such column{hint} The columns are {listed(names, _SHOWN)}."


def _given(options: TableOptions) -> Iterator[tuple[str, str, ColumnRole | None, str]]:
    """Each option that names a column, its key, the role and the column's name."""
    target = options.target
    targets = target if isinstance(target, list) else [] if target is None else [target]
    for name in targets:
        yield "--target", "target", "target", name
    single: tuple[tuple[str, str, ColumnRole, str | None], ...] = (
        ("--weight", "weight", "weight", options.weight),
        ("--id", "id", "id", options.id),
        ("--units", "units", "unit", options.units),
        ("--split", "split", "split", options.split),
    )
    for option, key, role, single_name in single:
        if single_name is not None:
            yield option, key, role, single_name
    for name in options.drop:
        yield "--drop", "drop", None, name


def _no_target(names: Sequence[str], given: dict[str, tuple[str, ColumnRole | None]]) -> Exception:
    free = [name for name in names if name not in given] or list(names)
    likely = next((x for x in free if x.strip().lower() in _LIKELY_TARGETS), free[-1])
    return InvalidError.field(
        "/table/target",
        f"Which column is to be predicted? Give --target COLUMN, for example --target {likely}. "
        f"The columns are {listed(names, _SHOWN)}.",
    )


def _check_rules(names: Sequence[str], options: TableOptions, roles: Roles) -> None:
    """Check the names of columns in `kinds` and `missing`."""
    missing = options.missing if isinstance(options.missing, dict) else {}
    for option, key, named in (("--as", "kinds", options.kinds), ("--missing", "missing", missing)):
        for name, value in named.items():
            pointer = f"/table/{key}"
            if name not in names:
                raise InvalidError.field(
                    pointer, f"{option} {name}={value}: {unknown(name, names)}"
                )
            role = roles.roles.get(name)
            if role is None:
                raise InvalidError.field(
                    pointer,
                    f"{option} {name}={value}: column {name} is dropped by --drop: remove one of "
                    "the two.",
                )
            if role not in {"input", "target"} or (key == "missing" and role != "input"):
                remedy = (
                    "--missing-target drop leaves out rows without one"
                    if role == "target"
                    else f"remove {option} {name}={value}"
                )
                raise InvalidError.field(
                    pointer,
                    f"{option} {name}={value}: column {name} is the {role}, and {option} is about "
                    f"inputs: {remedy}.",
                )
    if options.constant and "constant" not in {options.missing, *missing.values()}:
        raise InvalidError.field(
            "/table/constant",
            f"--constant {options.constant:g} fills no gap, since no column has the rule constant: "
            "give --missing constant, or --missing COLUMN=constant.",
        )
