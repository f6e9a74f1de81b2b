"""Where the pages lie on the server: `/` for customers, `/desk` for staff."""

from __future__ import annotations

import gradio as gr
from fastapi import FastAPI
from fastapi.responses import RedirectResponse

from bot.desk import Desk
from bot.web.pages import customer, staff
from bot.web.pages.theme import CSS, THEME


def mount(app: FastAPI, desk: Desk) -> None:
    """Put both pages on `app`."""

    @app.get("/desk", include_in_schema=False)
    async def to_desk() -> RedirectResponse:
        return RedirectResponse("/desk/")

    # The staff's page first: a mount at / would swallow its path.
    for build, path in ((staff.build, "/desk"), (customer.build, "/")):
        # No run history: the browser of a shared support desk keeps no conversations.
        look = {"theme": THEME, "css": CSS, "footer_links": [], "run_history": False}
        gr.mount_gradio_app(app, build(desk), path=path, show_error=False, **look)
