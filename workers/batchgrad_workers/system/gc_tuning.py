"""When Python looks for garbage that reference counts don't find: seldom."""

import gc

YOUNG_OBJECTS = 50_000
"""How many the garbage collector waits for; Python's own 700 would be a few step rows."""


def collect_seldom() -> None:
    """For a process that takes thousands of rows a second, all gone again with their report."""
    gc.set_threshold(YOUNG_OBJECTS)


def freeze_existing_objects() -> None:
    """What was imported, compiled and set up stays: it is not looked at again."""
    gc.freeze()
