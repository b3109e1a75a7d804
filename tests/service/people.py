"""A job on a table of invented people, its predictions and evaluations, for tests over HTTP."""

import csv
import io
from typing import Any

import numpy as np

from batchgrad.contract import Evaluation, Job
from tests.service.conftest import Bench
from tests.service.trained import operated, push, train, uploaded

COLORS = ["blue", "green", "red"]


def table(rows: int, seed: int, *, target: bool = True) -> str:
    """A CSV with an id, numbers with gaps, a category and a date; the label depends on them."""
    random = np.random.default_rng(seed)
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(["who", "age", "color", "since", *(["label"] if target else [])])
    for row in range(rows):
        age, color = random.normal(40, 10), random.integers(3)
        day = int(random.integers(1, 28))
        score = (age - 40) / 10 + color + random.normal(0, 0.3)
        label = ["low", "middle", "high"][int(np.clip(score, 0, 2.9) // 1)]
        shown = "" if row % 7 == 3 else f"{age:.2f}"
        values = [f"p{row}", shown, COLORS[color], f"2024-03-{day:02d}"]
        writer.writerow([*values, *([label] if target else [])])
    return file.getvalue()


def people_job(bench: Bench) -> Job:
    """A job on `table`, stored as the dataset people."""
    done = push(
        bench,
        "people",
        table(200, 0).encode(),
        file={"name": "people.csv"},
        table={"target": "label", "id": "who", "missing": "mean"},
    )
    assert done.status == "succeeded", done.problem
    return train(bench, "people", 3, validation_fraction=0.2)


def predicted(bench: Bench, job: Job, content: str, **more: Any) -> bytes:
    """The file of predictions of a CSV."""
    file = {"upload": uploaded(bench, content.encode()), "name": "new.csv"}
    done = operated(bench, f"/v1/jobs/{job.id}/predictions", file=file, **more)
    assert done.status == "succeeded", done.problem
    assert done.parameters_digest == job.parameters_digest
    answer = bench.http.get(f"/v1/operations/{done.id}/result")
    assert len(answer.content) == done.bytes
    return answer.content


def evaluated(bench: Bench, job: Job, **body: Any) -> Evaluation:
    """The figures of an evaluation that succeeds."""
    done = operated(bench, f"/v1/jobs/{job.id}/evaluations", **body)
    assert done.status == "succeeded", done.problem
    assert done.evaluation is not None
    return done.evaluation


def rows_of(text: bytes) -> list[dict[str, str]]:
    """The rows of a CSV."""
    return list(csv.DictReader(io.StringIO(text.decode())))
