"""The tab: puts the studio's parts together, and opens a version in all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

import gradio as gr

from bot.desk import Desk
from bot.errors import BotError, Conflict, InvalidMessage, PromptError
from bot.prompts.schema import plain_lines
from bot.prompts.version import PromptVersion
from bot.skeleton.templates import begin
from bot.web.auth import require
from bot.web.pages.handlers import QUIET, Update, in_words, signature, spoken
from bot.web.pages.html import notice
from bot.web.pages.studio.answering import Box
from bot.web.pages.studio.case_runs import CaseRuns
from bot.web.pages.studio.changes import Changes
from bot.web.pages.studio.editor import Editor
from bot.web.pages.studio.form import Aside, Fields, Form, Opened, check_known
from bot.web.pages.studio.keeping import Keeping
from bot.web.pages.studio.preview import Preview
from bot.web.pages.studio.publishing import Publishing, Tried
from bot.web.pages.studio.results_html import since_html
from bot.web.pages.studio.shelf import Shelf
from bot.web.pages.studio.side_by_side import SideBySide
from bot.web.pages.studio.unsaved import Stored

Kept = list[Aside]


class Result(NamedTuple):
    """What came of a save: what was open for it, what the page shows then, and what it tells where another version was
    opened meanwhile."""

    opened: Opened
    shown: Update
    told: str


class Studio:
    """The parts, and the handlers that concern several of them."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.result = gr.State(None)
        with gr.Row():
            with gr.Column(scale=3, min_width=260, elem_classes="panel"):
                self.shelf = Shelf(desk)
            with gr.Column(scale=6, min_width=340):
                self.editor = Editor(desk)
                self.keeping = Keeping(desk, self.editor)
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
                    self.publishing = Publishing(desk, self.editor, self.shelf, self.sides)
        self._listen()

    def _listen(self) -> None:
        shelf, editor = self.shelf, self.editor
        # What is pasted changes a box, and is no input to it.
        searched = [shelf.search, shelf.name, editor.opened]
        shelf.search.change(shelf.find, searched, [shelf.name], trigger_mode="always_last", **QUIET)
        where = [shelf.search, editor.opened, editor.aside, editor.note]
        for run in (
            # Of several quick choices the last one counts.
            shelf.name.input(
                self.pick_name, [shelf.name, *where, *editor.fields], self.filled, trigger_mode="always_last", **QUIET
            ),
            shelf.version.input(
                self.pick_version, [shelf.version, *where, *editor.fields], self.filled, trigger_mode="always_last", **QUIET
            ),
            shelf.begin_button.click(
                self.begin, [shelf.new_name, shelf.source, editor.author, *where[1:], *editor.fields], self.filled, **QUIET
            ),
            editor.back_button.click(self.bring_back, [*where, *editor.fields], self.filled, **QUIET),
            saving := editor.save_button.click(
                self.save, [shelf.search, editor.opened, editor.author, editor.note, *editor.fields], [self.result], **QUIET
            ).success(self.settle, [self.result, editor.opened], self.filled, **QUIET),
        ):
            self.look_after(run)
        # What was typed just before is no edit of what is tried, whichever of the two came back first.
        for trial in (self.sides.running, self.cases.running):
            self.look_after(trial)
        notes = [editor.saved_note, editor.note]
        saving.then(editor.clear_note, notes, notes, **QUIET)
        # Not `input`: what is deleted or pasted changes a box too. One listener, for Gradio lets two that wait for the same
        # box start each other again and again.
        typed = [box.change for box in (*editor.boxes, editor.note, self.preview.question)]
        gr.on(typed, trigger_mode="always_last", **self._looking).then(**self.keeping.keeping)

    @property
    def _looking(self) -> dict[str, Any]:
        sides, tried = [self.changes.before, self.changes.after], [self.sides.tried, self.cases.tried]
        given = [self.editor.opened, self.preview.question, *sides, *tried, *self.editor.fields]
        shown = [
            self.preview.preview, self.preview.findings, self.changes.changes, self.editor.variables, self.sides.since,
            self.cases.since,
        ]  # fmt: skip
        return {"fn": self.look, "inputs": given, "outputs": shown, **QUIET}

    def look_after(self, run: Any) -> None:
        """Bring what is shown of the form up to date once `run` has filled it, and what the browser keeps of it."""
        run.then(**self._looking).then(**self.keeping.keeping)

    def open_on(self, event: Any) -> None:
        """Have `event` open the tab."""
        self.look_after(event(**self.keeping.fetching).then(**self._loading))

    @spoken
    async def look(
        self,
        request: gr.Request,
        opened: Opened,
        question: str,
        before: int | None,
        after: int | None,
        asked: Form | None,
        run: Form | None,
        *values: Box,
    ) -> Update:
        """The form as messages and as changes, with its variables at hand, and whether what was tried is of it still."""
        require(request, "lead")
        form = (opened, Fields.read(values))
        return {
            self.sides.since: since_html(asked, form),
            self.cases.since: since_html(run, form),
            **await self.preview.look(request, opened, question, *values),
            self.changes.changes: await self.changes.look(request, opened, before, after, *values),
            self.editor.variables: self.editor.chips(opened, form[1]),
        }

    @property
    def filled(self) -> list[Any]:
        """What opening a version fills."""
        return [
            *self.shelf.filled, *self.editor.filled, *self.changes.filled, *self.sides.filled, *self.cases.filled,
            *self.publishing.filled,
        ]  # fmt: skip

    @property
    def _loading(self) -> dict[str, Any]:
        given = [*self.publishing.now, self.keeping.stored, *self.editor.fields]
        return {"fn": self.load, "inputs": given, "outputs": [*self.filled, self.preview.question], **QUIET}

    @spoken
    async def load(
        self,
        request: gr.Request,
        opened: Opened,
        label: str | None,
        query: str,
        tried: Tried | None,
        stored: Stored,
        *values: Box,
    ) -> Update:
        """Fills the tab when it is opened. What is open already, perhaps edited, stays; what there is to choose, and where
        the labels are, may be the work of others meanwhile. Where nothing is open, what this browser kept can be brought
        back."""
        person = require(request, "lead")
        if opened:
            labelled = await self.publishing.refresh(request, opened, label, query, tried)
            return {**labelled, **await asyncio.to_thread(self._listed, opened["name"])}
        check_known(opened, Fields.read(values))
        shown = {**await asyncio.to_thread(self._first), **self.editor.signed(person, "")}
        kept = self.editor.found_again(await asyncio.to_thread(self.keeping.kept, person, stored))
        return {**shown, **self._both_told(shown, kept)}

    def _listed(self, name: str) -> Update:
        """What else there is of a prompt now."""
        return {**self.changes.listed(name), **self.cases.listed(name)}

    def _first(self) -> Update:
        names = self.desk.prompts.names()
        wanted = self.desk.settings.agent.prompt.partition("@")[0]
        if not names:
            told = notice("There is no prompt yet. Begin one from a template: New prompt, on this page.")
            return {**self.shelf.empty(), self.editor.notice: told}
        opened = self._open_newest(wanted if wanted in names else names[0], "")
        return {**opened, self.preview.question: self.preview.sample()}

    def _open_newest(self, name: str, query: str) -> Update:
        """The newest version that can be read; a broken one is told of, and keeps nobody from those before it."""
        faults: list[str] = []
        for version in reversed(self.desk.prompts.versions(name)):
            try:
                shown = self._open(name, version, query)
            except (BotError, OSError) as error:
                faults.append(_unread(error, name, version))
                continue
            told = {self.editor.notice: notice(f"{' '.join(faults)} Version {version} is open instead.", "bad")}
            return {**shown, **(told if faults else {})}
        raise PromptError(f"No version of {name} can be read. {' '.join(faults)}", "Restore its files.")

    def _open(self, name: str, version: int, query: str) -> Update:
        """One version in all parts."""
        found, latest = self.desk.prompts.get(f"{name}@{version}"), self.desk.prompts.versions(name)[-1]
        return {**self._around(found, latest, query), **self.sides.shown(found), **self.editor.shown(found, latest)}

    def _around(self, found: PromptVersion, latest: int, query: str) -> Update:
        """One version in all parts but the editor, and but the questions that are to be asked."""
        return {
            **self.shelf.shown(found, query),
            **self.changes.shown(Opened(name=found.name, version=found.version, latest=latest)),
            **self.cases.listed(found.name),
            **self.publishing.shown(found),
        }

    @spoken
    async def pick_name(
        self, request: gr.Request, name: str | None, query: str, opened: Opened, aside: Kept, note: str, *values: Box
    ) -> Update:
        require(request, "lead")
        if not name:
            raise InvalidMessage("No prompt is chosen.", "Choose one from the list.")
        check_known(opened, Fields.read(values))
        shown = await asyncio.to_thread(self._open_newest, name, query)
        # It may have been chosen anew meanwhile, and that comes next.
        del shown[self.shelf.name]
        return await asyncio.to_thread(self._over, shown, opened, aside, Fields.read(values), note)

    @spoken
    async def pick_version(
        self, request: gr.Request, version: int, query: str, opened: Opened, aside: Kept, note: str, *values: Box
    ) -> Update:
        require(request, "lead")
        check_known(opened, Fields.read(values))
        shown = await asyncio.to_thread(self._open, opened["name"], version, query)
        del shown[self.shelf.name], shown[self.shelf.version], shown[self.sides.questions]
        return await asyncio.to_thread(self._over, shown, opened, aside, Fields.read(values), note)

    def _over(self, shown: Update, opened: Opened, aside: Kept, fields: Fields, note: str) -> Update:
        """What is opened, and what was typed before it put aside; both are told where there is something of both."""
        return {**shown, **self._both_told(shown, self.editor.put_aside(opened, aside, fields, note or ""))}

    def _both_told(self, shown: Update, kept: Update) -> Update:
        notice_of = self.editor.notice
        return {**kept, notice_of: shown.get(notice_of, "") + kept.get(notice_of, "")}

    async def begin(
        self,
        request: gr.Request,
        name: str,
        source: str,
        author: str,
        opened: Opened,
        aside: Kept,
        note: str,
        *values: Box,
    ) -> Update:
        """A new prompt, opened; what was typed into the form before is put aside."""
        person = require(request, "lead")
        try:
            check_known(opened, Fields.read(values))
            written = person.name or (author or "").strip() or signature(person)
            begun = await asyncio.to_thread(begin, self.desk.prompts, (name or "").strip(), source, written)
            shown = await asyncio.to_thread(self._open, begun.name, 1, "")
            shown = await asyncio.to_thread(self._over, shown, opened, aside, Fields.read(values), note)
            return {**shown, **self.shelf.begun(begun)}
        except Exception as error:
            return {self.shelf.notice: notice(in_words(error), "bad")}

    @spoken
    async def bring_back(
        self, request: gr.Request, query: str, opened: Opened, aside: Kept, note: str, *values: Box
    ) -> Update:
        require(request, "lead")
        check_known(opened, Fields.read(values))
        if not aside:
            return {self.editor.aside: []}
        back = aside[-1].opened
        try:
            shown = await asyncio.to_thread(self._reopen, back, query)
        except BotError as error:
            # The others that were put aside have their turn before it.
            return {**self.editor.kept([aside[-1], *aside[:-1]]), self.editor.notice: notice(in_words(error), "bad")}
        if back["name"] == opened.get("name"):
            del shown[self.sides.questions]
        brought = await asyncio.to_thread(self.editor.bring_back, opened, aside, Fields.read(values), note or "")
        # What was the latest when they were begun stays: a save tells what came since.
        over: Opened = {**back, "version": shown[self.editor.opened]["version"]}
        return {**shown, **brought, self.editor.opened: over}

    def _reopen(self, back: Opened, query: str) -> Update:
        """The version that edits were made from, or the newest that can be read, which is told."""
        try:
            return self._open(back["name"], back["version"], query)
        except (BotError, OSError) as error:
            shown, fault = self._open_newest(back["name"], query), _unread(error, back["name"], back["version"])
            told = f"{fault} Your edits are over version {shown[self.editor.opened]['version']} now."
            return {**shown, self.editor.notice: notice(told, "bad")}

    async def save(self, request: gr.Request, query: str, opened: Opened, author: str, note: str, *values: Box) -> Update:
        """The form as the next version, by who is signed in. Whatever goes wrong, the form stays as it is."""
        person = require(request, "lead")
        try:
            result = await asyncio.to_thread(self._save, query, opened, values, person.name or author, note)
        except Exception as error:
            result = self._told(opened, notice(in_words(error), "bad"))
        return {self.result: result}

    @spoken
    async def settle(self, request: gr.Request, result: Result, opened: Opened) -> Update:
        """What came of a save, shown. The texts of another version that was opened meanwhile are not taken for what was
        saved: there it is only told."""
        require(request, "lead")
        return result.shown if result.opened == opened else {self.editor.notice: result.told}

    def _told(self, opened: Opened, told: str) -> Result:
        return Result(opened, {self.editor.notice: told}, told)

    def _save(self, query: str, opened: Opened, values: Sequence[Box], author: str, note: str) -> Result:
        try:
            saved = self.editor.save(opened, Fields.read(values), author, note)
        except Conflict as error:
            return self._conflict(query, opened, values, error)
        if saved.version <= opened["latest"]:
            return self._told(opened, notice(f"Nothing to save: {saved.ref} holds all of this already."))
        told = notice(f"{saved.ref} is saved. Run its cases, then publish it.", "good")
        remarks = saved.prompt.author, saved.prompt.note
        if remarks != (author.strip(), plain_lines(note).strip()):
            theirs = f"saved by {remarks[0]} meanwhile: {remarks[1]}"
            told, note = notice(f"{saved.ref} holds all of this already, {theirs}\nYour note was not kept."), ""
        shown = {**self._around(saved, saved.version, query), **self.editor.saved(saved, saved.version, note)}
        return Result(opened, {**shown, self.editor.notice: told}, told)

    def _conflict(self, query: str, opened: Opened, values: Sequence[Box], error: Conflict) -> Result:
        """Both texts, theirs as the version that is open; what was typed stays in the form."""
        shown = self.editor.conflict(opened, values, error)
        latest = shown[self.editor.opened]["latest"]
        shown = {**self._around(self.desk.prompts.get(f"{opened['name']}@{latest}"), latest, query), **shown}
        told = f"{error.what} Yours was not saved: bring your edits back, then save again."
        return Result(opened, shown, notice(told, "bad"))


def _unread(error: BotError | OSError, name: str, version: int) -> str:
    """Why a version did not open."""
    return str(error) if isinstance(error, BotError) else f"{name}@{version} cannot be read: {error}."
