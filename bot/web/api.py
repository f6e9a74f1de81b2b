"""The OpenAI-compatible routes: /v1/chat/completions, /v1/models, /health, and /metrics for Prometheus.

Customers talk with the agent that customers meet, as it is; choosing or instructing another takes an operator.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from typing import Any, TypeVar

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from bot.desk import Desk
from bot.errors import BotError, EngineError, Forbidden, NotFound
from bot.types import Piece
from bot.web.auth import Person, require
from bot.web.wire import AGENT_MODEL, ChatRequest, chunk, completion, error_body, event, to_turn, usage_chunk

DONE = "data: [DONE]\n\n"
CLIENT_GONE = 499
T = TypeVar("T")
log = logging.getLogger("bot")


def routes(desk: Desk) -> APIRouter:
    """The router over one desk."""
    router = APIRouter()

    @router.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @router.get("/metrics")
    async def metrics(request: Request) -> Response:
        require(request, "operator")
        return Response(await asyncio.to_thread(desk.metrics.text), media_type=desk.metrics.content_type)

    @router.get("/v1/models")
    async def models(request: Request) -> dict[str, Any]:
        person = require(request, "customer")
        listed = await asyncio.to_thread(model_list, desk)
        return {"object": "list", "data": [m for m in listed if m["id"] == AGENT_MODEL or person.may("operator")]}

    @router.post("/v1/chat/completions", response_model=None)
    async def chat_completions(request: Request, body: ChatRequest) -> Response:
        _check_choice(require(request, "customer"), body)
        turn = to_turn(body, desk.base.name, desk.settings.agent, await asyncio.to_thread(adapter_ids, desk))
        ident = f"chatcmpl-{uuid.uuid4().hex}"
        pieces = desk.agent.answer(turn)
        # What is wrong with a request shows at its first piece, while the answer can still be a status.
        first = await _unless_gone(request, anext(pieces))
        if first is None:
            await pieces.aclose()
            return Response(status_code=CLIENT_GONE)
        if body.stream:
            events = _events(pieces, first, ident, body.model, body.include_usage)
            return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
        return await _whole(request, pieces, first, ident, body.model)

    @router.api_route("/v1/{path:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE"], include_in_schema=False)
    async def unknown(request: Request, path: str) -> Response:
        require(request, "customer")
        raise NotFound("route", f"/v1/{path}", ["/v1/chat/completions", "/v1/models"])

    return router


def _check_choice(person: Person, body: ChatRequest) -> None:
    """Raises Forbidden where a customer asks for another agent than customers meet, or gives it instructions."""
    if person.may("operator"):
        return
    own = [field for field in ("adapters", "prompt", "knowledge", "variables") if getattr(body, field) is not None]
    if any(message.role in ("system", "developer") for message in body.messages):
        own.append("system messages")
    if body.model != AGENT_MODEL:
        own.insert(0, f"model {body.model[:100]!r}")
    if own:
        raise Forbidden(
            f"The role customer takes the desk's agent as it is; this asks for {', '.join(own)}.",
            f"Send model: {AGENT_MODEL} and the conversation alone, or show an operator's key.",
        )


def adapter_ids(desk: Desk) -> list[str]:
    return [*desk.adapters.names(), *desk.adapters.refs()]


def model_list(desk: Desk) -> list[dict[str, Any]]:
    """Base, customers' agent, and every adapter version, in OpenAI's shape with vLLM's `parent`."""
    base = {"id": desk.base.name, "object": "model", "created": 0, "owned_by": "switchboard", "root": desk.base.name}
    agent = {**base, "id": AGENT_MODEL, "parent": desk.base.name}
    adapters = [{**base, "id": r, "root": r.partition("@")[0], "parent": desk.base.name} for r in desk.adapters.refs()]
    return [{**base, "parent": None}, agent, *adapters]


async def _unless_gone(request: Request, work: Awaitable[T]) -> T | None:
    """What `work` gives, or None when the client went away first; the work is cancelled then."""
    task = asyncio.ensure_future(work)
    gone = asyncio.create_task(_disconnected(request))
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        for pending in (task, gone):
            pending.cancel()
        await asyncio.wait((task, gone))


async def _disconnected(request: Request) -> None:
    while not await request.is_disconnected():
        await asyncio.sleep(0.2)


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
    except Exception as error:
        yield event(error_body(unexpected(error)))
    finally:
        await pieces.aclose()


async def _whole(request: Request, pieces: AsyncGenerator[Piece, None], first: Piece, ident: str, model: str) -> Response:
    """The reply in one body."""

    async def collect() -> list[Piece]:
        async with contextlib.aclosing(pieces):
            return [first, *[piece async for piece in pieces]]

    made = await _unless_gone(request, collect())
    if made is None:
        return Response(status_code=CLIENT_GONE)
    return JSONResponse(completion(ident, model, made))


def unexpected(error: Exception) -> BotError:
    """What a client is told of a fault that is ours; the log has the rest."""
    log.error("a request failed", exc_info=error)
    return EngineError("Something went wrong on our side.", "The server's log says more.")
