"""The sign-in page: /login shows it and takes it, /logout ends the session.

Guessing is slowed down for a name at an address, and, much later, for an address alone: after some failures each further one
makes the next wait twice as long, until there was none for an hour. Not for a name alone: a stranger could lock others out.
An attempt counts as a failure until it succeeded, so that many at once are no way around.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment

from bot.desk import Desk
from bot.errors import Overloaded
from bot.journal.people import SESSION
from bot.web.auth import RANKS, Rank, person_of, token_of
from bot.web.guard import session_cookie

FREE, FREE_OF_ADDRESS = 5, 100
"""Failures of a name at one address, and of an address with any names, before the next one has to wait. Behind one address
may sit a whole company."""
FIRST_WAIT, LONGEST_WAIT = 10, 900
FORGOTTEN = 3600
"""Seconds."""
_REMEMBERED = 10_000
_HASHING = 2
"""Passwords compared at once; each takes a thread of those that every request needs, and 64 MiB."""
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    # Nothing stricter: a browser that may not tell its own site sends the form with the origin null, and the guard refuses.
    "Referrer-Policy": "same-origin",
}


class Failures:
    """How often a key failed, and until when it has to wait. Safe on one event loop."""

    def __init__(self, free: int) -> None:
        self._free = free
        self._found: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def check(self, key: str) -> None:
        """Raises Overloaded while it has to wait."""
        left = self._found.get(key, (0, 0.0))[1] - time.monotonic()
        if left > 0:
            seconds = int(left) + 1
            raise Overloaded("Too many attempts to sign in.", f"Try again in {seconds} seconds.", retry_after=seconds)

    def count(self, key: str) -> None:
        now = time.monotonic()
        failed, until = self._found.pop(key, (0, now))
        failed = failed + 1 if now < until + FORGOTTEN else 1
        wait = min(FIRST_WAIT * 2 ** (failed - self._free), LONGEST_WAIT) if failed >= self._free else 0
        self._found[key] = failed, now + wait
        while len(self._found) > _REMEMBERED:
            self._found.popitem(last=False)

    def take_back(self, key: str) -> None:
        """One that was counted and was none, with the wait that it began."""
        failed, until = self._found.get(key, (0, 0.0))
        self._found[key] = max(failed - 1, 0), min(until, time.monotonic())

    def forget(self, key: str) -> None:
        self._found.pop(key, None)


def sign_in_routes(desk: Desk) -> APIRouter:
    """The router over one desk."""
    router = APIRouter(include_in_schema=False)
    names, addresses, hashing = Failures(FREE), Failures(FREE_OF_ADDRESS), asyncio.Semaphore(_HASHING)

    @router.get("/login")
    async def login(request: Request, next: str = "") -> Response:
        if person_of(request).name:
            return RedirectResponse(_landing(next, person_of(request).role), 303)
        return _page(_inside(next))

    @router.post("/login")
    async def sign_in(
        request: Request,
        name: Annotated[str, Form(max_length=1000)],
        password: Annotated[str, Form(max_length=10_000)],
        next: Annotated[str, Form(max_length=2000)] = "",
    ) -> Response:
        name = name.strip()
        address = request.client.host if request.client else ""
        there = f"{address} {name}"
        try:
            names.check(there)
            addresses.check(address)
        except Overloaded as error:
            return _page(_inside(next), name, str(error), error.status, {"Retry-After": str(error.retry_after)})
        names.count(there)
        addresses.count(address)
        async with hashing:
            token = await asyncio.to_thread(desk.people.sign_in, name, password)
        if token is None:
            return _page(_inside(next), name, "Name or password is wrong.", 401)
        names.forget(there)
        # The address keeps the others: whoever knows one password may still be guessing another.
        addresses.take_back(address)
        account = await asyncio.to_thread(desk.people.by_session, token)
        response = RedirectResponse(_landing(next, account.role if account else "anonymous"), 303)
        response.headers["set-cookie"] = session_cookie(token, request, int(SESSION.total_seconds()))
        return response

    @router.post("/logout")
    async def sign_out(request: Request) -> Response:
        await asyncio.to_thread(desk.people.sign_out, token_of(request))
        response = RedirectResponse("/login", 303)
        response.headers["set-cookie"] = session_cookie("", request, 0)
        return response

    return router


_PAGE = Environment(autoescape=True).from_string(Path(__file__).with_name("sign_in.html.jinja").read_text(encoding="utf-8"))


def _page(next: str, name: str = "", fault: str = "", status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return HTMLResponse(_PAGE.render(next=next, name=name, fault=fault), status, _HEADERS | (headers or {}))


def _inside(next: str) -> str:
    """A path on this server, or "": nobody is sent elsewhere after signing in."""
    return next if next.startswith("/") and not next.startswith(("//", "/\\")) and next.isprintable() else ""


def _landing(next: str, role: Rank) -> str:
    return _inside(next) or ("/desk/" if RANKS.index(role) >= RANKS.index("operator") else "/")
