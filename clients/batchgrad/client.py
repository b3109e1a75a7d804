"""The clients: every resource of the service as a method, typed by `batchgrad.contract`.

The methods are defined in `batchgrad.methods`, once for both.
"""

import os
import time
from collections.abc import Awaitable, Callable
from functools import cached_property
from typing import ClassVar, Generic, Self, TypeVar

import httpx2

from batchgrad import timeouts
from batchgrad.contract.wire import Origin
from batchgrad.errors import InvalidArgument
from batchgrad.http.blocking import sync
from batchgrad.http.connections import AsyncConnection, BlockingConnection, Connection
from batchgrad.http.retries import Retries
from batchgrad.http.session import Session
from batchgrad.methods.base import Service
from batchgrad.methods.datasets import DatasetMethods
from batchgrad.methods.modules import ModuleMethods
from batchgrad.methods.notebook import NotebookMethods
from batchgrad.methods.parameters import ParametersMethods
from batchgrad.methods.predictions import PredictionMethods
from batchgrad.methods.sweeps import SweepMethods
from batchgrad.parsing import arguments
from batchgrad.variables import refuse_unknown

DEFAULT_URL = "http://127.0.0.1:8711"

Transport = TypeVar("Transport", httpx2.BaseTransport, httpx2.AsyncBaseTransport)
Slept = TypeVar("Slept", None, Awaitable[None])


class BaseClient(Generic[Transport, Slept]):
    """A session with one service; see `Client` for the arguments."""

    _connect: ClassVar[Callable[..., Connection]]

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        timeout: float | None = timeouts.REQUEST,
        reconnect_timeout: float | None = timeouts.RECONNECT,
        transport: Transport | None = None,
        retries: Retries | None = None,
        sleep: Callable[[float], Slept] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if url is None or token is None:
            refuse_unknown(os.environ)
        if not isinstance(retries, Retries | None):
            raise InvalidArgument(
                f"retries is a {type(retries).__name__}; expected batchgrad.http.retries.Retries."
            )
        arguments.optional(arguments.function, "sleep", sleep)
        arguments.function("clock", clock)
        session = Session(
            self._connect,
            (os.environ.get("BATCHGRAD_URL") or DEFAULT_URL) if url is None or url == "" else url,
            os.environ.get("BATCHGRAD_TOKEN") if token is None or token == "" else token,
            timeout=arguments.timeout("timeout", timeout),
            transport=transport,
            retries=retries,
            sleep=sleep,
        )
        patience = arguments.timeout("reconnect_timeout", reconnect_timeout)
        self._service = Service(session, patience, clock)
        session.origin = Origin(self)

    def __deepcopy__(self, _: object) -> Self:
        """The client itself: connections have no copies; scikit-learn copies what it is given."""
        return self

    @property
    def url(self) -> str:
        """Where the service is."""
        return self._service.session.url


class Methods(
    ModuleMethods,
    DatasetMethods,
    NotebookMethods,
    ParametersMethods,
    PredictionMethods,
    SweepMethods,
):
    """Every method of a client."""


class AsyncClient(BaseClient[httpx2.AsyncBaseTransport, Awaitable[None]], Methods):
    """`Client` for asyncio: the same methods, as coroutines and async iterators.

    Use it with `async with`, or await `close`. Cancelling a task ends its request at once.
    `transport` is an httpx2.AsyncBaseTransport, `sleep` a coroutine function.
    """

    _connect = AsyncConnection

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class Client(BaseClient[httpx2.BaseTransport, None]):
    """A blocking client; use it as a context manager, or call `close`.

    `url` and `token` default to BATCHGRAD_URL and BATCHGRAD_TOKEN.

    The token of this user's own service on this machine is found without them. A request is sent
    again, with backoff, when the connection fails or the service answers 429, 502, 503 or 504.

    Every timeout is in seconds; None waits forever. `timeout` is for the answer to a request;
    methods for which the service computes longer have their own. `reconnect_timeout` is for a
    service that stops answering while a job is watched: a job outlives a restart of its service.

    `retries`, `sleep`, `clock` and `transport` (httpx2's) are arguments so that tests need neither
    time nor network. Every error is a `batchgrad.BatchgradError`.
    """

    _connect = BlockingConnection

    @cached_property
    def _methods(self) -> Methods:
        return Methods(self._service)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # the service
    close = sync(Methods.close)
    version = sync(Methods.version)
    ready = sync(Methods.ready)

    # jobs
    submit = sync(Methods.submit)
    plan = sync(Methods.plan)
    job = sync(Methods.job)
    jobs = sync(Methods.jobs)
    cancel = sync(Methods.cancel)
    pause = sync(Methods.pause)
    resume = sync(Methods.resume)
    delete = sync(Methods.delete)

    # a job that runs
    watch = sync(Methods.watch)
    wait = sync(Methods.wait)
    events = sync(Methods.events)

    # several jobs
    sweep = sync(Methods.sweep)
    watch_all = sync(Methods.watch_all)

    # what a job has done
    steps = sync(Methods.steps)
    last_step = sync(Methods.last_step)
    checkpoints = sync(Methods.checkpoints)
    examples = sync(Methods.examples)
    rows = sync(Methods.rows)
    step_examples = sync(Methods.step_examples)

    frame = sync(Methods.frame)
    plot = sync(Methods.plot)

    # trained parameters
    parameters = sync(Methods.parameters)
    download = sync(Methods.download)

    # what they say of examples
    predict = sync(Methods.predict)
    predict_to = sync(Methods.predict_to)
    evaluate = sync(Methods.evaluate)

    # datasets
    put_dataset = sync(Methods.put_dataset)
    put_arrays = sync(Methods.put_arrays)
    dataset = sync(Methods.dataset)
    datasets = sync(Methods.datasets)
    set_privacy_budget = sync(Methods.set_privacy_budget)
    delete_dataset = sync(Methods.delete_dataset)

    # operations on data
    operation = sync(Methods.operation)
    operations = sync(Methods.operations)
    cancel_operation = sync(Methods.cancel_operation)

    # one minibatch
    gradients = sync(Methods.gradients)
