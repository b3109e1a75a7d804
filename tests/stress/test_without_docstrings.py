"""Help and /docs keep their texts when Python drops docstrings (PYTHONOPTIMIZE=2)."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from typer.testing import CliRunner

from batchgrad.cli import data
from batchgrad.cli.app import app as commands
from batchgrad_service.app import create_app
from batchgrad_service.metrics.registry import Metrics
from batchgrad_service.settings import Settings
from batchgrad_service.store import Store


def texts(folder: Path) -> dict[str, Any]:
    """The help of every command, and the OpenAPI description."""
    names = [command.name or command.callback.__name__ for command in _of(commands)]
    calls = [[name, "--help"] for name in names]
    calls += [["datasets", command.name or "push", "--help"] for command in _of(data.datasets)]
    helps = {" ".join(call): CliRunner().invoke(commands, call).stdout for call in calls}
    store = Store(f"sqlite:///{folder}/batchgrad.sqlite3")
    settings, registry = Settings(data_dir=folder), CollectorRegistry()
    unused: Any = None
    app = create_app(
        settings,
        store,
        unused,
        registry,
        metrics=Metrics(registry, version="0", count_jobs=dict),
        planner=unused,
        questions=unused,
        exporters={"safetensors": unused},
    )
    store.close()
    return {"help": helps, "openapi": app.openapi()}


def _of(app: Any) -> list[Any]:
    return list(app.registered_commands)


def test_no_text_is_lost(tmp_path: Path) -> None:
    script = (
        "import json, sys; from pathlib import Path; from tests.stress import "
        "test_without_docstrings as own; assert False; json.dump(own.texts(Path(sys.argv[1])), "
        "sys.stdout)"
    )
    command = [sys.executable, "-OO", "-c", script, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    here = texts(tmp_path)
    assert json.loads(done.stdout) == json.loads(json.dumps(here))
    assert all(len(text) > 150 for text in here["help"].values())
    assert "exact mean gradient" in here["openapi"]["paths"]["/v1/gradients"]["post"]["description"]
