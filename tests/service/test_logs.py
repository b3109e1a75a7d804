"""Logs of service and engine."""

import json
import logging
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

from batchgrad_engine import logs
from batchgrad_engine.messages import Start
from batchgrad_workers.data.source import DatasetSource
from tests.service.building import npz, spec
from tests.service.test_server import ended, reached, serving

REQUEST = "follow-me.1"


def lines_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def test_the_request_id_reaches_the_log_of_the_engine(tmp_path: Path) -> None:
    data = npz(inputs=np.zeros((10, 3), np.float32), targets=np.arange(10) % 2)
    body = spec(steps=3, workers=0).model_dump(mode="json")
    with serving(tmp_path / "data") as process:
        url, headers = reached(process)
        with httpx2.Client(base_url=url, headers=headers, timeout=30) as http:
            http.put("/v1/datasets/digits", content=data).raise_for_status()
            answer = http.post("/v1/jobs", json=body, headers={"X-Request-ID": REQUEST})
            assert answer.headers["X-Request-ID"] == REQUEST
            job_id = answer.json()["id"]
            with http.stream("GET", f"/v1/jobs/{job_id}/events") as events:
                assert "succeeded" in events.read().decode()
        process.terminate()
        _, stderr = ended(process)
    mine = [line for line in lines_of(stderr) if line.get("request_id") == REQUEST]
    assert {"batchgrad.http", "batchgrad_service.jobs.attempt"} <= {line["logger"] for line in mine}
    attempts = [line for line in mine if line["logger"] == "batchgrad_service.jobs.attempt"]
    assert {(line["job_id"], line["attempt"]) for line in attempts} == {(job_id, 1)}
    engine = lines_of((tmp_path / "data/jobs" / job_id / "engine.log").read_text("utf-8"))
    assert {(line["request_id"], line["job_id"], line["attempt"]) for line in engine} == {
        (REQUEST, job_id, 1)
    }
    assert [line["event"] for line in engine if line["event"] in {"started", "finished"}] == [
        "started",
        "finished",
    ]


def test_an_engines_log_has_tracebacks_and_warnings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = Start(
        job_id="job_1",
        attempt=2,
        request_id=REQUEST,
        spec=spec(),
        dataset=DatasetSource(tmp_path),
        job_directory=tmp_path,
    )
    before, level = logging.root.handlers[:], logging.root.level
    try:
        logging.root.handlers = []
        logs.configure(start)
        try:
            _ = 1 / int("0")
        except ZeroDivisionError:
            logging.getLogger("any").exception("it %s", "broke", extra={"data": {"step": 7}})
    finally:
        logging.captureWarnings(capture=False)
        logging.root.handlers = before
        logging.root.setLevel(level)
    (line,) = lines_of(capsys.readouterr().err)
    assert line["event"] == "it broke"
    assert (line["step"], line["attempt"], line["level"]) == (7, 2, "error")
    assert "ZeroDivisionError" in line["exception"]
