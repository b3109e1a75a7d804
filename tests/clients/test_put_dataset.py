"""Datasets that are sent in pieces and read by an operation: resumption, waiting, errors."""

import asyncio
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from batchgrad import errors
from batchgrad.http import uploads
from tests.clients.fake_uploads import FakeUploads

CONTENT = b"a,b\n" + b"1,2\n" * 24
DIGEST = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "PIECE_BYTES", 30)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "t.csv"
    path.write_bytes(CONTENT)
    return path


def service(kit: Any, *faults: Any) -> FakeUploads:
    fake = FakeUploads(kit, *faults)
    fake.operations = [
        fake.operation("waiting"),
        fake.operation("running", rows_done=10, rows=24),
        fake.operation("succeeded", rows_done=24, rows=24),
    ]
    return fake


def test_a_file_is_sent_in_pieces_and_read(kit: Any, file: Path) -> None:
    fake = service(kit)
    script = kit.Script(fake)
    told: list[tuple[str, int, int | None]] = []
    with script.client() as client:
        stored = client.put_dataset(
            "d",
            file,
            target="b",
            kinds={"a": "category"},
            missing={"a": "indicator"},
            delimiter=",",
            replace=True,
            on_progress=lambda *progress: told.append(progress),
        )
    assert stored.name == "digits"
    assert fake.parts == {DIGEST: CONTENT}
    assert fake.imports == [
        {
            "file": {"upload": DIGEST, "name": "t.csv", "text": {"delimiter": ","}},
            "table": {"target": "b", "kinds": {"a": "category"}, "missing": {"a": "indicator"}},
            "replace": True,
        }
    ]
    assert [one for one in told if one[0] != "hash"] == [
        *(("send", sent, 100) for sent in (0, 30, 60, 90, 100)),
        *[("read", 0, None)] * 2,
        ("read", 10, 24),
    ]
    assert ("hash", 100, 100) in told
    assert [len(request.content) for request in script.seen if request.method == "PATCH"] == [
        30,
        30,
        30,
        10,
    ]


def lost_answer(fake: FakeUploads, request: httpx2.Request) -> None:
    fake.patch(request)
    raise httpx2.ReadError("the answer is lost")


def half(fake: FakeUploads, request: httpx2.Request) -> None:
    fake.patch(request, received=11)
    raise httpx2.WriteError("broken in the middle")


def unavailable(fake: FakeUploads, _: httpx2.Request) -> httpx2.Response:
    return fake.kit.answer(503)


def forgotten(fake: FakeUploads, request: httpx2.Request) -> httpx2.Response:
    fake.parts.clear()
    del request
    return fake.kit.problem(404, "upload_not_found", "Begin it.")


def faster(fake: FakeUploads, _: httpx2.Request) -> None:
    """Another client has sent more of the same file."""
    fake.parts[DIGEST] = CONTENT[:70]


@pytest.mark.parametrize("fault", [lost_answer, half, unavailable, forgotten, faster])
def test_an_upload_goes_on_where_the_service_is(kit: Any, file: Path, fault: Any) -> None:
    fake = service(kit, fault, lambda *_: None, fault)
    with kit.Script(fake).client() as client:
        client.put_dataset("d", file)
    assert len(fake.faults) < 2
    assert fake.parts == {DIGEST: CONTENT}


def test_a_later_call_goes_on_and_a_third_sends_nothing(kit: Any, file: Path) -> None:
    def away(*_: Any) -> None:
        raise httpx2.ConnectError("refused")

    fake = service(kit, lambda *_: None, lambda *_: None, *[away] * 500)
    with (
        kit.Script(fake).client(reconnect_timeout=0) as client,
        pytest.raises(errors.ConnectionFailed),
    ):
        client.put_dataset("d", file)
    assert len(fake.parts[DIGEST]) == 60
    fake.faults.clear()
    for sent in (2, 0):
        script = kit.Script(fake)
        fake.operations = [fake.operation("succeeded")]
        with script.client() as client:
            client.put_dataset("d", file)
        assert len([one for one in script.seen if one.method == "PATCH"]) == sent


def test_a_service_that_is_away_is_waited_for(kit: Any, file: Path) -> None:
    def away(*_: Any) -> None:
        raise httpx2.ConnectError("refused")

    fake = service(kit, *[away] * 12)
    script = kit.Script(fake)
    with script.client(reconnect_timeout=1000.0) as client:
        client.put_dataset("d", file)
    assert fake.faults == []
    fake = service(kit, *[away] * 500)
    fake.faults = [away] * 500
    script = kit.Script(fake)
    with (
        script.client(reconnect_timeout=20.0) as client,
        pytest.raises(errors.ConnectionFailed, match="refused"),
    ):
        client.put_dataset("d", file)
    assert 20 < sum(script.slept) < 60


