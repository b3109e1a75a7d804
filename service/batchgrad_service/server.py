"""The service as a process: built, started, and stopped in order."""

import asyncio
import os
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import FrameType

import structlog
import uvicorn
from prometheus_client import CollectorRegistry

from batchgrad.version import __version__
from batchgrad_engine.checkpoints.exports import parameters_as_npz, parameters_as_safetensors
from batchgrad_service import access_token, logs
from batchgrad_service.announcement import found_by_clients, say, say_ready, url_of
from batchgrad_service.app import create_app
from batchgrad_service.closing import Closing
from batchgrad_service.data_directory import OTHER_DATABASE, DataDirectoryError, opened
from batchgrad_service.datasets import leftovers
from batchgrad_service.datasets.sources import Sources
from batchgrad_service.disk_room import DiskRoom
from batchgrad_service.http.connections import ConnectionLimit, allowed_connections
from batchgrad_service.jobs.supervisor import Supervisor
from batchgrad_service.metrics.registry import Metrics
from batchgrad_service.questions.pool import QuestionPool
from batchgrad_service.routes.dependencies import Services
from batchgrad_service.settings import Settings
from batchgrad_service.store import Store
from batchgrad_service.validation import plan
from batchgrad_workers.system import gc_tuning

STOP_SECONDS = 5
"""How long answers under way may take to end when the service stops."""

WARM_SECONDS = 0.5
"""When processes that answer get ready, unless somebody has asked before: just after the start."""

BACKLOG = 128
"""Connections that the kernel holds until they are accepted."""

ACCEPTED_AT_ONCE = 16
"""Connections that asyncio accepts before it looks at the first: each holds a descriptor, also
those that are turned away, so that a burst of BACKLOG can take more than there are."""

TICKS_A_SECOND = 10
"""uvicorn's own pace."""

_log = structlog.stdlib.get_logger("batchgrad")


class _Server(uvicorn.Server):
    """uvicorn, which says when it listens, and ends long answers first when it stops."""

    def __init__(
        self,
        config: uvicorn.Config,
        *,
        limit: ConnectionLimit,
        on_listening: Callable[[], None],
        closing: Closing,
    ) -> None:
        super().__init__(config)
        self._limit = limit
        self._on_listening = on_listening
        self._closing = closing

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listening in sockets or ():  # asyncio told the kernel ACCEPTED_AT_ONCE as well
            listening.listen(BACKLOG)
        self._on_listening()

    async def on_tick(self, counter: int) -> bool:
        if counter % TICKS_A_SECOND == 0:
            self._limit.close_overdue(self.server_state.connections)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._closing.begin()
        await super().shutdown(sockets)

    def stop(self) -> None:
        """Begin to stop; from any thread, or a signal handler."""
        self.should_exit = True


def run(
    settings: Settings, *, stop_when_stdin_closes: bool = False, remove_data_dir: bool = False
) -> int:
    """Serve until SIGTERM, Ctrl-C or, if asked, the end of stdin; the process's exit status.

    With port 0 a free port is taken, and the line {"url": …, "token_file": …} goes to stdout.
    A service that stops with its stdin is a private one, whose owner knows its token.
    `remove_data_dir` takes a new or empty data directory, and removes it at the end.
    """
    logs.configure(settings.log_format, settings.log_level)
    gc_tuning.collect_seldom()
    try:
        listening = _listen(settings.host, settings.port)
    except OSError as error:
        return _refuse(
            f"cannot listen on {settings.host} port {settings.port} ({error.strerror}): "
            "choose another --port or --host."
        )
    with listening:
        try:
            with opened(settings, only_new=remove_data_dir) as (directory, store, trusted):
                try:
                    return _serve(settings, store, listening, stop_when_stdin_closes, clean=trusted)
                finally:
                    if remove_data_dir:
                        store.close()
                        shutil.rmtree(directory.path)
        except DataDirectoryError as error:
            return _refuse(str(error))


