"""What every HTTP request passes first: the limit on its body, and the cookie that tells browsers apart.

Plain ASGI, so that streams and disconnects go through untouched.
"""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bot.errors import InvalidMessage
from bot.limits import MAX_BODY
from bot.web.auth import COOKIE, new_token, person_of
from bot.web.wire import error_body

YEAR = 365 * 24 * 3600


class TooLarge(Exception):
    """The body grew past its limit while it was read."""


class Guard:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            await self._app(scope, _limited(Request(scope), receive), _with_cookie(scope, send))
        except TooLarge:
            error = InvalidMessage(f"The body is larger than {MAX_BODY:,} bytes.", "Send less.")
            await JSONResponse(error_body(error), 413)(scope, receive, send)


def _limited(request: Request, receive: Receive) -> Receive:
    """`receive` that raises TooLarge, by the announced length at once or else by what came."""
    announced = request.headers.get("content-length", "")
    size = int(announced) if announced.isdecimal() else 0

    async def limited() -> Message:
        nonlocal size
        message = await receive()
        if not announced:
            size += len(message.get("body", b""))
        if size > MAX_BODY:
            raise TooLarge
        return message

    return limited


def _with_cookie(scope: Scope, send: Send) -> Send:
    """A new browser gets its cookie with the reply, and this very request carries it already."""
    if person_of(Request(scope)).id or scope["path"].startswith("/v1/"):
        return send
    token = new_token()
    headers = MutableHeaders(scope=scope)
    kept = headers.get("cookie", "")
    headers["cookie"] = f"{kept}; {COOKIE}={token}" if kept else f"{COOKIE}={token}"

    async def with_cookie(message: Message) -> None:
        if message["type"] == "http.response.start":
            cookie = f"{COOKIE}={token}; Max-Age={YEAR}; Path=/; HttpOnly; SameSite=Lax"
            MutableHeaders(scope=message).append("set-cookie", cookie)
        await send(message)

    return with_cookie
