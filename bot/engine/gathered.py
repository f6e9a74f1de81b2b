"""A set of requests on an engine that batches by itself, or not at all: each by its own verb, a few at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from bot.types import Ask, Engine, Outcome, Said, Score, Scored, Usage

AT_ONCE = 8
"""Requests under way. A server's queue is others' too."""


async def gathered(engine: Engine, requests: Sequence[Ask | Score]) -> AsyncGenerator[tuple[int, Outcome], None]:
    """What `Engine.work_off` promises, but for the same numbers every time, which are that engine's affair."""
    places = asyncio.Semaphore(AT_ONCE)

    async def work(number: int, request: Ask | Score) -> tuple[int, Outcome]:
        async with places:
            try:
                return number, await (_said(engine, request) if isinstance(request, Ask) else _scored(engine, request))
            except Exception as error:
                return number, error

    tasks = [asyncio.create_task(work(number, request)) for number, request in enumerate(requests)]
    try:
        for task in asyncio.as_completed(tasks):
            yield await task
    finally:
        for under_way in tasks:
            under_way.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _said(engine: Engine, request: Ask) -> Said:
    begun, first, text = time.perf_counter(), 0.0, ""
    async with aclosing(engine.stream(request.messages, request.mix, request.sampling, request.seed)) as pieces:
        async for piece in pieces:
            passed = (time.perf_counter() - begun) * 1e3
            first, text = first or passed, text + piece.text
            if piece.finish_reason:
                return Said(text, piece.finish_reason, piece.usage or Usage(), first, passed)
    return Said(text, "cancelled", Usage(), first, (time.perf_counter() - begun) * 1e3)


async def _scored(engine: Engine, request: Score) -> Scored:
    logprobs = await engine.score(request.messages, request.before + request.reply, request.mix)
    if request.before:
        # The end token, which is not there where the reply goes on.
        logprobs = logprobs[len(await engine.score(request.messages, request.before, request.mix)) - 1 :]
    return Scored(tuple(logprobs))
