"""What the machine lacks for a while, as its errors tell: descriptors, processes, memory."""

import errno

_LACKING = {
    errno.EMFILE: "open files (ulimit -n)",
    errno.ENFILE: "open files (fs.file-max)",
    errno.EAGAIN: "processes or threads (ulimit -u, pids.max)",
    errno.ENOMEM: "memory",
}


def what_lacks(error: BaseException) -> str | None:
    """Of what the machine, or this user, has none left; None if the error is about other things."""
    if isinstance(error, MemoryError):
        return _LACKING[errno.ENOMEM]
    if isinstance(error, RuntimeError) and "start new thread" in str(error):
        return _LACKING[errno.EAGAIN]
    return _LACKING.get(error.errno or 0) if isinstance(error, OSError) else None
