"""Any wrong argument raises a BatchgradError, and no error contains a secret."""

import asyncio
import inspect
import io
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, cast

import httpx2
import numpy as np
import pytest

import batchgrad
from batchgrad import AsyncClient, Client, errors
from batchgrad.parsing import arguments
from batchgrad.parsing.spec_files import load_gradients

SECRET = "hunter2-hunter2-hunter2"  # noqa: S105 (no secret)
WRONG: list[Any] = [
    None,
    "",
    " ",
    "..",
    "\n",
    "a\0b",
    "\ud800",
    "ü" * 300,
    5,
    -1,
    3.5,
    float("nan"),
    10**400,
    True,
    b"x",
    object(),
    [],
    {},
    {(1, 2): object()},
    [[1, 2], [3]],
    np.array([object()]),
    np.array(["a"]),
    io.BytesIO(b"npz"),
    Path("/nonexistent/file.npz"),
    Path("/"),
    "/nonexistent/folder/m.safetensors",
]
METHODS = sorted(
    name
    for name, method in inspect.getmembers(Client, inspect.isfunction)
    if not name.startswith("_") and len(inspect.signature(method).parameters) > 1
)
RIGHT: dict[str, Any] = {
    "job_id": "job_1",
    "epsilon": 8.0,
    "job": "job_1",
    "spec": {"name": "x"},
    "request": {"inputs": [[1]]},
    "path": "theta.safetensors",
    "name": "digits",
    "data": b"npz",
    "operation_id": "operation_1",
    "inputs": [[1.0]],
    "targets": [1.0],
    "step": 1,
    "over": {"seed": [1]},
    "job_ids": ["job_1"],
}


def calls(name: str) -> Iterator[dict[str, Any]]:
    """Calls with one wrong argument each."""
    parameters = [
        parameter
        for parameter in list(inspect.signature(getattr(Client, name)).parameters.values())[1:]
        if parameter.kind is not parameter.VAR_KEYWORD
    ]
    right = {p.name: RIGHT[p.name] for p in parameters if p.default is p.empty}
    for parameter in parameters:
        for wrong in WRONG:
            yield {**right, parameter.name: wrong}


