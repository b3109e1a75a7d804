"""The progress of an operation, in rows."""

from collections.abc import Callable

RowProgress = Callable[[int, int | None], None]
"""Called with the rows that are done, and the number of all rows if it is known."""
