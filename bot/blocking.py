"""From code without an event loop into code with one: the single bridge, for LangChain's synchronous methods and the
terminal. Works in a notebook too, where a loop already runs in the calling thread.

All of it runs on one loop in a thread of its own, so that clients and locks made in one call are good in the next.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterator
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="blocking", daemon=True).start()
    return loop


def _result(work: Coroutine[Any, Any, T]) -> T:
    future = asyncio.run_coroutine_threadsafe(work, _loop())
    try:
        return future.result()
    except BaseException:
        # Ctrl-C reaches the waiting thread alone: the work is told too.
        future.cancel()
        raise


def wait_for(call: Callable[[], Awaitable[T]]) -> T:
    """The result of `await call()`."""

    async def work() -> T:
        return await call()

    return _result(work())


def iterate(open_stream: Callable[[], AsyncGenerator[T, None]]) -> Iterator[T]:
    """The items of an async generator; closing this one closes that one."""
    stream = open_stream()
    done = object()

    async def following() -> T | object:
        return await anext(stream, done)

    try:
        while (item := _result(following())) is not done:
            yield item  # type: ignore[misc]
    finally:
        _result(stream.aclose())