def _serve(
    settings: Settings,
    store: Store,
    listening: socket.socket,
    stop_when_stdin_closes: bool,
    *,
    clean: bool,
) -> int:
    try:
        token = access_token.obtain(settings)
    except ValueError as error:
        return _refuse(str(error))
    registry = CollectorRegistry()
    disk = DiskRoom(settings.folders, settings.min_free_disk_bytes)
    metrics = Metrics(
        registry,
        version=__version__,
        count_jobs=store.count_by_status,
        jobs_limit=settings.max_running_jobs,
        last_checkpoint=store.last_checkpoint_time(),
        disk=disk,
    )
    url = url_of(settings.host, listening.getsockname()[1])
    sources = Sources(settings, url)
    supervisor = Supervisor(settings, store, metrics, sources=sources, disk=disk)
    closing = Closing()
    questions = QuestionPool(
        settings.data_dir,
        memory_bytes=settings.max_request_memory_bytes,
        cpu_seconds=settings.max_request_cpu_seconds,
    )
    app = create_app(
        settings,
        store,
        supervisor,
        registry,
        metrics=metrics,
        planner=plan.plan,
        questions=questions,
        exporters={"safetensors": parameters_as_safetensors, "npz": parameters_as_npz},
        token=token,
        sources=sources,
        disk=disk,
        closing=closing,
    )
    limit = ConnectionLimit(
        allowed_connections(settings.max_connections, settings.max_running_jobs)
    )
    server = _Server(
        uvicorn.Config(
            app,
            http=limit.protocol,  # type: ignore[arg-type]  # what makes one will do
            backlog=ACCEPTED_AT_ONCE,
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=STOP_SECONDS,
        ),
        limit=limit,
        on_listening=lambda: say_ready(url, settings, token),
        closing=closing,
    )
    gc_tuning.freeze_existing_objects()
    with _stopped_by_signals(server.stop):
        supervisor.start()
        try:
            _tidy(app.state.services, settings.data_dir, clean=clean)
            if stop_when_stdin_closes:
                _watch_stdin(server.stop)
            private = stop_when_stdin_closes
            with (
                closing.subscribe(questions.stop),
                nullcontext() if private else _later(WARM_SECONDS, questions.start),
                nullcontext() if private else found_by_clients(settings, listening),
            ):
                asyncio.run(server.serve(sockets=[listening]))
        finally:
            _log.info("stopping; engines write their checkpoints")
            supervisor.stop()
            _log.info("stopped")
    return 0


@contextmanager
def _later(seconds: float, call: Callable[[], None]) -> Iterator[None]:
    """Inside the block `call` is called once, after so many seconds."""
    timer = threading.Timer(seconds, call)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _tidy(services: Services, data_dir: Path, *, clean: bool) -> None:
    """Remove what was never finished, unless the database is a stranger's; say what is unknown."""
    if not clean:
        _log.warning(OTHER_DATABASE)
        return
    services.datasets.clean()
    threading.Thread(target=services.datasets.clean_blobs, name="blobs", daemon=True).start()
    services.parameters.clean()
    unknown = sum(1 for _ in leftovers.find(data_dir, services.store))
    if unknown:
        _log.info(
            "The database does not know what is here; `batchgrad gc` shows it.", entries=unknown
        )


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.create_server((host, port), family=family, backlog=BACKLOG)
    # What is accepted inherits it. asyncio leaves it out for a socket that it has not made itself,
    # and every answer on a connection that is kept waits 40 ms for the client's acknowledgement.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def _refuse(reason: str) -> int:
    say(sys.stderr, f"batchgrad: {reason}")
    return 1


def _watch_stdin(stop: Callable[[], None]) -> None:
    """Call `stop` when stdin ends: who started this service holds the other end."""

    def watch() -> None:
        # The bare descriptor: a thread inside sys.stdin's lock would break the interpreter's exit.
        while os.read(0, 4096):
            pass
        stop()

    threading.Thread(target=watch, name="stdin", daemon=True).start()


@contextmanager
def _stopped_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Inside the block SIGTERM and Ctrl-C call `stop`, however often they come.

    While uvicorn serves it has handlers of its own; afterwards it raises the signal again, which
    must not end the process before engines have ended.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(_number: int, _frame: FrameType | None) -> None:
        stop()

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