def test_progress_renews_the_time_to_wait(kit: Any, file: Path) -> None:
    def away(*_: Any) -> None:
        raise httpx2.ConnectError("refused")

    slept: list[float] = []
    for faults in ([away] * 40, [*[away] * 40, lambda *_: None, *[away] * 40]):
        fake = service(kit, *faults)
        script = kit.Script(fake)
        with script.client(reconnect_timeout=1.5 * slept[0] if slept else 1e9) as client:
            client.put_dataset("d", file)
        assert fake.faults == []
        slept.append(sum(script.slept))
        assert max(script.slept) == 5  # the pauses have grown
    assert slept[1] > 1.5 * slept[0]


def test_an_upload_that_never_fits_is_given_up(kit: Any, file: Path) -> None:
    fake = service(kit, *[lambda fake, _: fake.kit.problem(409, "wrong_offset", "No.")] * 500)
    with kit.Script(fake).client() as client, pytest.raises(errors.Conflict, match="No"):
        client.put_dataset("d", file)
    assert len(fake.faults) > 300


def test_an_import_that_never_began_is_not_waited_for(kit: Any, file: Path) -> None:
    fake = service(kit)

    def refusing(request: httpx2.Request) -> httpx2.Response:
        if request.method == "PUT":
            raise httpx2.ConnectError("refused")
        return fake(request)

    script = kit.Script(refusing)
    failed = pytest.raises(errors.ConnectionFailed, match="refused")
    with script.client(reconnect_timeout=600.0) as client, failed:
        client.put_dataset("d", file)
    assert sum(script.slept) < 60


def test_each_answer_about_an_operation_renews_the_time_to_wait(kit: Any, file: Path) -> None:
    fake = service(kit)
    fake.operations = [fake.operation("running")]
    polls = 0

    def restarting(request: httpx2.Request) -> httpx2.Response:
        nonlocal polls
        if request.method == "GET":
            polls += 1
            if polls == 500:
                fake.operations = [fake.operation("succeeded")]
            elif polls % 10:
                raise httpx2.ConnectError("refused")
        return fake(request)

    script = kit.Script(restarting)
    with script.client(reconnect_timeout=60.0) as client:
        client.put_dataset("d", file, timeout=None)
    assert sum(script.slept) > 120


def test_a_small_npz_is_one_request(kit: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(b"PK")
    script = kit.Script(kit.answer(200, kit.DATASET))
    with script.client() as client:
        client.put_dataset("d", path, replace=True, timeout=7)
        client.put_dataset("d", path)
    replacing, plain = script.seen
    assert (replacing.method, replacing.content) == ("PUT", b"PK")
    assert replacing.url.query == b"replace=true"
    assert replacing.extensions["timeout"]["read"] == 7
    assert plain.url.query == b""


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (507, "disk_full", errors.ServerError),
        (413, "too_large", errors.InvalidRequest),
        (422, "wrong_digest", errors.InvalidRequest),
        (409, "upload_length_differs", errors.Conflict),
    ],
)
def test_a_refused_upload_is_not_repeated(
    kit: Any, file: Path, status: int, code: str, kind: type[errors.ApiError]
) -> None:
    script = kit.Script(kit.problem(status, code, "No."))
    with script.client() as client, pytest.raises(kind, match="No"):
        client.put_dataset("d", file)
    assert len(script.seen) == 1


def test_a_failed_operation_raises_what_a_request_would(kit: Any, file: Path) -> None:
    fake = service(kit)
    error = {"pointer": "/table/target", "detail": "there is no column 'c'"}
    problem = {
        "title": "Unprocessable",
        "status": 422,
        "code": "invalid_request",
        "detail": "/table/target: there is no column 'c'",
        "errors": [error],
    }
    fake.operations = [fake.operation("running"), fake.operation("failed", problem=problem)]
    with kit.Script(fake).client() as client:
        with pytest.raises(errors.InvalidRequest, match="no column 'c'") as caught:
            client.put_dataset("d", file, target="c")
        assert caught.value.errors[0].pointer == "/table/target"
        fake.operations = [fake.operation("running"), fake.operation("cancelled")]
        with pytest.raises(errors.BatchgradError, match="was cancelled"):
            client.put_dataset("d", file)


