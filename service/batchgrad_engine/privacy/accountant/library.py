"""dp-accounting, imported at first use and kept quiet."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what the library says about its own intermediate values off stderr.

    Overflows give inf, and orders that do not converge are left out: both are upper bounds.
    """
    absl = logging.getLogger("absl")
    before = absl.level
    absl.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        absl.setLevel(before)


def dp_accounting() -> ModuleType:
    """The library; its import takes 0.7 s."""
    import dp_accounting  # noqa: PLC0415 (lazy)

    return dp_accounting
