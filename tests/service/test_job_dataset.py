"""Other nodes fetch a job's dataset: route, blob store, settings."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn
from pydantic import ValidationError

from batchgrad_service.datasets.sources import Sources
from batchgrad_service.settings import Settings
from batchgrad_workers.data.source import DatasetSource, open_dataset
from batchgrad_workers.data.transfers import DatasetUnavailable
from batchgrad_workers.system.files import hex_of
from tests.service.building import npz, problem, push
from tests.service.conftest import Bench

Make = Callable[..., Bench]
TOKEN = "0123456789abcdef-token"  # noqa: S105 - opens nothing but this test


def job_on(bench: Bench, dataset: str = "digits") -> tuple[str, DatasetSource]:
    """Create a queued job; return it with the dataset source of its engine."""
    answer = bench.http.post(
        "/v1/jobs",
        json={
            "name": "j",
            "dataset": dataset,
            "model": {"layers": [{"kind": "linear", "out_features": 2}]},
            "loss": "softmax_cross_entropy",
            "optimizer": {"kind": "sgd", "learning_rate": 0.1},
            "batch_size": 10,
            "steps": 20,
        },
    )
    assert answer.status_code == 201, answer.text
    job: str = answer.json()["id"]
    sources: Sources = bench.app.state.services.sources
    return job, sources.of(job, bench.store.job_inputs(job).dataset_digest)


def folder(job: str, source: DatasetSource) -> str:
    """The URL path below which the job's workers find the dataset's files."""
    return f"/v1/jobs/{job}/datasets/{hex_of(source.digest)}"


def bearer(source: DatasetSource) -> dict[str, str]:
    return {"Authorization": f"Bearer {source.secret}"}


def test_the_route_returns_a_jobs_files_and_ranges_of_them(bench: Bench) -> None:
    push(bench.http)
    job, source = job_on(bench)
    content = (source.path / "inputs.npy").read_bytes()
    url = f"{folder(job, source)}/inputs.npy"

    assert bench.http.get(url, headers=bearer(source)).content == content
    part = bench.http.get(url, headers=bearer(source) | {"Range": "bytes=100-"})
    assert (part.status_code, part.content) == (206, content[100:])
    assert source.files == {"inputs": len(content), "targets": 128 + 10 * 8}
    for wrong in ("weights.npy", "..%2finputs.npy", "inputs"):
        answer = bench.http.get(f"{folder(job, source)}/{wrong}", headers=bearer(source))
        assert problem(answer, 404)
    other = f"/v1/jobs/{job}/datasets/{'0' * 64}/inputs.npy"
    assert problem(bench.http.get(other, headers=bearer(source)), 404)


def test_the_route_needs_the_jobs_secret_and_ends_with_the_job(bench: Bench) -> None:
    push(bench.http)
    push(bench.http, "other", shift=1)
    job, source = job_on(bench)
    _, of_another = job_on(bench, "other")
    url = f"{folder(job, source)}/inputs.npy"

    for headers in ({}, bearer(of_another), {"Authorization": "Bearer "}):
        assert problem(bench.http.get(url, headers=headers), 403)["code"] == "forbidden"
    problem(bench.http.get(f"{folder('none', source)}/inputs.npy", headers=bearer(source)), 403)
    assert bench.http.get(url, headers=bearer(source)).status_code == 200
    bench.store.transition(job, to="cancelled", allowed=["queued"])
    problem(bench.http.get(url, headers=bearer(source)), 403)


def test_workers_never_need_the_service_s_token(make_bench: Make, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    bench = make_bench(token_file=tmp_path / "token")
    bench.http.headers["Authorization"] = f"Bearer {TOKEN}"
    push(bench.http)
    job, source = job_on(bench)
    del bench.http.headers["Authorization"]

    url = f"{folder(job, source)}/inputs.npy"
    assert bench.http.get(url, headers=bearer(source)).status_code == 200
    problem(bench.http.get(url, headers={"Authorization": f"Bearer {TOKEN}"}), 403)
    for other in (f"/v1/jobs/{job}", f"{url}/", folder(job, source)):
        problem(bench.http.get(other, headers=bearer(source)), 401)
    assert source.secret not in TOKEN
    assert source.secret not in repr(source)


@contextmanager
def listening(app: Any) -> Iterator[str]:
    """Serve the application on its own port while the block runs."""
    with socket.create_server(("127.0.0.1", 0)) as port:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", ws="none"))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[port])))
        thread.start()
        try:
            yield f"http://127.0.0.1:{port.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def test_a_node_fetches_from_the_real_service(bench: Bench, tmp_path: Path) -> None:
    inputs = np.random.default_rng(0).normal(size=(40_000, 10))  # 3 MB: several chunks
    archive = npz(inputs=inputs, targets=np.arange(40_000) % 2, weights=np.ones(40_000))
    assert bench.http.put("/v1/datasets/digits", content=archive).status_code == 201
    job, source = job_on(bench)
    elsewhere = replace(source, path=Path("/nowhere"), cache_directory=tmp_path / "node")
    with listening(bench.app) as url:
        fetched = open_dataset(replace(elsewhere, urls=(f"{url}{folder(job, source)}",)), {})
        assert np.array_equal(fetched.inputs, inputs)
        assert fetched.weights is not None
        refused = replace(elsewhere, secret="", cache_directory=tmp_path / "other")
        with pytest.raises(DatasetUnavailable, match="it answered 403"):
            open_dataset(replace(refused, urls=(f"{url}{folder(job, source)}",)), {})


def test_the_blob_store_has_the_same_datasets_as_the_service(
    make_bench: Make, tmp_path: Path
) -> None:
    store = tmp_path / "blobs"
    bench = make_bench(blob_store=f"file://{store}/", advertised_url="http://head:1/")
    digest = push(bench.http)["digest"]
    job, source = job_on(bench)

    assert source.urls == (
        f"file://{store}/{hex_of(digest)}",
        f"http://head:1{folder(job, source)}",
    )
    elsewhere = replace(source, path=Path("/nowhere"), cache_directory=tmp_path / "node")
    assert (
        open_dataset(elsewhere, {}).inputs.tolist() == np.load(source.path / "inputs.npy").tolist()
    )

    (store / hex_of(digest) / "inputs.npy").write_bytes(b"torn")
    again = npz(inputs=np.load(source.path / "inputs.npy"), targets=np.arange(10) % 2)
    assert bench.http.put("/v1/datasets/digits", content=again).status_code == 200
    assert open_dataset(replace(elsewhere, cache_directory=tmp_path / "b"), {}).inputs.shape == (
        10,
        3,
    )

    bench.store.transition(job, to="cancelled", allowed=["queued"])
    assert bench.http.delete("/v1/datasets/digits").status_code == 204
    assert list(store.iterdir()) == []


def test_an_upload_that_the_blob_store_refuses_is_not_stored(
    make_bench: Make, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    bench = make_bench(blob_store=f"file://{tmp_path}/file")
    answer = bench.http.put("/v1/datasets/d", content=npz(inputs=np.ones((2, 2)), targets=[0, 1]))
    assert problem(answer, 503)["code"] == "blob_store_unavailable"
    assert bench.store.datasets().data == []
    assert list((tmp_path / "datasets").iterdir()) == []


@pytest.mark.parametrize(
    ("setting", "value", "detail"),
    [
        ("blob_store", "/shared/folder", "file:///shared/folder"),
        ("blob_store", "https://host/x", "not a store that can be written to"),
        ("blob_store", "nonsense://x", "cannot be opened"),
        ("blob_store", "ftp://alice:s3cret@host/x", "The URL has a password: remove it"),
        ("advertised_url", "http://alice:s3cret@head:1", "has a user name or password"),
        ("advertised_url", "head:8711", "use http://HOST:PORT"),
        ("advertised_url", "http://head:8711/?a=1", "use http://HOST:PORT"),
        ("node_cache_bytes", 0, "node_cache_bytes"),
    ],
)
def test_invalid_settings_are_refused(setting: str, value: Any, detail: str) -> None:
    with pytest.raises(ValidationError, match=detail) as caught:
        Settings(**{setting: value})
    assert (
        "s3cret" not in caught.value.errors()[0]["msg"]
    )  # of which the command line makes its own


def test_the_advertised_url_is_by_default_the_listening_address(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    [url] = Sources(settings, "http://127.0.0.1:5").of("j", "sha256:aa").urls
    assert url == "http://127.0.0.1:5/v1/jobs/j/datasets/aa"
    for wrong in ("head:8711", "http://[::1", "http://head:port", "http://head:0"):
        with pytest.raises(ValueError, match="not the URL of a service"):
            Settings(data_dir=tmp_path, advertised_url=wrong)
    configured = Settings(data_dir=tmp_path, advertised_url="https://head/batchgrad/")
    [url] = Sources(configured, "http://127.0.0.1:5").of("j", "sha256:aa").urls
    assert url == "https://head/batchgrad/v1/jobs/j/datasets/aa"
