"""Several replies at the same time, side by side: which of them grew, and how one looks that is under way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import TypeVar

from bot.web.pages.handlers import in_words
from bot.web.pages.html import lines, notice

NOTHING = '<div class="reply"><span class="quiet">The reply appears here.</span></div>'
WAITING = '<div class="reply"><span class="waiting" role="status">Waiting for its turn …</span></div>'
Key = TypeVar("Key")


async def race(
    streams: Mapping[Key, AsyncGenerator[str, None]],
) -> AsyncGenerator[tuple[Key, str | Exception], None]:
    """(key, what its stream yielded) as all run at once. One that fails yields its error, and the others go on; closing this
    ends them all."""
    updates: asyncio.Queue[tuple[Key, str | Exception | None]] = asyncio.Queue()

    async def run(key: Key, stream: AsyncGenerator[str, None]) -> None:
        try:
            async with aclosing(stream) as texts:
                async for text in texts:
                    updates.put_nowait((key, text))
        except Exception as error:
            updates.put_nowait((key, error))
        finally:
            updates.put_nowait((key, None))

    tasks = [asyncio.create_task(run(key, stream)) for key, stream in streams.items()]
    try:
        running = len(tasks)
        while running:
            key, update = await updates.get()
            if update is None:
                running -= 1
            else:
                yield key, update
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def reply_html(reply: str | Exception) -> str:
    """A reply so far, or why there is none."""
    if isinstance(reply, Exception):
        return notice(in_words(reply), "bad")
    return f'<div class="reply">{lines(reply)}</div>'
