"""Jobs that were trained in this process on datasets of a bench's service."""

import itertools
from pathlib import Path
from typing import Any

from batchgrad.contract import Job, JobSpec, Operation
from batchgrad_engine.attempt import run_attempt
from batchgrad_engine.messages import Checkpointed, EngineMessage, Finished, Sent, Start, encode
from batchgrad_service.jobs.reports import Reports
from batchgrad_workers.data.source import DatasetSource
from batchgrad_workers.system.files import hex_of
from tests.engine.attempts import ScriptedCommands, attempt
from tests.service.conftest import Bench
from tests.service.test_uploads import begin
from tests.service.waiting import ended, upload

LINEAR: dict[str, Any] = {
    "name": "j",
    "loss": "softmax_cross_entropy",
    "optimizer": {"kind": "adam", "learning_rate": 0.05},
    "batch_size": 16,
    "microbatch_size": 8,
    "epochs": 3,
    "standardize": True,
    "workers": 0,
    "threads": 1,
}


def linear(outputs: int) -> dict[str, Any]:
    return {"layers": [{"kind": "linear", "out_features": outputs}]}


def train(bench: Bench, dataset: str, outputs: int, **changes: Any) -> Job:
    """Submit a job, run its engine here, and store its checkpoints."""
    spec = {**LINEAR, "dataset": dataset, "model": linear(outputs), **changes}
    answer = bench.http.post("/v1/jobs", json=spec)
    assert answer.status_code == 201, answer.text
    job_id = answer.json()["id"]
    inputs, services = bench.store.job_inputs(job_id), bench.app.state.services
    number = bench.store.begin_attempt(job_id)
    assert number is not None
    directory: Path = services.job_directory(job_id)
    directory.mkdir(parents=True, exist_ok=True)
    other = inputs.validation_digest
    messages = attempt(
        JobSpec.model_validate(spec),
        services.datasets.directory(inputs.dataset_digest),
        directory,
        validation_dataset=other and DatasetSource(services.datasets.directory(other)),
    )
    for message in messages:
        if isinstance(message, Checkpointed):
            assert bench.store.record_checkpoint(job_id, number, message)
    return bench.store.job(job_id)


def take_attempt(bench: Bench, job_id: str, commands: ScriptedCommands | None = None) -> None:
    """Run one attempt at the job in this process and store all of its messages."""
    bench.store.transition(job_id, to="queued")  # if it was paused
    number = bench.store.begin_attempt(job_id)
    assert number is not None
    inputs = bench.store.job_inputs(job_id)
    folder = bench.data_dir / "jobs" / job_id
    folder.mkdir(parents=True, exist_ok=True)
    reports = Reports(bench.store, bench.metrics, bench.data_dir)
    lines = itertools.count(1)

    def store_message(sent: Sent) -> None:
        message: Any = EngineMessage.validate_json(encode(sent))
        if isinstance(message, Finished):
            to: Any = message.outcome
            if to == "paused":
                bench.store.transition(job_id, to="pausing", attempt=number)
            bench.store.transition(job_id, to=to, reason=message.reason, attempt=number)
        else:
            assert reports.take(job_id, number, message, next(lines))

    digest = inputs.initial_parameters
    start = Start(
        job_id=job_id,
        attempt=number,
        spec=inputs.spec,
        dataset=bench.app.state.services.sources.of(job_id, inputs.dataset_digest),
        job_directory=folder,
        initial_parameters=digest
        and bench.data_dir / "parameters" / f"{hex_of(digest)}.safetensors",
    )
    run_attempt(start, commands or ScriptedCommands(), store_message, save_unstored=lambda: None)


def uploaded(bench: Bench, content: bytes) -> str:
    """The digest of an uploaded file; it may be there already."""
    known: dict[str, Any] = begin(bench.http, content).json()
    return known["digest"] if known["received"] else upload(bench.http, content)


def push(bench: Bench, name: str, content: bytes, **request: Any) -> Operation:
    """Upload a file and import it; `request` are keys of an ImportRequest."""
    file = {"upload": uploaded(bench, content), **request.pop("file", {})}
    begun = bench.http.put(f"/v1/datasets/{name}", json={"file": file, **request})
    assert begun.status_code == 202, begun.text
    return waited(bench, begun.json())


def operated(bench: Bench, path: str, **body: Any) -> Operation:
    """Begin an operation and wait for its end."""
    begun = bench.http.post(path, json=body)
    assert begun.status_code == 202, begun.text
    return waited(bench, begun.json())


def waited(bench: Bench, begun: dict[str, Any]) -> Operation:
    url = f"/v1/operations/{begun['id']}"
    return ended(lambda: Operation.model_validate(bench.http.get(url).json()))
