"""A private service of this process: started when it is first needed, ended at exit."""

import atexit
import os
import threading

from batchgrad.client import Client
from batchgrad.user_machine.private_service import private_service

_clients: dict[int, Client] = {}  # by process id: a forked process starts its own
_lock = threading.Lock()


def embedded() -> Client:
    """The client of this process's private service, the same at each call.

    Raises:
        Unavailable: it does not start, or is not installed: it needs the extra `service`.
    """
    with _lock:
        process = os.getpid()
        if process not in _clients:
            service = private_service()
            _clients[process] = service.__enter__()
            atexit.register(service.__exit__, None, None, None)
        return _clients[process]
