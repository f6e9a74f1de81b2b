"""What every HTTP request passes first: the limit on its body, and the cookie that tells browsers apart.

Plain ASGI, so that streams and disconnects go through untouched.
"""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bot.limits import MAX_BODY
from bot.web.auth import COOKIE, new_token, person_of

YEAR = 365 * 24 * 3600


class Guard:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        await self._app(scope, _limited(Request(scope), receive), _with_cookie(scope, send))


def _limited(request: Request, receive: Receive) -> Receive:
    """`receive` that gives up on a body over the limit, by its announced length at once or else by what came."""
    announced = request.headers.get("content-length", "")
    size = int(announced) if announced.isdecimal() else 0

    async def limited() -> Message:
        nonlocal size
        message = await receive()
        if not announced:
            size += len(message.get("body", b""))
        if size > MAX_BODY:
            raise HTTPException(413, f"The body is larger than {MAX_BODY:,} bytes. Send less.")
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
