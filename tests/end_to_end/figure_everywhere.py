"""`python figure_everywhere.py FOLDER`: print all places that show a job's figures, as JSON.

Run on a copy of the tree by test_figures.py.
"""

import json
import sys
import time
from pathlib import Path

import httpx2
from typer.testing import CliRunner

from batchgrad.cli.app import app
from batchgrad.client import Client
from batchgrad.user_machine.demo import digits, spec
from batchgrad.user_machine.private_service import private_service

START_SECONDS = 60.0


def shown(folder: Path) -> dict[str, str]:
    """The text of each place that shows figures, by the place's name."""
    with private_service(folder=folder) as client:
        client.put_arrays("digits", *digits())
        [file] = folder.glob("*/token")
        token = file.read_text().strip()
        headers = {"Authorization": f"Bearer {token}"}
        job = client.submit(spec(0, None, 1_000_000))
        with httpx2.Client(base_url=client.url, headers=headers) as http:
            metrics = _metrics_of_steps(http)
            client.cancel(job.id)
            _wait_for_its_end(client, job.id)
            paths = {
                "docs": "/docs",
                "description": "/openapi.json",
                "page": f"/jobs/{job.id}",
                "job": f"/v1/jobs/{job.id}",
                "rows": f"/v1/jobs/{job.id}/steps?max_points=2",
                "progress": f"/v1/jobs/{job.id}/events?type=progress&max_points=2",
            }
            texts = {name: http.get(path).raise_for_status().text for name, path in paths.items()}
        commands = {
            "get": ["get", job.id],
            "steps": ["steps", job.id, "--max-points", "2"],
            "help": ["steps", "--help"],
        }
        for name, command in commands.items():
            done = CliRunner().invoke(app, command, obj=lambda: Client(client.url, token))
            texts[name] = done.stdout
        return {"metrics": metrics, **texts}


def _metrics_of_steps(http: httpx2.Client) -> str:
    """The text of /metrics once the job has done a step."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        metrics = http.get("/metrics").text
        if "batchgrad_job_gradient_norm{" in metrics:
            return metrics
        time.sleep(0.1)
    raise TimeoutError(f"The job did no step in {START_SECONDS} seconds.")


def _wait_for_its_end(client: Client, job_id: str) -> None:
    for _ in client.watch(job_id, timeout=START_SECONDS):
        pass


if __name__ == "__main__":
    print(json.dumps(shown(Path(sys.argv[1]))))  # noqa: T201 - for the test
