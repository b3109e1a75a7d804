"""The private cluster's process: `python -m batchgrad_service.ray_head.process`.

Reads one JSON line (`HeadCommand`) from stdin, starts a Ray head for this machine alone, prints
`{"address": ...}` on stdout and keeps it up until its stdin closes, so that the cluster ends with
the service however that ends. Ray is imported here, in the ray executor and in the actor, only.
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
ENGINES_SECONDS = 1.0
"""Losing Ray ends an engine without an exception, so it gets time for its checkpoint first."""


class HeadCommand(BaseModel):
    """What the service, process number `service`, asks; `temp_dir` is the keeper's to remove."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_cpus: int
    object_store_memory_bytes: int
    temp_dir: Path
    token_path: Path
    service: int


def client_environment(temp_dir: Path, token_path: Path) -> dict[str, str]:
    """What a driver of the private cluster needs in its environment, and the cluster itself too.

    The name of RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER misleads: 0 makes Ray live on 127.0.0.1 on every
    system, and only then do its servers not listen on all interfaces.
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
    """Settings of the head: notice a dead process in seconds, start no worker before its need."""
    return {
        "RAY_health_check_initial_delay_ms": "1000",
        "RAY_health_check_period_ms": "1000",
        "RAY_health_check_timeout_ms": "1000",
        "RAY_health_check_failure_threshold": "3",
        "RAY_prestart_worker_first_driver": "0",
        "RAY_DISABLE_IMPORT_WARNING": "1",
        "RAY_kill_worker_timeout_milliseconds": "200",  # after a SIGTERM that no worker hears
        **ROTATION,
    }


def keep(order: HeadCommand, prune_seconds: float, log_seconds: float) -> int:
    """Start the head, say where it is, wait for stdin's end or the head's; the exit status.

    Every `prune_seconds`, logs of dead workers go that are older than `log_seconds`.
    """
    ray_folder = order.temp_dir / "ray"
    os.environ.update(client_environment(order.temp_dir, order.token_path) | head_environment())
    answer = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what Ray prints is no answer

    import ray  # noqa: PLC0415  (it reads the environment when it is imported)

    context = ray.init(
        num_cpus=order.num_cpus,
        object_store_memory=order.object_store_memory_bytes,
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
        lost = _first(ready)
    if lost:
        sys.stderr.write(f"{lost} is gone: the cluster ends.\n")
        return 1
    if os.getppid() != order.service:  # it was killed: its engines write their checkpoints now
        time.sleep(ENGINES_SECONDS)
    return 0


@contextmanager
def _watch() -> Iterator[selectors.BaseSelector]:
    """What ends the cluster: stdin's end, or the end of a process without which there is none.

    Ray itself would wait a minute for a dead gcs_server, while new drivers came and failed.
    """
    with ExitStack() as open_files, selectors.DefaultSelector() as watched:
        watched.register(sys.stdin.fileno(), selectors.EVENT_READ, None)
        for name in ("gcs_server", "raylet"):
            [pid] = session_members(os.getpid(), named=name)
            descriptor = os.pidfd_open(pid)
            open_files.callback(os.close, descriptor)
            watched.register(descriptor, selectors.EVENT_READ, name)
        yield watched


def _first(ready: list[tuple[selectors.SelectorKey, int]]) -> str | None:
    """The name of a process that ended; None when only stdin did."""
    return next((key.data for key, _ in ready if key.data is not None), None)


def main(prune_seconds: float = PRUNE_SECONDS, log_seconds: float = KEEP_SECONDS) -> None:
    """Obey one order; needs to lead a session, because it ends with everything in it."""
    if os.getsid(0) != os.getpid():
        sys.exit("The keeper is started by the service, as the leader of a session of its own.")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C: the service stops first, in order
    block_sigterm()
    line = sys.stdin.buffer.readline()
    if not line:  # the service died before it could say what it wants
        return
    order = HeadCommand.model_validate_json(line)
    status = 1
    try:
        status = keep(order, prune_seconds, log_seconds)
    except BaseException:  # noqa: BLE001  # the service shows the end of this log
        traceback.print_exc()
    # Not ray.shutdown, nor its part in Python's own end: they ask by SIGTERM, and wait.
    end_session(os.getpid(), wait_seconds=0.0, but=frozenset({os.getpid()}))
    shutil.rmtree(order.temp_dir, ignore_errors=True)  # perhaps the service does, at this moment
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    main()
