"""Work that takes seconds, beside the training."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

Answer = TypeVar("Answer")


def background(work: Callable[[], Answer]) -> "Future[Answer]":
    """What `work` gives, from a thread that does not keep the engine from ending."""
    future: Future[Answer] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001  # it is raised where the result is taken
            future.set_exception(error)

    threading.Thread(target=run, name="cluster", daemon=True).start()
    return future
