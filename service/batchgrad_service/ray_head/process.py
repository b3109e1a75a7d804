"""The private cluster's process: `python -m batchgrad_service.ray_head.process`.

Reads one JSON line (`HeadCommand`) from stdin, starts a Ray head for this machine alone, prints
`{"address": ...}` on stdout, and ends when its stdin closes: so the cluster ends with the service,
even if the service is killed.
"""

import json
import os
import selectors
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from batchgrad_service.ray_head.logs import KEEP_SECONDS, ROTATION, prune
from batchgrad_workers.system.processes import block_sigterm, end_session, session_members

PRUNE_SECONDS = 600.0
ENGINES_EXIT_SECONDS = 1.0
"""Time for engines to write a checkpoint first: an engine that loses Ray ends at once."""


class HeadCommand(BaseModel):
    """The head's settings. `service` is the service's process id; the head removes `temp_dir`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_cpus: int
    object_store_memory_bytes: int
    temp_dir: Path
    token_path: Path
    service: int


def client_environment(temp_dir: Path, token_path: Path) -> dict[str, str]:
    """Return the environment variables of the private cluster and its drivers.

    The name RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER misleads: with 0 Ray uses 127.0.0.1 on every system;
    otherwise its servers listen on all interfaces.
    """
    return {
        "HOME": str(temp_dir),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token_path),
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_worker_niceness": "0",
    }


def head_environment() -> dict[str, str]:
    """Return the head's own variables.

    Ended processes are detected in seconds, no worker is started before it is needed, and Ray's log
    monitor, which cannot be left out, looks for logs once a day: no driver asks it for any.
    """
    return {
        "RAY_health_check_initial_delay_ms": "1000",
        "RAY_health_check_period_ms": "1000",
        "RAY_health_check_timeout_ms": "1000",
        "RAY_health_check_failure_threshold": "3",
        "RAY_prestart_worker_first_driver": "0",
        "RAY_LOG_MONITOR_MANY_FILES_THRESHOLD": "0",
        "LOG_NAME_UPDATE_INTERVAL_S": "86400",
        "RAY_DISABLE_IMPORT_WARNING": "1",
        "RAY_kill_worker_timeout_milliseconds": "200",  # after a SIGTERM that no worker hears
        **ROTATION,
    }


def run_head(command: HeadCommand, prune_seconds: float, log_seconds: float) -> int:
    """Start the head, print its address, wait for the end of stdin or Ray; return the exit status.

    Every `prune_seconds`, remove logs of ended workers that are older than `log_seconds`.
    """
    ray_folder = command.temp_dir / "ray"
    os.environ.update(client_environment(command.temp_dir, command.token_path) | head_environment())
    answer = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # Ray's output must not mix with the answer

    import ray  # noqa: PLC0415  (it reads the environment when it is imported)

    context = ray.init(
        num_cpus=command.num_cpus,
        object_store_memory=command.object_store_memory_bytes,
        include_dashboard=False,
        log_to_driver=False,
        configure_logging=False,
        _temp_dir=str(ray_folder),  # Ray opens its folder to all users
        _node_ip_address="127.0.0.1",
    )
    with _watch() as end:
        with answer:
            answer.write(json.dumps({"address": context.address_info["gcs_address"]}) + "\n")
        while not (ready := end.select(prune_seconds)):
            prune(ray_folder, keep_seconds=log_seconds)
        ended = _ended_process(ready)
    if ended:
        sys.stderr.write(f"{ended} has ended, so the cluster ends.\n")
        return 1
    if os.getppid() != command.service:  # it was killed; its engines are writing checkpoints
        time.sleep(ENGINES_EXIT_SECONDS)
    return 0


@contextmanager
def _watch() -> Iterator[selectors.BaseSelector]:
    """Watch for the end of stdin, and for the end of the processes that a cluster needs.

    Ray itself would wait a minute for an ended gcs_server, and new drivers would fail meanwhile.
    """
    with ExitStack() as open_files, selectors.DefaultSelector() as watched:
        watched.register(sys.stdin.fileno(), selectors.EVENT_READ, None)
        for name in ("gcs_server", "raylet"):
            [pid] = session_members(os.getpid(), named=name)
            descriptor = os.pidfd_open(pid)
            open_files.callback(os.close, descriptor)
            watched.register(descriptor, selectors.EVENT_READ, name)
        yield watched


def _ended_process(ready: list[tuple[selectors.SelectorKey, int]]) -> str | None:
    """Return the name of a process that ended; None if only stdin ended."""
    return next((key.data for key, _ in ready if key.data is not None), None)


def main(prune_seconds: float = PRUNE_SECONDS, log_seconds: float = KEEP_SECONDS) -> None:
    """Run the head. The process must lead a session, because it ends everything in its session."""
    if os.getsid(0) != os.getpid():
        sys.exit("Only the service can start this process: it must lead a session of its own.")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # on Ctrl-C the service stops first
    block_sigterm()
    line = sys.stdin.buffer.readline()
    if not line:  # the service ended before it sent the command
        return
    command = HeadCommand.model_validate_json(line)
    status = 1
    try:
        status = run_head(command, prune_seconds, log_seconds)
    except BaseException:  # noqa: BLE001  # the service shows the end of this log
        traceback.print_exc()
    # Neither ray.shutdown nor Ray's exit handler: they send SIGTERM, which is blocked, and wait.
    end_session(os.getpid(), wait_seconds=0.0, but=frozenset({os.getpid()}))
    shutil.rmtree(command.temp_dir, ignore_errors=True)  # the service may be removing it too
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    main()
