"""Check the names of a file's columns."""

from collections import Counter
from collections.abc import Sequence

from batchgrad_service.problems import InvalidError

_MOST_COLUMNS = 1_000_000
_LONGEST = 1024


def checked_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names. Raises InvalidError if one is empty, too long, or there twice."""
    if len(names) > _MOST_COLUMNS:
        raise InvalidError.field(
            "/file",
            f"The file has {len(names)} columns, at most {_MOST_COLUMNS} can be read: send many "
            "numbers of a row as an array, with numpy.savez.",
        )
    if not names:
        raise InvalidError.field("/file", "The file has no columns: expected headings and rows.")
    for number, name in enumerate(names, 1):
        if not name:
            raise InvalidError.field(
                "/file",
                f"Column {number} of {len(names)} has no heading: write one. (pandas writes its "
                "index without one: to_csv(file, index=False).)",
            )
        if len(name) > _LONGEST:
            raise InvalidError.field(
                "/file",
                f"The heading of column {number} has {len(name)} characters ({name[:40]!r}…), at "
                f"most {_LONGEST} are allowed: shorten it, or say --no-headings if it is a value.",
            )
    name, times = Counter(names).most_common(1)[0]
    if times > 1:
        where = [number for number, other in enumerate(names, 1) if other == name][:5]
        raise InvalidError.field(
            "/file",
            f"The heading {name!r} is there {times} times (columns "
            f"{', '.join(map(str, where))}): give each column a name of its own.",
        )
    return tuple(names)
