"""From code without an event loop into code with one: the single bridge, for LangChain's synchronous methods and the
terminal. Works in a notebook too, where a loop already runs in the calling thread."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TypeVar

from anyio.from_thread import start_blocking_portal

T = TypeVar("T")


def wait_for(call: Callable[[], Awaitable[T]]) -> T:
    """The result of `await call()`."""
    with start_blocking_portal() as portal:
        return portal.call(call)


def iterate(open_stream: Callable[[], AsyncIterator[T]]) -> Iterator[T]:
    """The items of an async iterator; closing this one closes that one."""
    with start_blocking_portal() as portal:
        stream = portal.call(_open, open_stream)
        try:
            while True:
                try:
                    yield portal.call(stream.__anext__)
                except StopAsyncIteration:
                    return
        finally:
            if (close := getattr(stream, "aclose", None)) is not None:
                portal.call(close)


async def _open(open_stream: Callable[[], AsyncIterator[T]]) -> AsyncIterator[T]:
    return open_stream()
