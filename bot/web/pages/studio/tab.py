"""The tab: puts the studio's parts together, and opens a version in all of them."""

from __future__ import annotations

import asyncio
from typing import Any

import gradio as gr

from bot.desk import Desk
from bot.errors import Conflict
from bot.skeleton.templates import begin
from bot.web.auth import require
from bot.web.pages.handlers import QUIET, in_words, spoken
from bot.web.pages.html import notice
from bot.web.pages.studio.case_runs import CaseRuns
from bot.web.pages.studio.changes import Changes
from bot.web.pages.studio.editor import Editor
from bot.web.pages.studio.form import Fields, Opened
from bot.web.pages.studio.preview import Preview
from bot.web.pages.studio.publishing import Publishing
from bot.web.pages.studio.shelf import Shelf
from bot.web.pages.studio.side_by_side import SideBySide

Update = dict[Any, Any]


class Studio:
    """The parts, and the handlers that concern several of them."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        with gr.Row():
            with gr.Column(scale=3, min_width=260, elem_classes="panel"):
                self.shelf = Shelf(desk)
            with gr.Column(scale=6, min_width=340):
                self.editor = Editor(desk)
            with gr.Column(scale=6, min_width=340, elem_classes="panel"), gr.Tabs(elem_id="studio-tabs"):
                with gr.Tab("Preview"):
                    self.preview = Preview(desk, self.editor)
                with gr.Tab("Changes"):
                    self.changes = Changes(desk, self.editor)
                with gr.Tab("Side by side"):
                    self.sides = SideBySide(desk, self.editor)
                with gr.Tab("Cases"):
                    self.cases = CaseRuns(desk, self.editor)
                with gr.Tab("Publish"):
                    self.publishing = Publishing(desk, self.editor, self.shelf)
        self._listen()

    def _listen(self) -> None:
        shelf, editor = self.shelf, self.editor
        where = [shelf.search, editor.opened, editor.aside]
        for run in (
            shelf.name.input(self.pick_name, [shelf.name, *where, *editor.fields], self.filled, **QUIET),
            shelf.version.input(self.pick_version, [shelf.version, *where, *editor.fields], self.filled, **QUIET),
            shelf.begin_button.click(
                self.begin, [shelf.new_name, shelf.source, editor.author, *where[1:], *editor.fields], self.filled, **QUIET
            ),
            editor.back_button.click(self.bring_back, [shelf.search, editor.aside], self.filled, **QUIET),
            editor.save_button.click(
                self.save, [shelf.search, editor.opened, editor.author, editor.note, *editor.fields], self.filled, **QUIET
            ),
        ):
            self.look_after(run)
        # Not `input`: what is deleted or pasted changes a box too.
        typed = [field.change for field in editor.fields]
        gr.on([*typed, self.preview.question.change], trigger_mode="always_last", **self._previewing)
        gr.on(typed, trigger_mode="always_last", **self._comparing)

    @property
    def _previewing(self) -> dict[str, Any]:
        shown = [self.preview.preview, self.preview.findings]
        return {"fn": self.preview.look, "inputs": self.preview.inputs, "outputs": shown, **QUIET}

    @property
    def _comparing(self) -> dict[str, Any]:
        return {"fn": self.changes.look, "inputs": self.changes.inputs, "outputs": [self.changes.changes], **QUIET}

    def look_after(self, run: Any) -> None:
        """Bring what is shown of the form up to date once `run` has filled it."""
        run.then(**self._previewing)
        run.then(**self._comparing)

    @property
    def filled(self) -> list[Any]:
        """What opening a version fills."""
        return [
            *self.shelf.filled, *self.editor.filled, *self.changes.filled, *self.sides.filled, *self.cases.filled,
            *self.publishing.filled,
        ]  # fmt: skip

    @spoken
    async def load(self, request: gr.Request, opened: Opened) -> Update:
        """Fills the tab when it is opened; what is open already, perhaps edited, stays."""
        person = require(request, "lead")
        if opened:
            return {self.editor.opened: opened}
        found = await asyncio.to_thread(self._first)
        return {**found, **self.editor.signed(person, "")}

    def _first(self) -> Update:
        names = self.desk.prompts.names()
        wanted = self.desk.settings.agent.prompt.partition("@")[0]
        name = wanted if wanted in names else next(iter(names), None)
        if name is None:
            told = notice("There is no prompt yet. Begin one from a template: New prompt, on this page.")
            return {**self.shelf.empty(), self.editor.notice: told}
        opened = self._open(name, self.desk.prompts.versions(name)[-1], "")
        return {**opened, self.preview.question: self.preview.sample()}

    def _open(self, name: str, version: int, query: str) -> Update:
        """One version in all parts."""
        found, latest = self.desk.prompts.get(f"{name}@{version}"), self.desk.prompts.versions(name)[-1]
        return {
            **self.shelf.shown(found, query),
            **self.editor.shown(found, latest),
            **self.changes.shown(Opened(name=name, version=version, latest=latest)),
            **self.sides.shown(found),
            **self.cases.shown(),
            **self.publishing.shown(found),
        }

    @spoken
    async def pick_name(
        self, request: gr.Request, name: str, query: str, opened: Opened, aside: Any, *values: str
    ) -> Update:
        require(request, "lead")
        versions = await asyncio.to_thread(self.desk.prompts.versions, name)
        return await asyncio.to_thread(self._switch, name, versions[-1], query, opened, aside, Fields.read(values))

    @spoken
    async def pick_version(
        self, request: gr.Request, version: int, query: str, opened: Opened, aside: Any, *values: str
    ) -> Update:
        require(request, "lead")
        return await asyncio.to_thread(self._switch, opened["name"], version, query, opened, aside, Fields.read(values))

    def _switch(self, name: str, version: int, query: str, opened: Opened, aside: Any, fields: Fields) -> Update:
        return {**self._open(name, version, query), **self.editor.put_aside(opened, aside, fields)}

    async def begin(
        self, request: gr.Request, name: str, source: str, author: str, opened: Opened, aside: Any, *values: str
    ) -> Update:
        """A new prompt, opened; what was typed into the form before is put aside."""
        person = require(request, "lead")
        try:
            written = person.name or (author or "").strip() or person.who
            begun = await asyncio.to_thread(begin, self.desk.prompts, (name or "").strip(), source, written)
            shown = await asyncio.to_thread(self._switch, begun.name, 1, "", opened, aside, Fields.read(values))
            return {**shown, **self.shelf.begun(begun)}
        except Exception as error:
            return {self.shelf.notice: notice(in_words(error), "bad")}

    @spoken
    async def bring_back(self, request: gr.Request, query: str, aside: tuple[Opened, Fields] | None) -> Update:
        require(request, "lead")
        if aside is None:
            return {self.editor.aside: None}
        opened, fields = aside
        shown = await asyncio.to_thread(self._open, opened["name"], opened["version"], query)
        return {**shown, **self.editor.brought_back(fields)}

    async def save(self, request: gr.Request, query: str, opened: Opened, author: str, note: str, *values: str) -> Update:
        """The form as the next version, by who is signed in. Whatever goes wrong, the form stays as it is."""
        person = require(request, "lead")
        fields = Fields.read(values)
        try:
            return await asyncio.to_thread(self._save, query, opened, fields, person.name or author, note)
        except Conflict as error:
            return await asyncio.to_thread(self._conflict, opened, fields, error)
        except Exception as error:
            return {self.editor.notice: notice(in_words(error), "bad")}

    def _save(self, query: str, opened: Opened, fields: Fields, author: str, note: str) -> Update:
        saved = self.editor.save(opened, fields, author, note)
        if saved.version <= opened["latest"]:
            return {self.editor.notice: notice(f"Nothing to save: these are the texts of {saved.ref}.")}
        told = f"{saved.ref} is saved. Run its cases, then publish it."
        return {**self._open(saved.name, saved.version, query), self.editor.notice: notice(told, "good")}

    def _conflict(self, opened: Opened, fields: Fields, error: Conflict) -> Update:
        """Both texts, and theirs among the versions to compare with."""
        shown = self.editor.conflict(opened, fields, error)
        choices = self.changes.shown(opened)
        return {
            **choices,
            self.changes.before: {**choices[self.changes.before], "value": shown[self.editor.opened]["latest"]},
            **shown,
        }
