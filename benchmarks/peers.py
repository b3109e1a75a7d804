"""A contestant in its own process, controlled through its stdin and stdout."""

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from benchmarks.contestants import Program, Venv
from benchmarks.memory import peak_bytes_below
from benchmarks.results import Burst

ROOT = Path(__file__).parent.parent
PEERS_PYTHON = ROOT / ".venv-peers" / "bin" / "python"
PEERS_READY = ROOT / ".venv-peers" / "ready"
"""There once `make peers` has installed them all; `make test-peers` installs PyTorch alone."""
START_SECONDS = 300.0  # importing, compiling, and a first step that may take a minute
ANSWER_SECONDS = 300.0


class ContestantFailed(Exception):
    """A contestant's process ended or did not answer; the message quotes the end of its stderr."""


def interpreter(venv: Venv) -> str:
    """Path of the Python interpreter with the program's dependencies.

    Raises:
        ContestantFailed: the peers are not installed.
    """
    if venv == "own":
        return sys.executable
    if not PEERS_PYTHON.exists():
        raise ContestantFailed(f"{PEERS_PYTHON} does not exist: run `make peers` first.")
    return str(PEERS_PYTHON)


class Running:
    """A running program that waits for requests; `close` ends it."""

    placement = ""

    def __init__(self, program: Program, workload: str) -> None:
        self._name = program.name
        self._base_bytes = 0
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  (closed in `close`)
        threads = str(program.threads)
        self._process = subprocess.Popen(
            [
                interpreter(program.venv),
                "-m",
                f"{program.package}.{program.module}",
                workload,
                *program.arguments,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
            | dict(program.environment),
        )
        self._lines: queue.Queue[bytes] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def prepare(self) -> dict[str, str]:
        """Wait until the program is ready; return the versions of its libraries."""
        answer = self._answer(START_SECONDS)
        self._base_bytes = answer["base_bytes"]
        found: dict[str, str] = answer["versions"]
        return found

    def burst(self, seconds: float) -> Burst:
        """Run steps for `seconds`."""
        stdin = self._process.stdin
        if stdin is None or self._process.poll() is not None:
            raise self._failed("has ended")
        stdin.write(json.dumps({"seconds": seconds}).encode() + b"\n")
        stdin.flush()
        answer = self._answer(ANSWER_SECONDS + seconds)
        return Burst(answer["steps"], answer["seconds"])

    def peak_bytes(self) -> int:
        """Peak memory of the process and its children, over what it held before, if it told."""
        return peak_bytes_below(self._process.pid) - self._base_bytes

    def close(self) -> None:
        """Close the program's stdin, which ends it; kill it if it is still running 10 s later."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def _read(self) -> None:
        if self._process.stdout is not None:
            for line in self._process.stdout:
                self._lines.put(line)
            self._process.stdout.close()
        self._lines.put(b"")

    def _answer(self, seconds: float) -> dict[str, Any]:
        try:
            line = self._lines.get(timeout=seconds)
        except queue.Empty:
            self._process.kill()
            raise self._failed(f"did not answer within {seconds:g} s") from None
        if not line:
            raise self._failed("ended")
        found: dict[str, Any] = json.loads(line)
        return found

    def _failed(self, what: str) -> ContestantFailed:
        self._log.seek(0)
        tail = self._log.read().decode(errors="replace").splitlines()[-15:]
        return ContestantFailed("\n".join([f"{self._name} {what}. The end of its stderr:", *tail]))
