"""CSV files that a spreadsheet may open: no text of the data becomes a formula."""

import csv
import io

from batchgrad.contract import Ledger

_BEGINNINGS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_COLUMNS = (
    *("suspicion", "example", "id", "label", "prediction", "probability"),
    *("mean_loss", "mean_norm", "last_loss", "last_norm", "times_seen"),
)


def safe(text: str) -> str:
    """The text, with an apostrophe before it if a spreadsheet would compute it; -5 is a number."""
    return f"'{text}" if text.startswith(_BEGINNINGS) and not _is_number(text) else text


def ledger_csv(ledger: Ledger) -> str:
    """A line for each example; nothing where something is unknown."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for entry in ledger.data:
        label = entry.target if entry.class_name is None else entry.class_name
        cells = {**entry.model_dump(), "label": label}
        writer.writerow(
            safe(cell) if isinstance(cell, str) else cell
            for cell in (cells[name] for name in _COLUMNS)
        )
    return file.getvalue()


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text[1:2].isdigit()
