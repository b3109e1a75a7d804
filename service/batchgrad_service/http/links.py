"""Links of a page, relative to its own path: they stay below whatever prefix a proxy strips."""

from contextvars import ContextVar

ROOT = ContextVar("root", default="./")
"""From the page that is being answered to the service's root; `PageRoute` sets it."""


def root_of(path: str) -> str:
    """The way from the service's path `path` to its root: "./", or "../" for /jobs/x."""
    return "../" * (path.count("/") - 1) or "./"


def below_root(path: str) -> str:
    """The service's path `path`, as the page that is being answered links to it."""
    return ROOT.get() + path.removeprefix("/")
