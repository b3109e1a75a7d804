"""Blocking methods from coroutine functions, and iterators from async iterators.

The methods of a client are defined once, as coroutines. On a `BlockingConnection` nothing suspends,
so a coroutine runs to its end in one `send`: without an event loop, threads or generated code.
"""

import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from functools import wraps
from types import GenericAlias
from typing import Any, Concatenate, ParamSpec, TypeVar, get_args, get_origin, overload

P = ParamSpec("P")
T = TypeVar("T")


@overload
def sync(
    method: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Any, P], T]: ...


@overload
def sync(
    method: Callable[Concatenate[Any, P], AsyncIterator[T]],
) -> Callable[Concatenate[Any, P], Iterator[T]]: ...


def sync(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method that runs `method` on the client's `_methods`, and has its signature."""

    @wraps(method)
    def blocking(self: Any, *arguments: Any, **named: Any) -> Any:
        result = method(self._methods, *arguments, **named)
        return run(result) if inspect.iscoroutine(result) else iterate(result)

    signature = inspect.signature(method)
    returned = signature.return_annotation
    if get_origin(returned) is AsyncIterator:
        signature = signature.replace(return_annotation=GenericAlias(Iterator, get_args(returned)))
    described: Any = blocking
    described.__signature__ = signature
    return blocking


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never suspends."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    coroutine.close()
    raise RuntimeError("A method of the blocking client awaited what a Connection does not offer.")


def iterate(items: AsyncGenerator[T]) -> Iterator[T]:
    """The items of an async generator that never suspends; it is closed with the iterator."""
    try:
        while True:
            try:
                item = run(items.__anext__())
            except StopAsyncIteration:
                return
            yield item
    finally:
        run(items.aclose())
