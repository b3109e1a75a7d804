"""Errors that mean that descriptors, processes or memory are exhausted for now."""

import errno

_RESOURCES = {
    errno.EMFILE: "open files (ulimit -n)",
    errno.ENFILE: "open files (fs.file-max)",
    errno.EAGAIN: "processes or threads (ulimit -u, pids.max)",
    errno.ENOMEM: "memory",
}


def exhausted_resource(error: BaseException) -> str | None:
    """The resource that the machine or this user has used up; None for any other error."""
    if isinstance(error, MemoryError):
        return _RESOURCES[errno.ENOMEM]
    if isinstance(error, RuntimeError) and "start new thread" in str(error):
        return _RESOURCES[errno.EAGAIN]
    return _RESOURCES.get(error.errno or 0) if isinstance(error, OSError) else None
