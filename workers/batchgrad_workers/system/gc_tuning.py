"""Make Python's cyclic garbage collector run less often."""

import gc

YOUNG_OBJECTS = 50_000
"""New objects between collections; Python's default of 700 is a few step rows."""


def collect_seldom() -> None:
    """Collect seldom, for a process that handles thousands of short-lived rows a second."""
    gc.set_threshold(YOUNG_OBJECTS)


def freeze_existing_objects() -> None:
    """Exclude all existing objects from collections: modules, compiled loops, configuration."""
    gc.freeze()
