"""Help and /docs say the same where Python drops docstrings and asserts (PYTHONOPTIMIZE=2)."""

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


def told(folder: Path) -> dict[str, Any]:
    """Every command's help, and the description of HTTP."""
    names = [command.name or command.callback.__name__ for command in _of(commands)]
    asked = [[name, "--help"] for name in names]
    asked += [["datasets", command.name or "push", "--help"] for command in _of(data.datasets)]
    told = {" ".join(ask): CliRunner().invoke(commands, ask).stdout for ask in asked}
    store = Store(f"sqlite:///{folder}/batchgrad.sqlite3")
    settings, registry = Settings(data_dir=folder), CollectorRegistry()
    unasked: Any = None
    app = create_app(
        settings,
        store,
        unasked,
        registry,
        metrics=Metrics(registry, version="0", count_jobs=dict),
        planner=unasked,
        questions=unasked,
        exporters={"safetensors": unasked},
    )
    store.close()
    return {"help": told, "openapi": app.openapi()}


def _of(app: Any) -> list[Any]:
    return list(app.registered_commands)


def test_nothing_is_lost(tmp_path: Path) -> None:
    script = (
        "import json, sys; from pathlib import Path; from tests.stress import "
        "test_without_docstrings as own; assert False; json.dump(own.told(Path(sys.argv[1])), "
        "sys.stdout)"
    )
    command = [sys.executable, "-OO", "-c", script, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    here = told(tmp_path)
    assert json.loads(done.stdout) == json.loads(json.dumps(here))
    assert all(len(text) > 150 for text in here["help"].values())
    assert "exact mean gradient" in here["openapi"]["paths"]["/v1/gradients"]["post"]["description"]
