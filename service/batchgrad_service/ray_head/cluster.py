"""The Ray cluster of the engines: the one that the settings name, or a private one."""

import json
import logging
import os
import re
import secrets
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from batchgrad_service.ray_head.process import HeadCommand, client_environment
from batchgrad_workers.system.processes import end_session, is_alive, kill, session_uses

log = logging.getLogger(__name__)

HEAD_COMMAND = (sys.executable, "-m", "batchgrad_service.ray_head.process")
TEMP_PREFIX = "batchgrad-"
_TEMP_NAME = re.compile(rf"{TEMP_PREFIX}[a-z0-9_]{{8}}")  # as mkdtemp; not batchgrad-private-…
TEMP_PARENT = Path("/tmp")  # noqa: S108  (mkdtemp makes it private; Ray's sockets need a short path)
START_SECONDS = 90.0
STOP_SECONDS = 10.0
CONNECT_SECONDS = 3.0
OBJECT_STORE_BYTES = 256 * 2**20
LOG_TAIL_BYTES = 2000
_RECORD_NAME = "keeper.json"  # its name in older versions; a start must find their record
_LOG_NAME = "ray_head.log"
_FOREIGN_CLUSTER = frozenset({"RAY_ADDRESS", "RAY_AUTH_TOKEN"})


class ClusterUnavailableError(Exception):
    """The private cluster did not start; the message has the end of its log."""


@dataclass(frozen=True)
class ClusterAddress:
    """The address for a driver, and the environment variables with which it may connect."""

    address: str
    private: bool
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _HeadProcess:
    process: subprocess.Popen[bytes]
    temp_dir: Path
    token_path: Path
    cleaner: threading.Thread


