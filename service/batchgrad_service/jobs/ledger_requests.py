"""Requests for a running job's example ledger, from any number of threads to one engine."""

import threading
from collections.abc import Callable
from time import monotonic


class LedgerRequests:
    """Sends one command at a time; requests that come meanwhile share its answer and deadline.

    So an engine that does not read gets no further commands and holds up no further threads.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._written = 0  # how many ledgers the engine has written
        self._pending = False
        self._deadline = 0.0
        self._closed = False

    def wait(self, send: Callable[[], None], seconds: float) -> bool:
        """Wait for the engine to write its ledger; `send` the command unless one is pending.

        Returns False if the engine has ended, or does not answer within `seconds`.
        """
        with self._changed:
            if self._closed:
                return False
            before = self._written
            if not self._pending:
                send()
                self._pending = True
                self._deadline = monotonic() + seconds
            left = max(0.0, self._deadline - monotonic())
            self._changed.wait_for(lambda: self._closed or self._written > before, left)
            return self._written > before

    def written(self) -> None:
        """Note that the engine has written its ledger."""
        with self._changed:
            self._written += 1
            self._pending = False
            self._changed.notify_all()

    def close(self) -> None:
        """Note that the engine has ended: nobody waits any longer."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
