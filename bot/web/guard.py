"""What every HTTP request passes first: who is it, may they be here, does another site send it, is its body too large. And
what every answer carries: no other site may show it in a frame; the cookie that tells browsers apart.

Plain ASGI, so that streams and disconnects go through untouched. Handlers behind it ask for the roles that they take
themselves (`auth.require`); here the path alone decides, so that nothing lies open that a page or library adds.
"""

from __future__ import annotations

import asyncio
from urllib.parse import quote, urlsplit

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bot.errors import BotError, Forbidden, NotFound, Unauthorized
from bot.limits import MAX_BODY
from bot.web.auth import COOKIE, Doorkeeper, check_role, new_token, role_of
from bot.web.wire import error_body

YEAR = 365 * 24 * 3600
_HARMLESS = ("GET", "HEAD", "OPTIONS")
_CLOSED = ("/gradio_api/upload", "/gradio_api/process_recording")
"""Where the pages' library takes files, which no component of ours does: they would only fill the disk."""


class Guard:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, door: Doorkeeper) -> None:
        self._app, self._door = app, door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            # No page of ours opens a websocket.
            await send({"type": "websocket.close", "code": 1008})
            return
        request = Request(scope)
        try:
            person = await asyncio.to_thread(self._door.person, request)
            check_role(person, role_of(scope["method"], scope["path"]))
            _check_origin(request)
            if scope["path"].rstrip("/").endswith(_CLOSED):
                raise NotFound("route", scope["path"], ["/"])
        except BotError as error:
            await _refusal(request, error)(scope, receive, _answering(send))
            return
        # Conversations need somebody to belong to: this very request carries the new browser's cookie already.
        cookie = ""
        if not person.id and person.role != "anonymous" and not scope["path"].startswith("/v1/"):
            token = new_token()
            _put_cookie(scope, token)
            person = await asyncio.to_thread(self._door.person, Request(scope))
            cookie = session_cookie(token, request, YEAR)
        scope.setdefault("state", {})["person"] = person
        await self._app(scope, _limited(request, receive), _answering(send, cookie))


def session_cookie(token: str, request: Request, seconds: int) -> str:
    """The value of a Set-Cookie header; `seconds` 0 takes it away."""
    secure = "; Secure" if request.url.scheme == "https" else ""
    return f"{COOKIE}={token}; Max-Age={seconds}; Path=/; HttpOnly; SameSite=Lax{secure}"


def _check_origin(request: Request) -> None:
    """Raises Forbidden where a page of another site sends a request that changes something, with this person's cookie."""
    if request.method in _HARMLESS:
        return
    # Browsers tell this themselves; older ones name the page's origin.
    site = request.headers.get("sec-fetch-site", "")
    origin = request.headers.get("origin")
    elsewhere = origin is not None and urlsplit(origin).netloc != request.headers.get("host")
    if site not in ("same-origin", "none") if site else elsewhere:
        raise Forbidden("A page of another site sent this request.", "Do it on the desk's own pages.")


def _refusal(request: Request, error: BotError) -> Response:
    """A person who opens a page is led to the sign-in; everybody else is told in JSON."""
    if isinstance(error, Unauthorized) and request.method == "GET" and "text/html" in request.headers.get("accept", ""):
        wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/login?next={quote(wanted)}", 303)
    headers = {"WWW-Authenticate": "Bearer"} if isinstance(error, Unauthorized) else {}
    return JSONResponse(error_body(error), error.status, headers)


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


def _put_cookie(scope: Scope, token: str) -> None:
    headers = MutableHeaders(scope=scope)
    kept = headers.get("cookie", "")
    headers["cookie"] = f"{kept}; {COOKIE}={token}" if kept else f"{COOKIE}={token}"


def _answering(send: Send, cookie: str = "") -> Send:
    """`send` that adds to the headers; the cookie only where the answer sets none itself, as signing in does."""

    async def answering(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["x-frame-options"] = "DENY"
            headers.setdefault("content-security-policy", "frame-ancestors 'none'")
            if cookie and "set-cookie" not in headers:
                headers.append("set-cookie", cookie)
        await send(message)

    return answering
