"""Links of a page, relative to its own path, so that they stay below a proxy's prefix."""

from contextvars import ContextVar

ROOT = ContextVar("root", default="./")
"""The relative link from the current page to the service's root; `PageRoute` sets it."""


def root_of(path: str) -> str:
    """The relative link from the service's path `path` to its root: "./", or "../" for /jobs/x."""
    return "../" * (path.count("/") - 1) or "./"


def below_root(path: str) -> str:
    """The service's path `path` as a link on the current page."""
    return ROOT.get() + path.removeprefix("/")
