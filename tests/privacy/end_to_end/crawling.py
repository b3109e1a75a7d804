"""Read all that a service shows of a job, in a form in which two jobs can be compared."""

import json
import re
from pathlib import Path
from typing import Any

import httpx2

PUBLIC = {
    "gradient_norm",
    "gradient_checksum",
    "parameters_digest",
    "last_parameters_digest",
    "dataset_digest",
    "validation_loss",
    "validation_accuracy",
}
"""Fields of JSON that follow from the noisy parameters, or name the dataset."""

PASSING = {
    "seq",
    "time",
    "created_at",
    "started_at",
    "finished_at",
    "idempotency_key",
    "duration_seconds",
}
"""Fields that tell when something happened."""

_EXAMPLES = ("examples?predictions=true", "confusion?set=validation", "suspects.csv")

_MASKS = (
    (r"job_[0-9a-z]+", "JOB"),
    (r"/\S*/batchgrad-private-\w+|batchgrad-private-\w+", "FOLDER"),
    (r"sha256:[0-9a-f]+|\b[0-9a-f]{16,64}\b", "DIGEST"),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d| UTC)?", "TIME"),
    (r"\b\d\d:\d\d:\d\d\b|\b(a moment|\d+(\.\d+)? ?(ms|s|seconds?)) ago\b", "TIME"),
    (r"data-last-event=\"\d+\"", "EVENT"),
    (r"(127\.0\.0\.1|localhost):\d+", "ADDRESS"),
    (r"process \[\d+\]", "PROCESS"),
    (r"\b(pid|port|request_id|inode)\W{1,4}\w+", "PROCESS"),
    (r"[-−]?\d[\d,]*\.\d+([eE][-+]?\d+)?|\d+[eE][-+]?\d+", "FLOAT"),
)


def masked(text: str) -> str:
    """The text without ids, digests, times, addresses and numbers with a decimal point.

    Whole numbers stay: counts of rows and examples would tell of the minibatch.
    """
    for pattern, word in _MASKS:
        text = re.sub(pattern, word, text)
    return text


def plain(value: Any) -> Any:
    """A JSON value without what may differ; other numbers are kept whole."""
    if isinstance(value, dict):
        return {
            key: "…" if key in PUBLIC | PASSING and each is not None else plain(each)
            for key, each in value.items()
        }
    if isinstance(value, list):
        return [plain(each) for each in value]
    return masked(value) if isinstance(value, str) else value


def crawled(http: httpx2.Client, job_id: str) -> dict[str, Any]:
    """Each GET route and page of a job, the lists that name it, and the metrics.

    Routes whose answers are parameters, which are public, have their status alone.
    """
    paths = [
        path for path, each in http.get("/openapi.json").json()["paths"].items() if "get" in each
    ]
    own = [path for path in paths if "{job_id}" in path or path == "/v1/jobs"]
    found: dict[str, Any] = {}
    pages = ["/jobs/{job_id}", *(f"/jobs/{{job_id}}/{name}" for name in _EXAMPLES)]
    for path in [*own, "/metrics", "/", "/jobs", *pages]:
        address = path.replace("{job_id}", job_id)
        address = re.sub(r"\{\w*(step|index|example)\w*\}", "1", address)
        address = re.sub(r"\{\w+\}", "0", address)
        answer = http.get(address)
        found[path] = (answer.status_code, _content(answer))
    found["/metrics"] = _without_clocks(found["/metrics"][1])
    return found


def _without_clocks(metrics: str) -> list[str]:
    """The lines of metrics but for those of processes and durations."""
    clocks = r"(# |python_|process_|batchgrad_http_|\w*_seconds)"
    return [line for line in metrics.splitlines() if not re.match(clocks, line)]


def files(directory: Path) -> dict[str, str]:
    """The texts of a service's logs and job files by name; of tensors, names and metadata.

    How often the client asked is by chance, so requests are left out.
    """
    texts = {}
    for path in sorted(directory.rglob("*")):
        if "datasets" in path.relative_to(directory).parts:
            continue
        if path.suffix in {".log", ".json", ".jsonl"}:
            lines = [
                each for each in path.read_text().splitlines() if "[batchgrad.http]" not in each
            ]
            texts[masked(str(path.relative_to(directory)))] = "\n".join(map(_line, lines))
        if path.suffix == ".safetensors":
            with path.open("rb") as file:
                header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
            metadata = {k: _line(v) for k, v in header.pop("__metadata__", {}).items()}
            texts[masked(str(path.relative_to(directory)))] = str((header, metadata))
    return texts


def _line(line: str) -> str:
    """A line of a log: JSON if it is that, else masked."""
    try:
        return json.dumps(plain(json.loads(line)))
    except ValueError:
        return masked(line)


def _content(answer: httpx2.Response) -> Any:
    kind = answer.headers.get("content-type", "")
    if "json" in kind:
        found = answer.json()
        if answer.request.url.path.endswith("/events"):
            found["data"] = _without_chance(found["data"])
        return plain(found)
    if kind.startswith("text/event-stream"):
        data = [line[5:] for line in answer.text.splitlines() if line.startswith("data:")]
        events = [json.loads(each) for each in data]
        return plain(_without_chance(events))
    return masked(answer.text) if kind.startswith("text/") else kind


def _without_chance(events: list[Any]) -> list[Any]:
    """Events, but instead of those of progress, whose number is by chance, what they tell."""
    told = {
        key
        for each in events
        if each["type"] == "progress"
        for key, value in each["data"].items()
        if value not in (None, {}, [])
    }
    return [sorted(told), *(each for each in events if each["type"] != "progress")]
