"""The OpenAI-compatible routes: /v1/chat/completions, /v1/models, /health."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from bot.agent import Answer
from bot.desk import Desk
from bot.errors import BotError
from bot.types import Piece, Turn
from bot.web.auth import require
from bot.web.wire import AGENT_MODEL, ChatRequest, chunk, completion, error_body, event, to_turn, usage_chunk

DONE = "data: [DONE]\n\n"
CLIENT_GONE = 499


def routes(desk: Desk) -> APIRouter:
    """The router over one desk."""
    router = APIRouter()

    @router.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @router.get("/v1/models")
    async def models(request: Request) -> dict[str, Any]:
        require(request, "customer")
        return {"object": "list", "data": await asyncio.to_thread(model_list, desk)}

    @router.post("/v1/chat/completions", response_model=None)
    async def chat_completions(request: Request, body: ChatRequest) -> Response:
        require(request, "customer")
        turn = to_turn(body, desk.base.name, desk.settings.agent)
        ident = f"chatcmpl-{uuid.uuid4().hex}"
        if not body.stream:
            return await _whole(desk, request, turn, ident, body.model)
        pieces = desk.agent.answer(turn)
        # The first piece is awaited here, so that what is wrong with a request is a status and not a broken stream.
        first = await anext(pieces)
        events = _events(pieces, first, ident, body.model, body.stream_options.include_usage)
        return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})

    return router


def model_list(desk: Desk) -> list[dict[str, Any]]:
    """Base, customers' agent, and every adapter version, in OpenAI's shape with vLLM's `parent`."""
    base = {"id": desk.base.name, "object": "model", "created": 0, "owned_by": "switchboard", "root": desk.base.name}
    agent = {**base, "id": AGENT_MODEL, "parent": desk.base.name}
    refs = [f"{name}@{n}" for name in desk.adapters.names() for n in desk.adapters.versions(name)]
    adapters = [{**base, "id": ref, "root": ref.partition("@")[0], "parent": desk.base.name} for ref in refs]
    return [{**base, "parent": None}, agent, *adapters]


async def _events(
    pieces: AsyncGenerator[Piece, None], first: Piece, ident: str, model: str, with_usage: bool
) -> AsyncIterator[str]:
    """Server-sent events; a client that goes away closes this, and so the generation."""
    try:
        yield chunk(ident, model, first, first=True)
        last = first
        async for piece in pieces:
            yield chunk(ident, model, piece, first=False)
            last = piece
        if with_usage:
            yield usage_chunk(ident, model, last.usage)
        yield DONE
    except BotError as error:
        yield event(error_body(error))
    finally:
        await pieces.aclose()


async def _whole(desk: Desk, request: Request, turn: Turn, ident: str, model: str) -> Response:
    """The reply in one body. A client that goes away ends the generation here too."""
    answer, last = Answer(), Piece("")

    async def collect() -> None:
        nonlocal last
        async with contextlib.aclosing(desk.agent.answer(turn, answer)) as pieces:
            async for piece in pieces:
                last = piece

    task = asyncio.create_task(collect())
    gone = asyncio.create_task(_disconnected(request))
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            return Response(status_code=CLIENT_GONE)
        task.result()
        return JSONResponse(completion(ident, model, answer.reply, last))
    finally:
        for pending in (task, gone):
            pending.cancel()
        with contextlib.suppress(asyncio.CancelledError, BotError):
            await task


async def _disconnected(request: Request) -> None:
    while not await request.is_disconnected():
        await asyncio.sleep(0.2)
