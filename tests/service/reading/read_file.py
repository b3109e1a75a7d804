"""`python -m tests.service.reading.read_file FILE LIMIT_BYTES`: read a table in a process.

Prints JSON: the rows, or the problem's detail, and the peak of the process's memory.
"""

import json
import sys
from pathlib import Path

from batchgrad_service.problems import InvalidError
from batchgrad_service.reading.formats.format import TableFormat
from batchgrad_service.reading.formats.recognition import recognised
from batchgrad_service.reading.formats.registry import FORMATS
from batchgrad_workers.system.process_memory import at_most, peak_resident_bytes
from tests.service.reading.uploaded import uploaded


def main() -> None:
    """Read all rows, within the limit."""
    path = Path(sys.argv[1])
    file = uploaded(path.name)
    format_ = FORMATS[recognised(path, file)]
    assert isinstance(format_, TableFormat)
    told: dict[str, int | str] = {}
    with at_most(int(sys.argv[2])):
        try:
            told["rows"] = sum(batch.num_rows for batch in format_.open(path, file).batches())
        except InvalidError as problem:
            told["problem"] = problem.detail
    told["peak_bytes"] = peak_resident_bytes()
    print(json.dumps(told))  # noqa: T201 (to the test)


if __name__ == "__main__":
    main()
