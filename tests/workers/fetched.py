"""A program that opens a dataset as a worker does, and prints a sum on stdout.

Arguments: the source as JSON, "stay" to hold it until stdin ends. Prints the sum of its targets.
"""

import sys

from pydantic import TypeAdapter

from batchgrad_workers.data.source import DatasetSource, open_dataset


def main(source: str, *how: str) -> None:
    """Open a dataset, and optionally hold it."""
    dataset = open_dataset(TypeAdapter(DatasetSource).validate_json(source))
    sys.stdout.write(f"{dataset.targets.sum()}\n")
    sys.stdout.flush()
    if how:
        sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
