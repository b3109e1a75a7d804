"""Build the FastAPI application from its parts."""

import os
import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from anyio import CapacityLimiter
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.telemetry import TelemetryConfig
from prometheus_client import CollectorRegistry
from threadpoolctl import threadpool_info

from batchgrad.contract import (
    API_VERSION,
    EvaluationRequest,
    GradientsRequest,
    ImportRequest,
    JobSpec,
    PredictionRequest,
    PrivacyBudget,
    ProblemDetails,
    ResumeRequest,
    UploadRequest,
    Version,
)
from batchgrad.contract.wire import Answer, Wire
from batchgrad.display.docstrings import restore_in_subclasses
from batchgrad.version import __version__
from batchgrad_engine.preflight.messages import Preflighted, Request
from batchgrad_service.datasets.blob_store import BlobStore
from batchgrad_service.datasets.datasets import Datasets
from batchgrad_service.datasets.initial_parameters import Exporter, StoredParameters
from batchgrad_service.datasets.sources import Sources
from batchgrad_service.datasets.uploaded_code import UploadedCode
from batchgrad_service.datasets.uploaded_files import UploadedFiles
from batchgrad_service.disk_space import DiskSpace
from batchgrad_service.http import error_handlers
from batchgrad_service.http.authenticator import Authenticator
from batchgrad_service.http.body_buffer import BodyBuffer
from batchgrad_service.http.hosts import AllowedHosts
from batchgrad_service.http.job_answers import JobAnswers, RememberedJobs
from batchgrad_service.http.json_bodies import SCHEMA_REFERENCE
from batchgrad_service.http.limits import body_limits
from batchgrad_service.http.middleware import PUBLIC_PATHS, AccessMiddleware
from batchgrad_service.http.spool import Spool
from batchgrad_service.jobs.event_feed import EventFeeds
from batchgrad_service.jobs.replays import Replays
from batchgrad_service.metrics.registry import Metrics
from batchgrad_service.operations.operations import Operations
from batchgrad_service.preflights.planning import TorchPlanner
from batchgrad_service.preflights.preflights import Preflights
from batchgrad_service.preflights.process import PreflightProcess
from batchgrad_service.privacy.accountant_process import AccountantProcess
from batchgrad_service.privacy.jobs import PrivateJobs
from batchgrad_service.privacy.keys import Keys
from batchgrad_service.privacy.planning import Accounting
from batchgrad_service.routes import (
    about,
    docs,
    events,
    examples,
    gradients,
    history,
    jobs,
    plans,
    rows,
)
from batchgrad_service.routes.data import (
    datasets,
    job_dataset,
    operations,
    predictions,
    uploads,
)
from batchgrad_service.routes.dependencies import (
    HEAVY_AT_ONCE,
    Planner,
    PrivatePlanner,
    Questions,
    Services,
    Supervisor,
)
from batchgrad_service.settings import Settings
from batchgrad_service.shutdown import Shutdown
from batchgrad_service.store import Store
from batchgrad_service.validation.torch.rules import TorchRules
from batchgrad_service.web import (
    assets,
    compare,
    description,
    login,
    missing,
    pages,
    submit,
    why,
)
from batchgrad_service.web import guide as guide_pages
from batchgrad_service.web.ledger import pages as example_pages


