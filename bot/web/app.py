"""One server: the API, the customers' page at `/`, the staff's at `/desk`."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware

from bot.desk import Desk
from bot.errors import BotError, InvalidMessage, Overloaded, SettingsError, faults
from bot.web.api import routes, unexpected
from bot.web.auth import Doorkeeper, check_address, is_loopback
from bot.web.guard import Guard
from bot.web.reports import report_routes
from bot.web.sign_in import sign_in_routes
from bot.web.wire import error_body

if TYPE_CHECKING:
    import uvicorn

log = logging.getLogger("bot")
LOCAL_HOSTS = ["127.0.0.1", "localhost", "[::1]"]


def create_app(desk: Desk) -> FastAPI:
    """The whole server over one desk, which it closes at the end."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        warm = asyncio.create_task(_warm(desk))
        yield
        warm.cancel()
        await desk.close()

    app = FastAPI(title="Switchboard", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.include_router(routes(desk))
    app.include_router(sign_in_routes(desk))
    app.include_router(report_routes(desk))
    _translate_errors(app)
    # Late, so that the API can be built and tested where gradio is not wanted.
    from bot.web.pages.mount import mount

    mount(app, desk)
    app.add_middleware(Guard, door=Doorkeeper(desk.people, desk.settings))
    if is_loopback(desk.settings.host):
        # Another site cannot reach a loopback server by pointing its own name at 127.0.0.1. Elsewhere people sign in, and
        # their cookie goes to no other name.
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=[*LOCAL_HOSTS, desk.settings.host])
    return app


async def _warm(desk: Desk) -> None:
    """Load model and index before the first customer comes; a fault shows in the log now and at every question later."""
    try:
        # First, so that what embeds the articles makes way for it.
        about = await desk.engine.load()
        if desk.settings.agent.knowledge:
            await desk.knowledge.index(desk.settings.agent.knowledge)
            await desk.embedder.embed(["warm up"])
        log.info("ready: %s", about)
    except BotError as error:
        log.error("%s", error)


def _translate_errors(app: FastAPI) -> None:
    @app.exception_handler(BotError)
    async def bot_error(_: Request, error: BotError) -> JSONResponse:
        headers = {"Retry-After": str(error.retry_after)} if isinstance(error, Overloaded) else {}
        return JSONResponse(error_body(error), error.status, headers)

    @app.exception_handler(HTTPException)
    async def http_error(_: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse(error_body(BotError(str(error.detail))), error.status_code, error.headers)

    @app.exception_handler(RequestValidationError)
    async def bad_body(_: Request, error: RequestValidationError) -> JSONResponse:
        return JSONResponse(error_body(InvalidMessage(f"The request is not valid: {faults(error)}.", "Correct it.")), 400)

    @app.exception_handler(Exception)
    async def our_fault(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse(error_body(unexpected(error)), 500)


def listen(host: str, port: int) -> socket.socket:
    """The bound socket. Raises SettingsError when the port is taken."""
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise SettingsError(f"{host}:{port} is not free ({error.strerror}).", "Choose another port: --port.") from None
    return listening


def serve(desk: Desk, announce: Callable[[str], None]) -> None:
    """Serve until interrupted. `announce` gets the address once it answers."""
    host = desk.settings.host
    check_address(host, desk.people)
    listening = listen(host, desk.settings.port)

    async def run() -> None:
        # The app is made inside the loop that runs it: gradio would otherwise make loops of its own.
        server = make_server(desk)
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        while not server.started and not serving.done():
            await asyncio.sleep(0.02)
        if server.started:
            announce(f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}")
        await serving

    asyncio.run(run())


def make_server(desk: Desk) -> uvicorn.Server:
    """The server over one desk, not yet serving."""
    import uvicorn

    return uvicorn.Server(uvicorn.Config(create_app(desk), log_level="warning", timeout_graceful_shutdown=10))
