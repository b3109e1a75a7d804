"""Blocking functions made of coroutine functions and async iterators."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Generator, Iterator

import pytest

from batchgrad.http.blocking import run, sync


class Methods:
    closed = False

    async def twice(self, number: int, *, more: int = 0) -> int:
        """Two times a number."""
        return 2 * number + more

    def up_to(self, number: int) -> AsyncIterator[int]:
        """Numbers from 0."""
        if number < 0:
            raise ValueError(number)
        return self._up_to(number)

    async def _up_to(self, number: int) -> AsyncIterator[int]:
        try:
            for one in range(number):
                yield await self.twice(one)
        finally:
            self.closed = True


class Blocking:
    twice = sync(Methods.twice)
    up_to = sync(Methods.up_to)

    def __init__(self) -> None:
        self._methods = Methods()


def test_a_coroutine_function_becomes_a_function() -> None:
    assert Blocking().twice(4, more=1) == 9
    assert Blocking.twice.__doc__ == "Two times a number."
    assert inspect.signature(Blocking.twice) == inspect.signature(Methods.twice)


def test_an_async_iterator_becomes_an_iterator_which_closes_it() -> None:
    blocking = Blocking()
    assert list(blocking.up_to(3)) == [0, 2, 4]
    signature = inspect.signature(Blocking.up_to)
    assert signature.return_annotation == Iterator[int]
    assert list(signature.parameters) == ["self", "number"]
    blocking._methods.closed = False
    items = blocking.up_to(3)
    assert next(items) == 0
    del items
    assert blocking._methods.closed


def test_arguments_are_checked_at_the_call() -> None:
    with pytest.raises(ValueError, match="-1"):
        Blocking().up_to(-1)


def test_what_suspends_is_an_error() -> None:
    class Suspends:
        def __await__(self) -> Generator[None, None, None]:
            yield

    closed = []

    async def wait() -> None:
        try:
            await Suspends()
        finally:
            closed.append(True)

    with pytest.raises(RuntimeError, match="does not offer") as caught:
        run(wait())
    assert closed == [True]  # though the frame of `caught` keeps the coroutine
    assert caught.tb is not None


def test_it_works_inside_of_an_event_loop() -> None:
    async def main() -> None:
        blocking = Blocking()
        assert blocking.twice(2) == 4
        items = blocking.up_to(3)
        assert next(items) == 0
        del items
        assert blocking._methods.closed

    asyncio.run(main(), debug=True)
