"""Keeps in the browser what a lead typed and did not save: a reload, a restarted server and a page that the server has
forgotten leave a way back to it.

All of one browser's pages write to one place, so of two that edit at once the last to be typed in is kept.
"""

from __future__ import annotations

import asyncio
from typing import Any

import gradio as gr

from bot.desk import Desk
from bot.web.auth import Person, require
from bot.web.pages.handlers import QUIET, Update, in_words, spoken
from bot.web.pages.html import notice
from bot.web.pages.studio.answering import Box
from bot.web.pages.studio.editor import Editor
from bot.web.pages.studio.form import Aside, Fields, Opened, check_known
from bot.web.pages.studio.unsaved import Stored, checked, edits_of, with_edits

KEY = "switchboard-unsaved-prompts"
"""Where the browser keeps it, and what it is scrambled with there: that hides nothing, but has to be the same after a
restart."""


class Keeping:
    """The components and their handlers. `store` is what the browser keeps, `stored` what the server knows of it."""

    def __init__(self, desk: Desk, editor: Editor) -> None:
        self.desk, self.editor = desk, editor
        # Rendered outside of the tab by the page: what is in a tab has no value yet at the moment when it is first opened.
        self.store = gr.BrowserState({}, storage_key=KEY, secret=KEY, render=False)
        self.stored = gr.State({})

    @property
    def fetching(self) -> dict[str, Any]:
        """A listener's arguments that tell the server what the browser keeps. A listener of its own, before the tab is
        filled: whatever comes from the browser, and if it is refused, the tab opens."""
        return {"fn": self.fetch, "inputs": [self.store], "outputs": [self.stored], **QUIET}

    @property
    def keeping(self) -> dict[str, Any]:
        """A listener's arguments that have the browser keep what is not saved. Follows what looks at the form, and has no
        trigger of its own: one that waits for the same boxes would start the other again."""
        given = [self.editor.opened, self.editor.aside, self.editor.note, self.stored, *self.editor.fields]
        out = [self.store, self.stored, self.editor.notice]
        # One that comes while another is under way brings the last that was typed: it must not be left out.
        return {"fn": self.keep, "inputs": given, "outputs": out, "trigger_mode": "multiple", **QUIET}

    @spoken
    async def fetch(self, request: gr.Request, kept: object) -> Stored:
        require(request, "lead")
        return checked(kept)

    @spoken
    async def keep(
        self, request: gr.Request, opened: Opened, aside: list[Aside], note: str | None, stored: Stored, *values: Box
    ) -> Update:
        """Empties it once all is saved. What is there already is not written again: another page of this browser may have
        written since."""
        person, fields = require(request, "lead"), Fields.read(values)
        if not opened:
            return {self.stored: stored, **self._told(opened, fields)}
        unsaved = await asyncio.to_thread(self.editor.unsaved, opened, aside, fields, note or "")
        kept = with_edits(stored, person.id, unsaved)
        return {self.stored: kept, **({self.store: kept} if kept != stored else {})}

    def _told(self, opened: Opened, fields: Fields) -> Update:
        try:
            check_known(opened, fields)
        except Exception as error:
            return {self.editor.notice: notice(in_words(error), "bad")}
        return {}

    def kept(self, person: Person, stored: Stored) -> list[Aside]:
        """A person's edits of prompts that there still are."""
        names = self.desk.prompts.names()
        return [aside for aside in edits_of(stored, person.id) if aside.opened["name"] in names]