def test_an_operation_that_takes_too_long_goes_on(kit: Any, file: Path) -> None:
    fake = service(kit)
    fake.operations = [fake.operation("running", rows_done=3, rows=9)]
    script = kit.Script(fake)
    with (
        script.client() as client,
        pytest.raises(errors.Timeout, match="after 5 s, at row 3 of 9; it goes on"),
    ):
        client.put_dataset("d", file, timeout=5)
    assert 4 < sum(script.slept) <= 5
    assert max(script.slept) == 0.5


def test_a_forgotten_operation_begins_again(kit: Any, file: Path) -> None:
    def restarted(fake: FakeUploads) -> Callable[[httpx2.Request], httpx2.Response]:
        def answer(request: httpx2.Request) -> httpx2.Response:
            if request.method == "GET" and len(fake.imports) < starts:
                return kit.problem(404, "not_found", "Forgotten.")
            return fake(request)

        return answer

    starts = 3
    fake = service(kit)
    with kit.Script(restarted(fake)).client() as client:
        assert client.put_dataset("d", file).name == "digits"
    assert len(fake.imports) == 3
    starts = 4
    fake = service(kit)
    with (
        kit.Script(restarted(fake)).client() as client,
        pytest.raises(errors.UnexpectedAnswer, match="3 times"),
    ):
        client.put_dataset("d", file)


def test_a_service_that_stops_while_it_reads_is_waited_for(kit: Any, file: Path) -> None:
    fake = service(kit)
    problem = {"title": "", "status": 503, "code": "not_ready", "detail": "Stops.", "errors": []}
    fake.operations = [fake.operation("failed", problem=problem)]
    away = 12

    def restarting(request: httpx2.Request) -> httpx2.Response:
        nonlocal away
        if fake.imports and away:
            away -= 1
            fake.operations = [fake.operation("succeeded")]
            raise httpx2.ConnectError("refused")
        return fake(request)

    with kit.Script(restarting).client(reconnect_timeout=600.0) as client:
        assert client.put_dataset("d", file).name == "digits"
    assert (len(fake.imports), away) == (2, 0)


def test_ctrl_c_cancels_the_operation(kit: Any, file: Path) -> None:
    fake = service(kit)
    script = kit.Script(fake)

    def interrupted(stage: str, *_: Any) -> None:
        if stage == "read":
            raise KeyboardInterrupt

    with script.client() as client, pytest.raises(KeyboardInterrupt):
        client.put_dataset("d", file, on_progress=interrupted)
    assert (script.seen[-1].method, script.seen[-1].url.path) == (
        "DELETE",
        "/v1/operations/operation_1",
    )


def test_options_are_checked_before_anything_is_sent(kit: Any, file: Path) -> None:
    script = kit.Script()
    with script.client() as client:
        for wrong, message in (
            ({"max_categories": 1}, "max_categories: got 1; expected at least 2"),
            ({"kinds": {"a": "text"}}, "kinds.a: got 'text'"),
            ({"missing": "zero"}, "missing: got 'zero'"),
            ({"size": (3,)}, "size.1 is required"),
            ({"replace": "yes"}, "replace: got 'yes'"),
            ({"on_progress": 3}, "on_progress is a int"),
        ):
            with pytest.raises(errors.InvalidArgument, match=message):
                client.put_dataset("d", file, **wrong)
    assert script.seen == []


def test_asyncio_sends_and_waits_too(kit: Any, file: Path) -> None:
    fake = service(kit, half)

    async def put() -> str:
        async with kit.Script(fake).async_client() as client:
            return (await client.put_dataset("d", file)).name

    assert asyncio.run(put()) == "digits"
    assert fake.parts == {DIGEST: CONTENT}


def test_the_command_sends_what_its_options_say(kit: Any, run: Any, file: Path) -> None:
    fake = service(kit)
    options = "--target b --target c --as a=category --missing median --drop x --drop y "
    options += "--size 8x9 --no-headings --decimal , --dry-run --rare 3 --dates parts"
    done = run(kit.Script(fake), "datasets", "push", "d", str(file), *options.split())
    assert done.exit_code == 0, done.stderr
    assert fake.imports[0] == {
        "file": {
            "upload": DIGEST,
            "name": "t.csv",
            "text": {"decimal": ",", "headings": False},
            "pictures": {"size": [8, 9]},
        },
        "table": {
            "target": ["b", "c"],
            "kinds": {"a": "category"},
            "missing": "median",
            "drop": ["x", "y"],
            "rare": 3,
            "dates": "parts",
        },
        "dry_run": True,
    }
    for wrong in ("--as a", "--as a=", "--size 3", "--missing mean --missing a=mean"):
        done = run(kit.Script(fake), "datasets", "push", "d", str(file), *wrong.split())
        assert (done.exit_code, done.stdout) == (2, "")
        assert "expected" in done.stderr
