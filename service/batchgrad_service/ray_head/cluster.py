"""The Ray cluster that engines connect to: one that was named, or a private one on first need."""

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

KEEPER_COMMAND = (sys.executable, "-m", "batchgrad_service.ray_head.process")
TEMP_PREFIX = "batchgrad-"
_TEMP_NAME = re.compile(
    rf"{TEMP_PREFIX}[a-z0-9_]{{8}}"
)  # mkdtemp's; batchgrad-demo-… is no keeper's
TEMP_PARENT = Path("/tmp")  # noqa: S108  (mkdtemp makes it private; Ray's sockets need a short path)
START_SECONDS = 90.0
LEAVE_SECONDS = 10.0
KNOCK_SECONDS = 3.0
OBJECT_STORE_BYTES = 256 * 2**20
LOG_TAIL_BYTES = 2000
_FOREIGN_CLUSTER = frozenset({"RAY_ADDRESS", "RAY_AUTH_TOKEN"})


class ClusterUnavailableError(Exception):
    """The private cluster did not start; the message holds the end of the keeper's log."""


@dataclass(frozen=True)
class ClusterAddress:
    """Where a driver connects, and what it needs in its environment to be let in."""

    address: str
    private: bool
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Keeper:
    process: subprocess.Popen[bytes]
    temp_dir: Path
    token_path: Path
    cleaner: threading.Thread


