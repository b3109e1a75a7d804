"""A job warns if its initial parameters were trained on differently standardized inputs."""

import base64
import io
import random
import zipfile
from typing import Any

import numpy as np
import pytest

from batchgrad_engine.checkpoints.origin import read_origin
from batchgrad_workers.data.input_transform import standardization_of
from batchgrad_workers.data.standardization import Standardization
from tests.service.building import body, problem, push, submit
from tests.service.checkpoint_files import WEIGHTS, checkpoint
from tests.service.conftest import Bench

URL = "/v1/jobs/{}/parameters"
ANOTHER = Standardization(np.array([50.0, -1.0, 0.0]), np.array([10.0, 1.0, 1.0]))


@pytest.fixture
def own(bench: Bench) -> Standardization:
    """The standardization of the pushed dataset, whose rows are all training rows."""
    push(bench.http)
    digest = bench.store.dataset("digits").digest.removeprefix("sha256:")
    [file] = [p for p in bench.data_dir.rglob("inputs.npy") if digest[:8] in str(p)]
    inputs = np.load(file)
    return Standardization.of(inputs, np.arange(len(inputs)))


def trained(bench: Bench, known: Standardization | None) -> str:
    """The id of a trained job with this standardization."""
    job = submit(bench.http, standardize=known is not None)
    checkpoint(bench, job.id, 5, known)
    return job.id


def given(content: bytes, kind: str = "safetensors", **more: str) -> dict[str, str]:
    return {kind: base64.b64encode(content).decode(), **more}


def warnings(bench: Bench, start: dict[str, str], *, standardize: bool) -> list[str]:
    """Warnings about the initial parameters of a job, which its plan has as well."""
    job = submit(bench.http, initial_parameters=start, standardize=standardize)
    request = body(initial_parameters=start, standardize=standardize)
    plan = bench.http.post("/v1/plans", json=request).json()
    assert plan["warnings"] == job.warnings
    return [text for text in job.warnings if "initial_parameters" in text]


def test_equal_standardization_gives_no_warning(bench: Bench, own: Standardization) -> None:
    standardized, plain = trained(bench, own), trained(bench, None)
    assert warnings(bench, {"job": standardized}, standardize=True) == []
    assert warnings(bench, {"job": plain}, standardize=False) == []
    folded = bench.http.get(URL.format(standardized), params={"fold": True}).content
    assert warnings(bench, given(folded), standardize=False) == []


def test_different_standardization_gives_a_warning_with_the_figure(
    bench: Bench, own: Standardization
) -> None:
    job = trained(bench, ANOTHER)
    [text] = warnings(bench, {"job": job}, standardize=True)
    mean, deviation = own.mean[1], own.deviation[1]  # of input 1, which is furthest
    assert f"they were -1 and 1, for this job's training rows they are {mean:.6g}" in text
    assert f"{abs(mean + 1) + abs(deviation - 1):.3g} deviations" in text
    assert "standardization: keep" in text


@pytest.mark.parametrize("format_", ["safetensors", "npz"])
def test_raw_folded_and_standardized_parameters_are_distinguished(
    bench: Bench, own: Standardization, format_: str
) -> None:
    standardized, plain = trained(bench, own), trained(bench, None)
    raw, known, folded = (
        given(bench.http.get(URL.format(job), params={"format": format_} | more).content, format_)
        for job, more in ((plain, {}), (standardized, {}), (standardized, {"fold": "true"}))
    )
    [twice] = warnings(bench, folded, standardize=True)
    [bare] = warnings(bench, known, standardize=False)
    [unknown] = warnings(bench, raw, standardize=True)
    assert "standardized twice" in twice
    assert "trained on standardized inputs" in bare
    assert "trained on raw inputs" in unknown


def test_kept_standardization_stays_with_the_stored_parameters(bench: Bench) -> None:
    push(bench.http)
    job = trained(bench, ANOTHER)
    start = {"job": job, "standardization": "keep"}
    assert warnings(bench, start, standardize=True) == []
    second = submit(bench.http, initial_parameters=start, standardize=True)
    stored = second.spec.initial_parameters
    assert stored is not None
    assert (stored.job, stored.standardization) == (None, "keep")
    assert stored.digest is not None
    content = (bench.data_dir / "parameters").joinpath(
        f"{stored.digest.removeprefix('sha256:')}.safetensors"
    )
    known = standardization_of(read_origin(content.read_bytes()).transform)
    assert known is not None
    assert known.mean.tobytes() == ANOTHER.mean.tobytes()
    assert known.deviation.tobytes() == ANOTHER.deviation.tobytes()


