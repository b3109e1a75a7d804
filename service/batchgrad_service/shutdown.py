"""Stop the service: the signals that begin it, and the calls that end long responses."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Shutdown:
    """The beginning of the service's stop. Subscribers end their long responses."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], None]] = []
        self.begun = False

    def begin(self) -> None:
        """Set `begun` and call every subscriber."""
        with self._lock:
            self.begun = True
            callbacks = list(self._callbacks)
        for callback in callbacks:
            callback()

    @contextmanager
    def subscribe(self, callback: Callable[[], None]) -> Iterator[None]:
        """Inside the block, `begin` calls `callback`; at once if it was called before."""
        with self._lock:
            self._callbacks.append(callback)
            begun = self.begun
        try:
            if begun:
                callback()
            yield
        finally:
            with self._lock:
                self._callbacks.remove(callback)


@contextmanager
def stopped_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Inside the block, each SIGTERM and Ctrl-C calls `stop`.

    uvicorn has its own handlers while it serves. After that it raises the signal again, which must
    not end this process before its engines have ended.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(_number: int, _frame: FrameType | None) -> None:
        stop()

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def watch_stdin(stop: Callable[[], None]) -> None:
    """Call `stop` when stdin ends, that is when the parent process ends or closes it."""

    def watch() -> None:
        # Not sys.stdin: a thread that holds its lock would break the interpreter's exit.
        while os.read(0, 4096):
            pass
        stop()

    threading.Thread(target=watch, name="stdin", daemon=True).start()