class RayCluster:
    """Starts a keeper when the first job needs Ray, and again when that one died.

    Thread-safe. `stop` may be called while another thread waits in `address`, which then raises.
    """

    def __init__(
        self,
        data_dir: Path,
        ray_address: str | None = None,
        *,
        object_store_memory_bytes: int = OBJECT_STORE_BYTES,
        keeper_command: Sequence[str] = KEEPER_COMMAND,
        leave_seconds: float = LEAVE_SECONDS,
    ) -> None:
        self._data_dir = data_dir
        self._ray_address = ray_address
        self._object_store_bytes = object_store_memory_bytes
        self._keeper_command = keeper_command
        self._leave_seconds = leave_seconds
        self._starting = threading.Lock()
        self._removing = threading.Lock()
        self._keeper: _Keeper | None = None
        self._address: str | None = None
        self._stopped = False

    @property
    def _record(self) -> Path:
        return self._data_dir / "keeper.json"

    def address(self, workers: int) -> ClusterAddress:
        """Where to connect; starts the private cluster if there is none (seconds).

        Workers of the private cluster ask for no CPUs, so that a later job may have more of them
        than the first one asked for. Raises ClusterUnavailableError.
        """
        if self._ray_address is not None:
            return ClusterAddress(self._ray_address, private=False)
        with self._starting:
            if self._keeper is not None and not self._is_there(self._keeper):
                log.warning("The Ray cluster ended; a new one is started.")
                self._leave(self._keeper)
                self._keeper = None
            if self._keeper is None:
                self._start(max(os.cpu_count() or 1, workers))
            if self._keeper is None or self._address is None:
                raise ClusterUnavailableError("The service is stopping.")
            return ClusterAddress(
                self._address,
                private=True,
                environment=client_environment(self._keeper.temp_dir, self._keeper.token_path),
            )

    def stop(self) -> None:
        """End the private cluster, if there is one, and remove everything of it."""
        self._stopped = True
        keeper = self._keeper
        if keeper is not None:
            self._leave(keeper)  # whoever waits in `address` sees its stdout end
        with self._starting:
            if self._keeper is not None:
                self._leave(self._keeper)
            self._keeper = None

    def remove_leftovers(self) -> None:
        """End what an earlier service and its keeper left, both killed. Called at boot."""
        try:
            record = json.loads(self._record.read_bytes())
            session, temp_dir = int(record["session"]), Path(record["temp_dir"])
        except FileNotFoundError:
            return
        except (ValueError, KeyError, TypeError):  # torn by a power cut: no process outlived that
            self._record.unlink()
            return
        if session_uses(session, temp_dir):
            end_session(session, wait_seconds=self._leave_seconds)
        if temp_dir.parent == TEMP_PARENT and _TEMP_NAME.fullmatch(temp_dir.name):
            shutil.rmtree(temp_dir, ignore_errors=True)
        self._record.unlink()

    def _start(self, num_cpus: int) -> None:
        if self._stopped:
            return
        self._data_dir.mkdir(parents=True, exist_ok=True)
        temp_dir = Path(tempfile.mkdtemp(prefix=TEMP_PREFIX, dir=TEMP_PARENT))
        token_path = temp_dir / "token"
        token_path.touch(mode=0o600)
        token_path.write_text(secrets.token_hex(32))
        order = HeadCommand(
            num_cpus=num_cpus,
            object_store_memory_bytes=self._object_store_bytes,
            temp_dir=temp_dir,
            token_path=token_path,
            service=os.getpid(),
        )
        log_path = self._data_dir / "keeper.log"
        try:
            process = _spawn(self._keeper_command, log_path)
        except OSError:
            shutil.rmtree(temp_dir)
            raise
        self._record.write_text(json.dumps({"session": process.pid, "temp_dir": str(temp_dir)}))
        cleaner = threading.Thread(
            target=self._clean_behind, args=(process, temp_dir), name="keeper-cleaner", daemon=True
        )
        try:
            cleaner.start()
        except RuntimeError:
            with process:
                process.kill()
            shutil.rmtree(temp_dir)
            raise
        keeper = _Keeper(process, temp_dir, token_path, cleaner)
        self._keeper = keeper
        line = _ask(keeper.process, order)
        if line:
            self._address = str(json.loads(line)["address"])
            return
        self._leave(keeper)
        self._keeper = None
        if not self._stopped:
            tail = log_path.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace").strip()
            raise ClusterUnavailableError(
                f"The private Ray cluster did not start (it has {START_SECONDS:.0f} s). "
                f"The end of {log_path.name} in the data directory:\n{tail or '(empty)'}"
            )

    def _is_there(self, keeper: _Keeper) -> bool:
        """Whether the cluster can be had; its keeper lives a little longer than its head."""
        if self._address is None or not is_alive(keeper.process.pid):
            return False
        host, _, port = self._address.rpartition(":")
        try:
            socket.create_connection((host, int(port)), KNOCK_SECONDS).close()
        except OSError:
            return False
        return True

    def _leave(self, keeper: _Keeper) -> None:
        """Ask the keeper to leave, kill it if it does not; returns when nothing is left of it."""
        if keeper.process.stdin is not None:
            keeper.process.stdin.close()
        keeper.cleaner.join(self._leave_seconds)
        if keeper.cleaner.is_alive():
            log.warning("The Ray cluster's keeper did not leave in time; it is killed.")
            kill(keeper.process.pid)
            keeper.cleaner.join()

    def _clean_behind(self, process: subprocess.Popen[bytes], temp_dir: Path) -> None:
        """When the keeper ends, also by a signal, end its session and remove its folder."""
        process.wait()
        end_session(process.pid, wait_seconds=0.0)
        shutil.rmtree(temp_dir, ignore_errors=True)  # the keeper removes it when it can
        self._record.unlink(missing_ok=True)


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


def _ask(process: subprocess.Popen[bytes], order: HeadCommand) -> bytes:
    """The keeper's answer; empty if it died or took too long."""
    if process.stdin is None or process.stdout is None:
        raise TypeError("The keeper needs pipes for stdin and stdout.")
    with process.stdout as answer, selectors.DefaultSelector() as selector:
        try:
            process.stdin.write(order.model_dump_json().encode() + b"\n")
            process.stdin.flush()
        except (BrokenPipeError, ValueError):  # it died, or `stop` closed the pipe
            return b""
        selector.register(answer, selectors.EVENT_READ)
        return answer.readline() if selector.select(START_SECONDS) else b""
