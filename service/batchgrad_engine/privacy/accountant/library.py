"""dp-accounting, imported at first use and kept quiet."""

import logging
import sys
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


class MissingLibraryError(RuntimeError):
    """dp-accounting cannot be imported."""


def dp_accounting() -> ModuleType:
    """The library; its import takes 0.7 s.

    Raises:
        MissingLibraryError: the service's environment lacks it, or something that it needs.
    """
    try:
        import dp_accounting  # noqa: PLC0415 (lazy)
    except ImportError as error:
        raise MissingLibraryError(
            "the service cannot account for private jobs without the package dp-accounting "
            f"({error}): install it where the service runs, by `{sys.executable} -m pip install "
            "'dp-accounting>=0.6,<0.7'`, and submit again; the service need not restart."
        ) from error
    return dp_accounting