def create_app(
    settings: Settings,
    store: Store,
    supervisor: Supervisor,
    registry: CollectorRegistry,
    *,
    metrics: Metrics,
    planner: Planner,
    questions: Questions,
    exporters: Mapping[str, Exporter],
    token: str | None = None,
    sources: Sources | None = None,
    disk: DiskSpace | None = None,
    shutdown: Shutdown | None = None,
    preflight: Callable[[Request], Preflighted] | None = None,
    private_planner: PrivatePlanner | None = None,
    guide: Path = guide_pages.SITE,
    keep_alive_seconds: float = 15.0,
) -> FastAPI:
    """The application.

    `exporters` write a checkpoint file as "safetensors" or "npz". Without a `token` every client
    has access. `shutdown.begin()` ends the event streams, so that a server can stop at once.
    `preflight` examines PyTorch tasks, by default in a process of its own. `guide` is the folder
    of the built guide, which may be missing.
    """
    app = FastAPI(
        title="batchgrad",
        version=__version__,
        description="Trains by the exact mean of per-example gradients and measures the shortcuts.",
        docs_url=None,
        redoc_url=None,
        telemetry=telemetry_of(os.environ),
        redirect_slashes=False,  # FastAPI redirects to an absolute URL, without a proxy's prefix
    )
    shutdown = shutdown or Shutdown()
    examine = (
        preflight or PreflightProcess(settings.preflight_timeout_seconds, shutdown.subscribe).run
    )
    authenticator = None if token is None else Authenticator(token)
    disk = disk or DiskSpace(settings.folders, settings.min_free_disk_bytes)
    files = UploadedFiles(settings.data_dir, disk, max_bytes=settings.max_dataset_bytes)
    rules = TorchRules.of(settings)
    parameters = StoredParameters(settings.data_dir, store, exporters["safetensors"], files)
    app.state.services = Services(
        data_dir=settings.data_dir,
        store=store,
        job_answers=JobAnswers(store),
        supervisor=supervisor,
        disk=disk,
        datasets=Datasets(
            settings.data_dir,
            store,
            max_bytes=settings.max_dataset_bytes,
            blobs=BlobStore(settings.blob_store) if settings.blob_store else None,
        ),
        uploads=files,
        code=UploadedCode(settings.data_dir, store, files),
        torch=rules,
        torch_planner=TorchPlanner(rules, Preflights(examine), parameters),
        operations=Operations(questions, disk),
        sources=sources or Sources(settings),
        parameters=parameters,
        planner=planner,
        questions=questions,
        feeds=EventFeeds(store, shutdown),
        spool=Spool(settings.data_dir),
        heavy=CapacityLimiter(HEAVY_AT_ONCE),
        bodies=BodyBuffer(4 * settings.max_request_bytes),
        private=PrivateJobs(
            store, Keys(settings.data_dir, settings.unsafe_privacy_key), settings.data_dir
        ),
        private_planner=private_planner or Accounting(AccountantProcess(shutdown.subscribe).run),
        replays=Replays(settings.replay_timeout_seconds, shutdown.subscribe),
        exporters=exporters,
        registry=registry,
        version=describe_version(),
        authenticator=authenticator,
        shutdown=shutdown,
        guide=guide,
        private_cluster=settings.ray_address is None,
        keep_alive_seconds=keep_alive_seconds,
    )
    app.add_middleware(RememberedJobs, answers=app.state.services.job_answers)
    app.add_middleware(  # the last one is the outermost
        AccessMiddleware,
        hosts=AllowedHosts(settings),
        authenticator=authenticator,
        limit_of=body_limits(settings),
        observe=metrics.http_request,
    )
    error_handlers.install(app)
    missing.install(app)
    of_jobs = (plans, jobs, events, history, examples, rows)
    of_data = (datasets, uploads, operations, predictions, job_dataset)
    api = (gradients, about, *of_jobs, *of_data)
    web = (assets, description, guide_pages, login, compare, pages, submit, why, example_pages)
    for module in (*api, *web):
        docs.keep_descriptions(module.router)
        app.router.routes.extend(module.router.routes)
    app.openapi = lambda: _openapi(app, with_token=authenticator is not None)  # type: ignore[method-assign]
    return app


def telemetry_of(environment: Mapping[str, str]) -> TelemetryConfig | None:
    """FastAPI's own telemetry, off unless OpenTelemetry's variables set it up.

    FastAPI would look at each request whether somebody has set it up meanwhile.
    """
    if any(name.startswith("OTEL_") for name in environment):
        return None
    return {"tracing": False, "metrics": False, "logs": False}


def describe_version() -> Version:
    """The versions of batchgrad, Python and numpy, and the CPU architecture."""
    found = [library["architecture"] for library in threadpool_info() if "architecture" in library]
    return Version(
        version=__version__,
        api=API_VERSION,
        python=platform.python_version(),
        numpy=np.__version__,
        cpu_architecture=found[0] if found else platform.machine(),
    )


def _openapi(app: FastAPI, *, with_token: bool) -> dict[str, Any]:
    """The OpenAPI description; every error is a ProblemDetails."""
    if app.openapi_schema is None:
        restore_in_subclasses(Wire)
        restore_in_subclasses(Answer)
        described = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            routes=app.routes,
        )
        components = described.setdefault("components", {})
        schemas = components.setdefault("schemas", {})
        for replaced in ("HTTPValidationError", "ValidationError"):
            schemas.pop(replaced, None)
        for body in (
            EvaluationRequest,
            GradientsRequest,
            EvaluationRequest,
            ImportRequest,
            PredictionRequest,
            PrivacyBudget,
            JobSpec,
            PredictionRequest,
            ResumeRequest,
            UploadRequest,
        ):
            _add(schemas, body.__name__, body.model_json_schema(ref_template=SCHEMA_REFERENCE))
        problem = ProblemDetails.model_json_schema(
            ref_template=SCHEMA_REFERENCE, mode="serialization"
        )
        _add(schemas, "ProblemDetails", problem)
        for path, operations in described["paths"].items():
            for operation in operations.values():
                operation["responses"].pop("422", None)
                operation["responses"]["default"] = _PROBLEM
                if with_token and path not in PUBLIC_PATHS:
                    operation["security"] = [{"token": []}]
        if with_token:
            components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        app.openapi_schema = described
    return app.openapi_schema


def _add(schemas: dict[str, Any], name: str, schema: dict[str, Any]) -> None:
    """Add a schema, with the schemas that it refers to."""
    for other, found in {**schema.pop("$defs", {}), name: schema}.items():
        schemas.setdefault(other, found)


_PROBLEM = {
    "description": "An error (RFC 9457)",
    "content": {
        error_handlers.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}
    },
}
