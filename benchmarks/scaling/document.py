"""The generated tables of docs/explanation/scale.md, between markers in hand-written text."""

import re
from pathlib import Path

from benchmarks.scaling import tables
from benchmarks.scaling.measured import Measurements

DOCS = Path(__file__).parents[2] / "docs"
DOCUMENT, IMAGES = DOCS / "explanation" / "scale.md", DOCS / "images"
TABLES = {
    "checks": tables.checks,
    "costs": tables.costs,
    "fastest": tables.fastest,
    "examples": tables.examples,
    "large": tables.large,
}


def renew(text: str, found: Measurements) -> str:
    """`text` with its tables regenerated. Raises ValueError if a table's markers are missing."""
    for name, table in TABLES.items():
        start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        pattern = re.compile(f"{re.escape(start)}.*?{re.escape(end)}", re.DOTALL)
        if not pattern.search(text):
            raise ValueError(f"{DOCUMENT} lacks the markers of a table: {start} and {end}.")
        text = pattern.sub(f"{start}\n{table(found)}\n{end}", text)
    return text
