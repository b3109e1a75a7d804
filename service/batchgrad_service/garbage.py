"""When Python looks for garbage that reference counts don't find: seldom.

Thousands of rows a second are a few ten objects each, all of them gone again with their report.
"""

import gc

YOUNG_OBJECTS = 50_000
"""How many the garbage collector waits for; Python's own 700 would be a few rows."""


def collect_seldom() -> None:
    """For this process, from now on."""
    gc.set_threshold(YOUNG_OBJECTS)