class RayCluster:
    """Starts the head of a private cluster when the first job needs it, and again when it died.

    Thread-safe. `stop` may be called while another thread waits in `address`, which then raises.
    """

    def __init__(
        self,
        data_dir: Path,
        ray_address: str | None = None,
        *,
        object_store_memory_bytes: int = OBJECT_STORE_BYTES,
        head_command: Sequence[str] = HEAD_COMMAND,
        stop_seconds: float = STOP_SECONDS,
    ) -> None:
        self._data_dir = data_dir
        self._ray_address = ray_address
        self._object_store_memory_bytes = object_store_memory_bytes
        self._head_command = head_command
        self._stop_seconds = stop_seconds
        self._starting = threading.Lock()

        self._head: _HeadProcess | None = None
        self._address: str | None = None
        self._stopped = False

    @property
    def _record_file(self) -> Path:
        return self._data_dir / _RECORD_NAME

    def address(self, workers: int) -> ClusterAddress:
        """Return where to connect; start the private cluster if there is none, in seconds.

        Workers on the private cluster reserve no CPUs, so a later job may have more workers than
        the first one. Raises ClusterUnavailableError.
        """
        if self._ray_address is not None:
            return ClusterAddress(self._ray_address, private=False)
        with self._starting:
            if self._head is not None and not self._accepts_connections(self._head):
                log.warning("The Ray cluster ended; a new one is started.")
                self._end(self._head)
                self._head = None
            if self._head is None:
                self._start(max(os.cpu_count() or 1, workers))
            if self._head is None or self._address is None:
                raise ClusterUnavailableError("The service is stopping.")
            return ClusterAddress(
                self._address,
                private=True,
                environment=client_environment(self._head.temp_dir, self._head.token_path),
            )

    def stop(self) -> None:
        """End the private cluster, if there is one, and remove its files."""
        self._stopped = True
        head = self._head
        if head is not None:
            self._end(head)  # a thread that waits in `address` sees its stdout end
        with self._starting:
            if self._head is not None:
                self._end(self._head)
            self._head = None

    def remove_leftovers(self) -> None:
        """At the service's start, end the processes of a head that was killed; remove its files."""
        try:
            record = json.loads(self._record_file.read_bytes())
            session, temp_dir = int(record["session"]), Path(record["temp_dir"])
        except FileNotFoundError:
            return
        except (
            ValueError,
            KeyError,
            TypeError,
        ):  # a torn file: a power failure also ended the processes
            self._record_file.unlink()
            return
        if session_uses(session, temp_dir):
            end_session(session, wait_seconds=self._stop_seconds)
        if temp_dir.parent == TEMP_PARENT and _TEMP_NAME.fullmatch(temp_dir.name):
            shutil.rmtree(temp_dir, ignore_errors=True)
        self._record_file.unlink()

    def _start(self, num_cpus: int) -> None:
        if self._stopped:
            return
        self._data_dir.mkdir(parents=True, exist_ok=True)
        temp_dir = Path(tempfile.mkdtemp(prefix=TEMP_PREFIX, dir=TEMP_PARENT))
        token_path = temp_dir / "token"
        token_path.touch(mode=0o600)
        token_path.write_text(secrets.token_hex(32))
        command = HeadCommand(
            num_cpus=num_cpus,
            object_store_memory_bytes=self._object_store_memory_bytes,
            temp_dir=temp_dir,
            token_path=token_path,
            service=os.getpid(),
        )
        log_path = self._data_dir / _LOG_NAME
        try:
            process = _spawn(self._head_command, log_path)
        except OSError:
            shutil.rmtree(temp_dir)
            raise
        self._record_file.write_text(
            json.dumps({"session": process.pid, "temp_dir": str(temp_dir)})
        )
        cleaner = threading.Thread(
            target=self._clean_up, args=(process, temp_dir), name="ray-head-cleaner", daemon=True
        )
        try:
            cleaner.start()
        except RuntimeError:
            with process:
                process.kill()
            shutil.rmtree(temp_dir)
            raise
        head = _HeadProcess(process, temp_dir, token_path, cleaner)
        self._head = head
        answer = _send(head.process, command)
        if answer:
            self._address = str(json.loads(answer)["address"])
            return
        self._end(head)
        self._head = None
        if not self._stopped:
            tail = log_path.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace").strip()
            raise ClusterUnavailableError(
                f"The private Ray cluster did not start (time limit {START_SECONDS:.0f} s). "
                f"The end of {log_path.name} in the data directory:\n{tail or '(empty)'}"
            )

    def _accepts_connections(self, head: _HeadProcess) -> bool:
        """Whether the head accepts connections; its process may outlive Ray by a moment."""
        if self._address is None or not is_alive(head.process.pid):
            return False
        host, _, port = self._address.rpartition(":")
        try:
            socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
        except OSError:
            return False
        return True

    def _end(self, head: _HeadProcess) -> None:
        """Close the head's stdin so that it ends; kill it if it does not. Wait for its cleanup."""
        if head.process.stdin is not None:
            head.process.stdin.close()
        head.cleaner.join(self._stop_seconds)
        if head.cleaner.is_alive():
            log.warning("The Ray head did not end in time; it is killed.")
            kill(head.process.pid)
            head.cleaner.join()

    def _clean_up(self, process: subprocess.Popen[bytes], temp_dir: Path) -> None:
        """When the head has ended, also by a signal, end its session and remove its folder."""
        process.wait()
        end_session(process.pid, wait_seconds=0.0)
        shutil.rmtree(temp_dir, ignore_errors=True)  # a head that is not killed removes it itself
        self._record_file.unlink(missing_ok=True)


def _spawn(command: Sequence[str], log_path: Path) -> subprocess.Popen[bytes]:
    with log_path.open("wb") as stderr:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            bufsize=0,
            start_new_session=True,
            env={k: v for k, v in os.environ.items() if k not in _FOREIGN_CLUSTER},
        )


def _send(process: subprocess.Popen[bytes], command: HeadCommand) -> bytes:
    """Send the command; return the head's answer, or b"" if the head ended or took too long."""
    if process.stdin is None or process.stdout is None:
        raise TypeError("The Ray head needs pipes for stdin and stdout.")
    with process.stdout as answer, selectors.DefaultSelector() as selector:
        try:
            process.stdin.write(command.model_dump_json().encode() + b"\n")
            process.stdin.flush()
        except (BrokenPipeError, ValueError):  # it ended, or `stop` closed the pipe
            return b""
        selector.register(answer, selectors.EVENT_READ)
        return answer.readline() if selector.select(START_SECONDS) else b""
