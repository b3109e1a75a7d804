"""The reference of the HTTP interface, from the application's OpenAPI description."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from prometheus_client import CollectorRegistry

from batchgrad_service.app import create_app
from batchgrad_service.metrics.registry import Metrics
from batchgrad_service.routes import docs
from batchgrad_service.settings import Settings
from batchgrad_service.store import Store


def http() -> str:
    """The page's generated part."""
    openapi = described()
    return "\n\n".join(
        [
            "## Routes",
            *(block for entry in docs.routes(openapi) for block in _blocks(entry)),
            "## Schemas",
            *(block for entry in docs.schemas(openapi) for block in _blocks(entry)),
        ]
    )


def described() -> dict[str, Any]:
    """The OpenAPI description of an application that never answers."""
    registry, unused = CollectorRegistry(), cast("Any", None)
    with tempfile.TemporaryDirectory() as folder:
        store = Store("sqlite://")  # never opened
        app = create_app(
            Settings(data_dir=Path(folder)),
            store,
            unused,
            registry,
            metrics=Metrics(registry, version="0", count_jobs=dict),
            planner=unused,
            questions=unused,
            exporters={"safetensors": unused},
            token="of nobody",  # noqa: S106
        )
        return app.openapi()


def _blocks(entry: docs.Entry) -> Iterator[str]:
    if entry.anchor:
        yield f'<a id="{entry.anchor}"></a>'
    yield f"### `{entry.heading}`"
    yield entry.text
    yield "\n".join(f"- {item}" for item in entry.items)