def test_keep_needs_parameters_with_standardization(bench: Bench) -> None:
    push(bench.http)
    start = {"job": trained(bench, None), "standardization": "keep"}
    refused = bench.http.post("/v1/jobs", json=body(initial_parameters=start, standardize=True))
    [error] = problem(refused, 422)["errors"]
    assert error["pointer"] == "/initial_parameters/standardization"
    unused = bench.http.post("/v1/jobs", json=body(initial_parameters=start, standardize=False))
    assert "standardize is false" in problem(unused, 422)["detail"]


def test_an_npz_download_is_the_safetensors_download(bench: Bench) -> None:
    """The stored bytes are equal for any sequence of the arrays in the archive."""
    push(bench.http)
    job = trained(bench, ANOTHER)
    kept = []
    for format_ in ("safetensors", "npz"):
        content = bench.http.get(URL.format(job), params={"format": format_}).content
        start = given(content, format_, standardization="keep")
        spec = submit(bench.http, initial_parameters=start, standardize=True).spec
        kept.append(spec.initial_parameters)
    assert kept[0] == kept[1]


def test_an_npz_without_metadata_is_accepted(bench: Bench) -> None:
    push(bench.http)
    file = io.BytesIO()
    arrays: Any = {name: np.asfortranarray(array) for name, array in WEIGHTS.items()}
    np.savez_compressed(file, **arrays)
    assert warnings(bench, given(file.getvalue(), "npz"), standardize=True) == []


def npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **{name.replace("_", "."): array for name, array in arrays.items()})
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        (b"PK nonsense", "not a readable npz"),
        (npz(**{"0_weight": WEIGHTS["0.weight"]}), "no 0.bias"),
        (npz(**{"0_weight": np.zeros((3, 4)), "0_bias": WEIGHTS["0.bias"]}), "0.weight [3, 4]"),
        (npz(**{"0_weight": np.zeros(10**6)}), "at most"),
        (npz(**{"0_bias": np.array(["a"])}), "expected floats"),
        (npz(standardize_mean=np.zeros(3)), "belong together"),
    ],
)
def test_an_npz_that_does_not_fit_is_refused(bench: Bench, content: bytes, detail: str) -> None:
    push(bench.http)
    answer = bench.http.post("/v1/jobs", json=body(initial_parameters=given(content, "npz")))
    [error] = problem(answer, 422)["errors"]
    assert error["pointer"] == "/initial_parameters/npz"
    assert detail in error["detail"]


def test_no_mutation_of_an_npz_gives_an_internal_error(bench: Bench) -> None:
    push(bench.http)
    job = trained(bench, ANOTHER)
    whole = bench.http.get(URL.format(job), params={"format": "npz"}).content
    draw = random.Random(7)
    for _ in range(60):
        damaged = bytearray(whole)
        for _ in range(draw.randint(1, 8)):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        start = given(bytes(damaged[: draw.choice([len(whole), len(whole) // 2])]), "npz")
        request = body(initial_parameters=start, standardize=True)
        status = bench.http.post("/v1/plans", json=request).status_code
        assert status in (200, 422)


@pytest.mark.parametrize(
    "comment",
    [b"", b"mine", b"[1]", b'{"batchgrad": 3}', b'{"batchgrad": {"standardization": [1]}}'],
)
def test_a_foreign_comment_is_ignored(bench: Bench, comment: bytes) -> None:
    push(bench.http)
    file = io.BytesIO(npz(**{name.replace(".", "_"): w for name, w in WEIGHTS.items()}))
    with zipfile.ZipFile(file, "a") as archive:
        archive.comment = comment
    assert warnings(bench, given(file.getvalue(), "npz"), standardize=True) == []


def test_means_that_float32_cannot_fold_are_folded_in_float64(bench: Bench) -> None:
    push(bench.http)
    far = Standardization(np.full(3, 1e9), np.ones(3))
    url = URL.format(trained(bench, far))
    for format_ in ("npz", "safetensors"):
        refused = problem(bench.http.get(url, params={"fold": True, "format": format_}), 422)
        assert refused["code"] == "cannot_fold"
        assert "1e+09 deviations from 0" in refused["detail"]
    request = {"fold": "true", "precision": "float64", "format": "npz"}
    answer = bench.http.get(url, params=request)
    assert answer.headers["etag"].endswith('-npz-folded-float64"')
    with np.load(io.BytesIO(answer.content)) as folded:
        arrays = dict(folded)
    z = np.array([[-1.0, 0.5, 2.0]])
    expected = z @ (WEIGHTS["0.weight"] + 5).T.astype(float) + 5
    found = (1e9 + z) @ arrays["0.weight"].T + arrays["0.bias"]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    plain = bench.http.get(url, params={"precision": "float64", "format": "npz"}).content
    with np.load(io.BytesIO(plain)) as widened:
        assert widened["0.weight"].tolist() == (WEIGHTS["0.weight"] + 5).tolist()
        assert widened["0.weight"].dtype == np.float64
