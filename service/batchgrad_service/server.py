"""The service's process: build its parts, start them, and stop them in order."""

import asyncio
import shutil
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry

from batchgrad.version import __version__
from batchgrad_engine.checkpoints.exports import parameters_as_npz, parameters_as_safetensors
from batchgrad_service import access_token, logs
from batchgrad_service.announcement import announced_to_clients, print_line, print_ready, url_of
from batchgrad_service.app import create_app
from batchgrad_service.data_directory import leftovers
from batchgrad_service.data_directory.directory import DATABASE_MISMATCH, DataDirectoryError
from batchgrad_service.data_directory.storage import open_storage
from batchgrad_service.datasets.sources import Sources
from batchgrad_service.disk_space import DiskSpace
from batchgrad_service.http.connections.connection import ConnectionLimit, allowed_connections
from batchgrad_service.http_server import HttpServer, listen
from batchgrad_service.jobs.supervisor import Supervisor
from batchgrad_service.metrics.registry import Metrics
from batchgrad_service.questions.pool import QuestionPool
from batchgrad_service.routes.dependencies import Services
from batchgrad_service.settings import Settings
from batchgrad_service.shutdown import Shutdown, stopped_by_signals, watch_stdin
from batchgrad_service.store import Store
from batchgrad_service.validation import plan
from batchgrad_workers.system import gc_tuning

WARM_UP_DELAY_SECONDS = 0.5
"""When the question pool starts its first process, unless a request has started it before."""

_log = structlog.stdlib.get_logger("batchgrad")


def run(
    settings: Settings, *, stop_when_stdin_closes: bool = False, remove_data_dir: bool = False
) -> int:
    """Serve until SIGTERM, Ctrl-C or (`stop_when_stdin_closes`) the end of stdin.

    Returns the exit status. With port 0 the service takes a free port and prints
    {"url": …, "token_file": …} on stdout. A service that stops with stdin is private: its
    parent process knows its token. `remove_data_dir` needs a new or empty data directory, and
    removes it at the end.
    """
    logs.configure(settings.log_format, settings.log_level)
    gc_tuning.collect_seldom()
    try:
        listening = listen(settings.host, settings.port)
    except OSError as error:
        return _fail(
            f"cannot listen on {settings.host} port {settings.port} ({error.strerror}): "
            "choose another --port or --host."
        )
    with listening:
        try:
            with open_storage(settings, only_new=remove_data_dir) as (directory, store, matches):
                try:
                    return _serve(settings, store, listening, stop_when_stdin_closes, clean=matches)
                finally:
                    if remove_data_dir:
                        store.close()
                        shutil.rmtree(directory.path)
        except DataDirectoryError as error:
            return _fail(str(error))


def _serve(
    settings: Settings, store: Store, listening: socket.socket, private: bool, *, clean: bool
) -> int:
    try:
        token = access_token.obtain(settings)
    except ValueError as error:
        return _fail(str(error))
    registry = CollectorRegistry()
    disk = DiskSpace(settings.folders, settings.min_free_disk_bytes)
    metrics = Metrics(
        registry,
        version=__version__,
        count_jobs=store.count_by_status,
        datasets_privacy=store.datasets_privacy,
        jobs_limit=settings.max_running_jobs,
        last_checkpoint=store.last_checkpoint_time(),
        disk=disk,
    )
    url = url_of(settings.host, listening.getsockname()[1])
    sources = Sources(settings, url)
    supervisor = Supervisor(settings, store, metrics, sources=sources, disk=disk)
    shutdown = Shutdown()
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
        shutdown=shutdown,
    )
    server = HttpServer(
        app,
        limit=ConnectionLimit(
            allowed_connections(settings.max_connections, settings.max_running_jobs)
        ),
        on_listening=lambda: print_ready(url, settings, token),
        shutdown=shutdown,
    )
    gc_tuning.freeze_existing_objects()
    services: Services = app.state.services
    with stopped_by_signals(server.stop):
        supervisor.start()
        try:
            _remove_unfinished(services, settings.data_dir, clean=clean)
            if private:
                watch_stdin(server.stop)
            with (
                shutdown.subscribe(services.operations.stop),
                shutdown.subscribe(questions.stop),
                nullcontext() if private else _after(WARM_UP_DELAY_SECONDS, questions.start),
                nullcontext() if private else announced_to_clients(settings, listening),
            ):
                asyncio.run(server.serve(sockets=[listening]))
        finally:
            _log.info("stopping; engines write their checkpoints")
            services.operations.stop()
            services.operations.join()
            supervisor.stop()
            _log.info("stopped")
    return 0


@contextmanager
def _after(seconds: float, call: Callable[[], None]) -> Iterator[None]:
    """Inside the block, call `call` once after `seconds`."""
    timer = threading.Timer(seconds, call)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _remove_unfinished(services: Services, data_dir: Path, *, clean: bool) -> None:
    """Remove unfinished files, unless the database is another directory's; log orphaned files."""
    if not clean:
        _log.warning(DATABASE_MISMATCH)
        return
    services.datasets.clean()
    services.uploads.clean()
    threading.Thread(target=services.datasets.clean_blobs, name="blobs", daemon=True).start()
    services.parameters.clean()
    services.code.clean()
    services.private.sweep(services.store)
    found = leftovers.find(data_dir, services.store)
    unknown = sum(1 for one in found if one.why != leftovers.UPLOADED)
    if unknown:
        _log.info(
            "the data directory has files that the database does not know; `batchgrad gc` lists "
            "them",
            entries=unknown,
        )


def _fail(reason: str) -> int:
    print_line(sys.stderr, f"batchgrad: {reason}")
    return 1
