"""Answers as HTML for notebooks: small tables, escaped, without scripts."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

MOST_ROWS = 20
MOST_VALUES = 20


def document(title: str, answer: Mapping[str, Any]) -> str:
    """An answer as a table with a row for each key that has a value; None, [] and {} have none."""
    return f"<div><strong>{escape(title)}</strong>{_mapping(answer)}</div>"


def _mapping(mapping: Mapping[str, Any]) -> str:
    return _table([], [[_label(key), value(one)] for key, one in mapping.items() if _told(one)])


def value(one: Any) -> str:
    """A value as HTML; objects within are folded, long lists are cut."""
    match one:
        case bool() | None:
            return {True: "yes", False: "no", None: ""}[one]
        case float():
            return f"{one:.6g}"
        case Mapping():
            return f"<details><summary>{len(one)} values</summary>{_mapping(one)}</details>"
        case [Mapping(), *_]:
            return _rows(one)
        case list() | tuple():
            more = f", … ({len(one)})" if len(one) > MOST_VALUES else ""
            return ", ".join(map(value, one[:MOST_VALUES])) + more
    return escape(str(one))


def _rows(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table with a row for each of the first objects, a column for each of their keys."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[value(row.get(name)) for name in names] for row in rows[:MOST_ROWS]]
    more = f"<div>… {len(rows)} in all</div>" if len(rows) > MOST_ROWS else ""
    return _table([_label(name) for name in names], cells) + more


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of cells that are HTML."""
    head = "".join(f"<th>{cell}</th>" for cell in heading)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return (
        f"<table>{f'<thead><tr>{head}</tr></thead>' if head else ''}<tbody>{body}</tbody></table>"
    )


def _label(key: str) -> str:
    return escape(str(key).replace("_", " "))


def _told(one: Any) -> bool:
    return one is not None and one not in ([], {})
