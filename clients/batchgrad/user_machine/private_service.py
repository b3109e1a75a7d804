"""A private service: started for a block of code, and removed with its data in any case.

It runs in its own process session, so that Ctrl-C reaches only us, and reads a pipe from us on its
stdin: when this process ends, even by SIGKILL, the pipe closes, and the service stops and removes
its data directory. If the service is killed, we remove the directory.
"""

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import IO

from batchgrad.client import Client
from batchgrad.errors import ConnectionFailed, FileFailed, Unavailable
from batchgrad.parsing import arguments

COMMAND = (sys.executable, "-m", "batchgrad", "serve")
START_TIMEOUT = 60.0
STOP_TIMEOUT = 30.0


def local(
    *, folder: str | Path | None = None, start_timeout: float = START_TIMEOUT
) -> AbstractContextManager[Client]:
    """A client of a private service, which is started for a `with` block and then removed.

    Its jobs and datasets are kept in `folder`, or where the system keeps temporary files, and are
    removed too. Raises Unavailable if it is not ready within `start_timeout` seconds, or is not
    installed: it needs the extra `service`.
    """
    return private_service(
        folder=arguments.optional(arguments.path, "folder", folder),
        start_timeout=arguments.seconds("start_timeout", start_timeout),
    )


@contextmanager
def private_service(
    command: Sequence[str] = COMMAND,
    *,
    folder: Path | None = None,
    start_timeout: float = START_TIMEOUT,
    stop_timeout: float = STOP_TIMEOUT,
) -> Iterator[Client]:
    """A client of a new service; service and data are removed at the end of the block.

    Its PyTorch jobs may use all packages, the modules in the working folder, and uploaded code.

    The data directory is made in `folder`, or where the system keeps temporary files. Raises
    Unavailable with the end of the service's log when it does not become ready.
    """
    owner = os.getpid()
    try:
        directory = Path(tempfile.mkdtemp(prefix="batchgrad-private-", dir=folder))
    except OSError as error:
        raise FileFailed(f"A folder for the private service cannot be made: {error}.") from error
    flags = ["--port", "0", "--data-dir", str(directory), "--stop-with-stdin", "--remove-data-dir"]
    # Whoever starts it runs code here anyway.
    flags += ["--torch-modules", "*", "--allow-uploaded-code"]
    with suppress(FileNotFoundError):  # the working folder was removed
        flags += ["--torch-path", str(Path.cwd())]
    # Settings of the user's own service must not reach this one.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("BATCHGRAD_")}
    try:
        with tempfile.TemporaryFile() as log:  # no name: nothing to remove
            process = subprocess.Popen(
                [*command, *flags],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                start_new_session=True,
            )
            try:
                deadline = time.monotonic() + start_timeout
                url, token = _announced(process, log, deadline)
                # Nobody restarts a private service: without an answer it is gone.
                with Client(url, token, reconnect_timeout=0) as client:
                    while not client.ready():
                        _still_starting(process, log, deadline)
                        time.sleep(0.05)
                    yield client
            except ConnectionFailed as error:
                if process.poll() is None:
                    raise
                raise Unavailable(
                    f"The private service ended, with status {process.returncode}.{_tail(log)}"
                ) from error
            finally:
                if os.getpid() == owner:  # a process that was forked from it leaves all in place
                    _stop(process, stop_timeout)
    finally:
        if os.getpid() == owner:
            _remove(directory)


def _announced(
    process: subprocess.Popen[bytes], log: IO[bytes], deadline: float
) -> tuple[str, str | None]:
    """URL and token: the first line on stdout is {"url": …, "token_file": … or null}."""
    lines: queue.Queue[bytes] = queue.Queue()
    stdout = process.stdout
    if stdout is None:
        raise Unavailable("The private service has no stdout.")
    # Read to the end, so that a service that prints more never blocks on a full pipe.
    threading.Thread(target=_drain, args=(stdout, lines), daemon=True).start()
    while True:
        try:
            line = lines.get(timeout=0.1)
        except queue.Empty:
            _still_starting(process, log, deadline)
            continue
        try:
            announcement = json.loads(line)
            file = announcement["token_file"]
            return str(announcement["url"]), Path(file).read_text("utf-8").strip() if file else None
        except (ValueError, KeyError, TypeError) as error:
            raise Unavailable(
                f"The private service wrote {line!r} instead of its URL.{_tail(log)}"
            ) from error


def _drain(stdout: IO[bytes], lines: "queue.Queue[bytes]") -> None:
    for line in stdout:
        lines.put(line)
    stdout.close()


def _still_starting(process: subprocess.Popen[bytes], log: IO[bytes], deadline: float) -> None:
    code = process.poll()
    if code is not None:
        raise Unavailable(f"The private service ended at once, with status {code}.{_tail(log)}")
    if time.monotonic() > deadline:
        raise Unavailable(f"The private service did not become ready in time.{_tail(log)}")


def _tail(log: IO[bytes], lines: int = 20) -> str:
    written = os.pread(
        log.fileno(), os.fstat(log.fileno()).st_size, 0
    )  # its offset belongs to the service
    last = written.decode(errors="replace").splitlines()[-lines:]
    return "\n".join([" Its log ends:", *last]) if last else ""


def _stop(process: subprocess.Popen[bytes], timeout: float) -> None:
    """Stop the service by closing its stdin; after `timeout` seconds kill its process group."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _remove(directory: Path, timeout: float = 5.0) -> None:
    """Remove the data; an engine that outlives a killed service may still write there."""
    deadline = time.monotonic() + timeout
    while directory.exists():
        shutil.rmtree(directory, ignore_errors=time.monotonic() < deadline)
        if directory.exists():
            time.sleep(0.1)
