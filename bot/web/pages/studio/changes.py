"""What differs between any two versions, the draft in the form being one of them."""

from __future__ import annotations

import asyncio
from typing import Any

import gradio as gr

from bot.desk import Desk
from bot.prompts.library import DRAFT
from bot.web.auth import require
from bot.web.pages.handlers import QUIET, Update, in_words
from bot.web.pages.html import notice
from bot.web.pages.studio.answering import Box
from bot.web.pages.studio.editor import Editor
from bot.web.pages.studio.form import Fields, Opened
from bot.web.pages.studio.texts_html import changes_html, draft_places, places


class Changes:
    """The components; the tab has them looked at again while somebody types."""

    def __init__(self, desk: Desk, editor: Editor) -> None:
        self.desk, self.editor = desk, editor
        with gr.Row(elem_classes="tight"):
            self.before = gr.Dropdown([], label="From", min_width=120, elem_id="changes-from")
            self.after = gr.Dropdown([], label="To", min_width=120, elem_id="changes-to")
        self.changes = gr.HTML("", padding=False, elem_id="changes")
        for side in (self.before, self.after):
            side.input(self.look, self.inputs, [self.changes], **QUIET)

    @property
    def inputs(self) -> list[Any]:
        return [self.editor.opened, self.before, self.after, *self.editor.fields]

    @property
    def filled(self) -> list[Any]:
        return [self.before, self.after]

    def listed(self, name: str) -> Update:
        """The versions there are to choose, as they are now."""
        choices = self._choices(name)
        return {self.before: gr.update(choices=choices), self.after: gr.update(choices=choices)}

    def shown(self, opened: Opened) -> Update:
        """From the open version to the draft, and whatever else there is to choose."""
        choices = self._choices(opened["name"])
        return {
            self.before: gr.update(choices=choices, value=opened["version"]),
            self.after: gr.update(choices=choices, value=DRAFT),
        }

    def _choices(self, name: str) -> list[tuple[str, int]]:
        known = self.desk.prompts.versions(name)
        return [("Draft, as in the form", DRAFT), *((f"Version {number}", number) for number in reversed(known))]

    async def look(self, request: gr.Request, opened: Opened, before: int | None, after: int | None, *values: Box) -> str:
        """That a version cannot be read stands where the changes would."""
        require(request, "lead")
        if not opened or before is None or after is None:
            return ""
        try:
            return await asyncio.to_thread(self._changes, opened, before, after, Fields.read(values))
        except Exception as error:
            return notice(in_words(error), "bad")

    def _changes(self, opened: Opened, before: int, after: int, fields: Fields) -> str:
        return changes_html(*(self._places(opened, number, fields) for number in (before, after)))

    def _places(self, opened: Opened, number: int, fields: Fields) -> dict[str, str]:
        if number == DRAFT:
            return draft_places(fields)
        return places(self.desk.prompts.get(f"{opened['name']}@{number}").prompt)
