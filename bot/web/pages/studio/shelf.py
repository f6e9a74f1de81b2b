"""The list of prompts with its search, and the versions of the open one, each with the labels that are on it."""

from __future__ import annotations

import asyncio
import contextlib
import textwrap
from typing import Any

import gradio as gr

from bot.desk import Desk
from bot.errors import BotError
from bot.prompts.library import PromptLibrary
from bot.prompts.version import PromptVersion
from bot.skeleton.templates import template_names
from bot.web.auth import require
from bot.web.pages.handlers import Update, spoken
from bot.web.pages.html import notice
from bot.web.pages.studio.form import Opened
from bot.web.pages.studio.texts_html import about_html

NOTE = 46
"""Characters of a version's note in the list."""


class Shelf:
    """The components. Who listens to what is chosen is the tab."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.search = gr.Textbox(label="Search", placeholder="Name, note or text", max_lines=1, elem_id="prompt-search")
        self.name = gr.Radio([], label="Prompts", elem_id="prompt-name", elem_classes="stacked shelf")
        self.version = gr.Radio([], label="Versions, newest first", elem_id="prompt-versions", elem_classes="stacked shelf")
        self.about = gr.HTML("", padding=False)
        with gr.Accordion("New prompt", open=False, elem_id="new-prompt"):
            self.new_name = gr.Textbox(label="Name", placeholder="order-status", max_lines=1, elem_id="new-name")
            self.source = gr.Dropdown([], label="Begin from", elem_id="new-source")
            self.begin_button = gr.Button("Begin", size="sm", elem_id="begin")
            self.notice = gr.HTML("", padding=False, elem_classes="slot", elem_id="begin-notice")

    @property
    def filled(self) -> list[Any]:
        return [self.search, self.name, self.version, self.about, self.new_name, self.source, self.notice]

    @spoken
    async def find(self, request: gr.Request, query: str, name: str | None, opened: Opened) -> Any:
        """What is searched for. The open prompt is marked again where a search before had left it out."""
        require(request, "lead")
        return await asyncio.to_thread(self._found, query, name or opened.get("name"))

    def _found(self, query: str, name: str | None) -> Any:
        choices = self._hits(query)
        return gr.update(choices=choices, value=name if name in dict(choices).values() else None)

    def _hits(self, query: str) -> list[tuple[str, str]]:
        return [(_marked(hit, self.desk.journal.labels(hit)), hit) for hit in matching(self.desk.prompts, query or "")]

    def _versions(self, name: str) -> list[tuple[str, int]]:
        labels = self.desk.journal.labels(name)
        return [(self._line(name, number, labels), number) for number in reversed(self.desk.prompts.versions(name))]

    def listed(self, name: str, query: str) -> Update:
        """The prompts, and the versions of that one, as they are now. What is chosen stays: another choice may be on its
        way."""
        return {self.name: gr.update(choices=self._hits(query)), self.version: gr.update(choices=self._versions(name))}

    def shown(self, found: PromptVersion, query: str) -> Update:
        """That version as the open one."""
        return {
            self.name: self._found(query, found.name),
            self.version: gr.update(choices=self._versions(found.name), value=found.version),
            self.about: about_html(found),
            self.source: gr.update(
                choices=[(f"A copy of {found.ref}, with its cases", found.ref), *template_names()], value=found.ref
            ),
            self.notice: "",
        }

    def empty(self) -> Update:
        """Where there is no prompt yet."""
        return {self.source: gr.update(choices=template_names(), value=template_names()[0])}

    def begun(self, found: PromptVersion) -> Update:
        return {self.search: "", self.new_name: "", self.notice: notice(f"{found.name} has begun: it is open now.", "good")}

    def _line(self, name: str, number: int, labels: dict[str, int]) -> str:
        try:
            note = textwrap.shorten(self.desk.prompts.get(f"{name}@{number}").prompt.note, NOTE, placeholder=" …")
        except (BotError, OSError):
            note = "cannot be read"
        marks = sorted(label for label, version in labels.items() if version == number)
        return f"{' · '.join([f'Version {number}', *marks])}: {note}"


def _marked(name: str, labels: dict[str, int]) -> str:
    """A prompt with its labels."""
    return " · ".join([name, *(f"{label} {version}" for label, version in sorted(labels.items()))])


def matching(library: PromptLibrary, query: str) -> list[str]:
    """The prompts whose name, notes and texts together, over all versions, hold every word of `query`."""
    words = query.casefold().split()
    found = ((name, _texts(library, name) if words else "") for name in library.names())
    return [name for name, texts in found if all(word in texts for word in words)]


def _texts(library: PromptLibrary, name: str) -> str:
    parts = [name]
    for number in library.versions(name):
        # One that cannot be read hides nothing of the others.
        with contextlib.suppress(BotError, OSError):
            prompt = library.get(f"{name}@{number}").prompt
            parts += [prompt.note, prompt.author, *(text for _, text, _ in prompt.texts())]
    return "\n".join(parts).casefold()