@pytest.mark.parametrize("name", METHODS)
def test_wrong_arguments_raise_batchgrads_own_errors(
    kit: Any, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    script = kit.Script(lambda _: kit.problem(422, "invalid", "Wrong."))
    refused = []
    with script.client() as client:
        for given in calls(name):
            try:
                result = getattr(client, name)(**given)
                if isinstance(result, Iterator):
                    list(islice(result, 3))
            except errors.BatchgradError as error:
                refused.append(str(error))
    assert len(refused) > 5, name
    assert asyncio.run(refused_by(script.async_client(), name)) == refused


async def refused_by(client: AsyncClient, name: str) -> list[str]:
    """The errors of the same calls, by the client for asyncio."""
    refused = []
    async with client:
        for given in calls(name):
            try:
                result = getattr(client, name)(**given)
                if isinstance(result, AsyncIterator):
                    async for _ in result:
                        pass
                else:
                    await result
            except errors.BatchgradError as error:
                refused.append(str(error))
    return refused


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_wrong_arguments_of_a_client_itself_are_refused(kind: Any) -> None:
    for name in inspect.signature(kind).parameters:
        refused = 0
        for wrong in WRONG:
            try:
                kind(**{"url": "http://h", name: wrong})
            except errors.BatchgradError:
                refused += 1
        assert refused > 5, name


@pytest.mark.parametrize("function", [batchgrad.load_job, batchgrad.load_gradients])
def test_wrong_paths_and_overrides_are_refused(function: Any, spec_file: str) -> None:
    for wrong in WRONG:
        with pytest.raises(errors.BatchgradError):
            function(wrong)
    if function is batchgrad.load_job:
        assert function(spec_file, ()).name == "digits"
        for wrong in WRONG:
            with suppress(errors.BatchgradError):
                function(spec_file, wrong)


@pytest.mark.parametrize("wrong", [None, "", " ", "..", "\ud800", 5, True, b"x", object(), {}])
def test_an_invalid_id_sends_nothing(kit: Any, wrong: Any) -> None:
    script = kit.Script(kit.answer(200, kit.job()))
    with script.client() as client:
        for method in (client.job, client.delete, client.wait, client.cancel, client.dataset):
            with pytest.raises(errors.InvalidArgument, match=r"(job_id|name) (is|contains) "):
                method(wrong)
        with pytest.raises(errors.InvalidArgument, match=r"give its id, job\.id"):
            client.wait(client.job("job_1"))
    assert len(script.seen) == 1


def test_what_is_neither_true_nor_false_is_refused(kit: Any) -> None:
    flags = [
        (name, parameter)
        for name in METHODS
        for parameter, value in inspect.signature(getattr(Client, name)).parameters.items()
        if value.annotation is bool
    ]
    assert len(flags) > 5
    with kit.Script(kit.problem(422, "invalid", "Wrong.")).client() as client:
        for name, flag in flags:
            for given in calls(name):
                if not isinstance(given.get(flag, True), bool):
                    with pytest.raises(errors.BatchgradError, match=flag):
                        list(getattr(client, name)(**given))


def test_a_number_out_of_range_is_refused_with_both_limits() -> None:
    with pytest.raises(errors.InvalidArgument, match=f"expected an integer from 1 to {2**63 - 1}"):
        arguments.whole("step", 2**63, least=1)
    with pytest.raises(errors.InvalidArgument, match="seconds, at least 0 and below 1e12"):
        arguments.seconds("timeout", 1e13)


@pytest.mark.parametrize("wrong", [*WRONG[4:], "http://a..b:1", "http://h:99999", "h:1", "//h"])
def test_an_invalid_url_or_timeout_is_refused(wrong: Any) -> None:
    with pytest.raises(errors.BatchgradError, match="The service's URL is"):
        Client(wrong)
    for name in ("timeout", "reconnect_timeout"):
        if not isinstance(wrong, int | float) or isinstance(wrong, bool):
            with pytest.raises(errors.InvalidArgument, match=name):
                Client("http://h", **cast("Any", {name: wrong}))


def test_a_client_that_is_closed_says_so(kit: Any) -> None:
    client = kit.Script(kit.answer(200, kit.job())).client()
    client.close()
    with pytest.raises(errors.InvalidArgument, match="closed"):
        client.job("job_1")
    with pytest.raises(errors.InvalidArgument, match="closed"):
        list(client.events("job_1"))


def test_answers_that_cannot_be_read_are_unexpected(kit: Any) -> None:
    broken = httpx2.Response(
        200, headers={"Content-Encoding": "gzip"}, stream=httpx2.ByteStream(b"no")
    )
    with kit.Script(broken).client() as client, pytest.raises(errors.UnexpectedAnswer):
        client.job("job_1")


def test_numpy_values_and_keys_are_accepted(kit: Any) -> None:
    script = kit.Script(kit.problem(422, "invalid", "Wrong."))
    spec = {
        "class_weights": {np.int64(0): np.float32(0.5), np.int64(1): 2},
        "batch_size": np.uint8(3),
        "kernel_size": (np.int32(2), 2),
        "standardize": np.bool_(True),
        "inputs": np.eye(2),
    }
    with script.client() as client, pytest.raises(errors.InvalidRequest):
        client.submit(spec)
    sent = script.seen[0].content.decode()
    assert sent == (
        '{"class_weights": {"0": 0.5, "1": 2}, "batch_size": 3, "kernel_size": [2, 2], '
        '"standardize": true, "inputs": [[1.0, 0.0], [0.0, 1.0]]}'
    )


def test_numbers_that_json_lacks_are_named_with_their_place(kit: Any, tmp_path: Path) -> None:
    file = tmp_path / "minibatch.yaml"
    file.write_text(
        "model: {layers: [{kind: linear, out_features: 1}]}\nloss: squared_error\n"
        "inputs: [[1e-3], [.inf]]\ntargets: [1, 2]\n"
    )
    with kit.Script().client() as client:
        with pytest.raises(errors.InvalidSpec, match=r"inputs\[1\]\[0\] is inf"):
            client.gradients(load_gradients(file))
        with pytest.raises(errors.InvalidSpec, match=r"optimizer.learning_rate is nan"):
            client.plan({"optimizer": {"learning_rate": np.float64("nan")}})


@pytest.mark.parametrize("around", ["{}\n", "\r{}", " {} ", "\t{}\n\n"])
def test_white_space_around_a_token_is_ignored(kit: Any, around: str) -> None:
    script = kit.Script(kit.answer(200, kit.job()))
    with script.client(token=around.format(SECRET)) as client:
        client.job("job_1")
    assert script.seen[0].headers["Authorization"] == f"Bearer {SECRET}"


def full_text(error: BaseException) -> str:
    """The text of an error with its traceback and causes."""
    return "".join(traceback.format_exception(error))


@pytest.mark.parametrize(
    "arguments",
    [
        {"token": f"{SECRET}\nX-Other: 1"},
        {"token": f"ü{SECRET}"},
        {"token": f"{SECRET} {SECRET}"},
        {"url": f"http://user:{SECRET}@a..b:1"},
        {"url": f"htp://user:{SECRET}@host"},
        {"url": f"http://user:{SECRET}@host:port"},
        {"url": f"user:{SECRET}@host:1"},
        {"url": f"http://user:{SECRET}#x@host"},
        {"url": f"http://user:/{SECRET}@host:port"},
        {"url": f"http://user:{SECRET}@host", "token": "t" * 16},
    ],
)
def test_errors_contain_no_secrets(arguments: dict[str, Any]) -> None:
    with pytest.raises(errors.BatchgradError) as caught:
        Client(**arguments)
    assert SECRET not in full_text(caught.value)


def test_a_password_in_the_url_is_sent_and_never_shown(kit: Any) -> None:
    script = kit.Script(kit.answer(200, kit.job()), httpx2.ConnectError("refused"))
    transport = httpx2.MockTransport(script)
    url = f"http://user:{SECRET}@service"
    with Client(url, transport=transport, sleep=script.slept.append) as client:
        client.job("job_1")
        assert script.seen[0].headers["Authorization"].startswith("Basic ")
        with pytest.raises(
            errors.ConnectionFailed, match="No answer from http://service "
        ) as caught:
            client.job("job_1")
        assert SECRET not in full_text(caught.value) + repr(client) + client.url + str(
            vars(caught.value)
        )


PROXY = f"http://user:{SECRET}@127.0.0.1:9"


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("ALL_PROXY", f"socks5://user:{SECRET}@127.0.0.1:1080", "ALL_PROXY is a SOCKS proxy"),
        ("HTTP_PROXY", f"htp://user:{SECRET}@127.0.0.1:3128", "HTTP_PROXY is 'htp://…@127.0.0.1"),
        ("SSL_CERT_FILE", "/nonexistent/ca.pem", "SSL_CERT_FILE is '/nonexistent/ca.pem'"),
        ("SSL_CERT_FILE", "/etc/hostname", "SSL_CERT_FILE is '/etc/hostname'"),
        ("http_proxy", PROXY, r"through the proxy http://…@127.0.0.1:9 \(http_proxy\)"),
        ("ALL_PROXY", PROXY, r"through the proxy http://…@127.0.0.1:9 \(ALL_PROXY\)"),
        ("HTTP_PROXY", "http://a..b:1", "cannot be sent"),
    ],
)
def test_errors_name_the_environment_variable_of_a_wrong_value(
    kit: Any, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, message: str
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv(variable, value)
    with pytest.raises(errors.BatchgradError, match=message) as caught:
        Client("http://192.0.2.1:8801", sleep=lambda _: None).job("job_1")
    assert SECRET not in full_text(caught.value)


def test_a_key_that_json_lacks_is_an_invalid_spec(kit: Any) -> None:
    with kit.Script().client() as client, pytest.raises(errors.InvalidSpec, match="not tuple"):
        client.submit({("a", "b"): 1})
