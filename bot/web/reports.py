"""The reports of evaluations over HTTP: one route, for staff, of pages that a browser may look at and nothing else."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse

from bot.desk import Desk
from bot.evaluation.shelf import page
from bot.training.pages import POLICY
from bot.web.auth import require

_HEADERS = {
    "Content-Security-Policy": f"{POLICY}; frame-ancestors 'none'; sandbox",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def address(id: str) -> str:
    """Where the report of that evaluation is shown."""
    return f"/evaluations/{id}"


def report_routes(desk: Desk) -> APIRouter:
    router = APIRouter()

    @router.get(address("{id}"), include_in_schema=False)
    async def report(request: Request, id: str) -> FileResponse:
        require(request, "operator")
        found = await asyncio.to_thread(page, desk.settings.var, id)
        return FileResponse(found, media_type="text/html; charset=utf-8", headers=_HEADERS)

    return router
