"""Run work that takes seconds in a thread, while training continues."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

Result = TypeVar("Result")


def run_in_background(work: Callable[[], Result]) -> "Future[Result]":
    """The future result of `work`, from a daemon thread: it does not keep the engine running."""
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001  # raised where the result is read
            future.set_exception(error)

    threading.Thread(target=run, name="cluster", daemon=True).start()
    return future
