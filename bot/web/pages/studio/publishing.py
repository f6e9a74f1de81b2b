"""Publishing a version, and taking it back: the labels of the open prompt, and who moved them when and why.

`production`, and the label that customers meet, ask that the version's cases pass; where they fail, a second button
publishes anyway, which is recorded. Edits in the form are no part of a version: where there are some, the first press only
says so. What somebody else moved since the page showed the labels is told, and nothing is moved over it. Cases take long:
whatever came of them, the labels are then shown for what is open by that time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, TypedDict

import gradio as gr

from bot.desk import Desk
from bot.errors import Conflict, InvalidMessage
from bot.prompts.library import PRODUCTION
from bot.prompts.version import PromptVersion
from bot.publishing.labelling import LABELS, Wish, asks_for_cases, check_wish, put_label, told, undo, way_back
from bot.publishing.trial import Outcome
from bot.web.auth import Person, require
from bot.web.pages.handlers import QUIET, Update, in_words, open_form, signature, spoken, stop_first
from bot.web.pages.html import notice
from bot.web.pages.studio.answering import Box
from bot.web.pages.studio.editor import Editor
from bot.web.pages.studio.form import Fields, Form, Opened, is_edited, open_version
from bot.web.pages.studio.results_html import history_html, labels_html, progress_html, results_html, tally
from bot.web.pages.studio.running import try_versions
from bot.web.pages.studio.shelf import Shelf
from bot.web.pages.studio.side_by_side import SideBySide


class Back(TypedDict):
    """What can be undone of a label: its latest move, and the version that it was on before."""

    move: int
    version: int


class Seen(TypedDict):
    """The labels as the page showed them, by label, beside the version that it called open."""

    ref: str
    labels: dict[str, int]
    back: dict[str, Back]


Tried = tuple[PromptVersion, list[Outcome]]
"""A version with the outcomes of its cases."""


class Publishing:
    """The components and their handlers. The list of prompts and the old versions to ask show the labels too, so they are
    filled along. `warned` is the form whose edits were told to be no part of what is published."""

    def __init__(self, desk: Desk, editor: Editor, shelf: Shelf, sides: SideBySide) -> None:
        self.desk, self.editor, self.shelf, self.sides = desk, editor, shelf, sides
        self.seen = gr.State(Seen(ref="", labels={}, back={}))
        self.tried = gr.State(None)
        self.warned = gr.State(None)
        self.labels = gr.HTML("", padding=False, elem_id="labels")
        with gr.Row(elem_classes="tight"):
            self.label = gr.Dropdown(
                list(LABELS), value=PRODUCTION, label="Label", allow_custom_value=True, min_width=150, scale=1,
                elem_id="label",
            )  # fmt: skip
            self.why = gr.Textbox(label="Reason; it stays in the history", lines=1, max_lines=3, scale=3, elem_id="why")
        with gr.Row(elem_classes="label-row"):
            self.send_button = gr.Button("Publish", variant="primary", min_width=130, size="md", elem_id="publish")
            self.stop_button = gr.Button("Stop", variant="stop", min_width=130, size="md", visible=False)
            self.force = gr.Button(
                "Publish anyway", variant="stop", min_width=130, size="md", visible=False, elem_id="publish-anyway"
            )
            self.undo_button = gr.Button("Undo", min_width=130, size="md", visible=False, elem_id="undo")
        self.notice = gr.HTML("", padding=False, elem_classes="slot", elem_id="publish-notice")
        self.results = gr.HTML("", padding=False, elem_classes="slot", elem_id="publish-results")
        self.history = gr.HTML("", padding=False, elem_classes="slot", elem_id="history")
        self._listen()

    def _listen(self) -> None:
        out = [self.notice, self.results, self.tried, self.warned, self.force, self.why, self.send_button, self.stop_button]
        wish = [self.editor.opened, self.label, self.why, self.seen]
        runs = [
            self.send_button.click(
                self.publish, [*wish, self.warned, *self.editor.fields], out, concurrency_id="replies", **QUIET
            ),
            self.force.click(self.publish_anyway, [*wish, self.tried], out, **QUIET),
        ]
        stop_first(self.stop_button.click, runs)
        self.stop_button.click(self.stopped, None, out, queue=False, **QUIET)
        undoing = self.undo_button.click(self.take_back, [self.editor.opened, self.label, self.seen], out, **QUIET)
        labels: dict[str, Any] = {
            "outputs": [*self.filled, *self.shelf.filled, *self.sides.filled], "trigger_mode": "multiple", **QUIET
        }  # fmt: skip
        self.editor.opened.change(self.refresh, self.now, **labels)
        for run in (*runs, undoing):
            # One that is stopped counts too, and may have put its label a moment before.
            run.then(self.refresh, self.now, **labels)
        self.label.change(self.pick_label, [self.label, self.seen], [self.undo_button, self.force], **QUIET)

    @property
    def filled(self) -> list[Any]:
        return [
            self.seen, self.tried, self.labels, self.send_button, self.force, self.undo_button, self.notice, self.results,
            self.history,
        ]  # fmt: skip

    @property
    def now(self) -> list[Any]:
        """What `refresh` takes."""
        return [self.editor.opened, self.label, self.shelf.search, self.tried]

    def shown(self, found: PromptVersion) -> Update:
        """That version as the open one. Which label is chosen only `refresh` knows."""
        labelled = self._labelled(found.name, found.version, PRODUCTION, None)
        return {**labelled, self.tried: None, self.notice: "", self.results: ""}

    def _labelled(self, name: str, version: int, label: str | None, tried: Tried | None) -> Update:
        """The labels as they are now."""
        ref, wanted = f"{name}@{version}", (label or "").strip()
        labels, moves = self.desk.journal.labels(name), self.desk.journal.label_moves(name)
        ways = {move.label: way_back(moves, move.label) for move in moves}
        back = {moved: Back(move=way[0].id, version=way[1].version) for moved, way in ways.items() if way}
        failed = tried is not None and tried[0].ref == ref
        failed = failed and asks_for_cases(name, wanted, self.desk.settings.agent.prompt)
        return {
            self.seen: Seen(ref=ref, labels=labels, back=back),
            self.labels: labels_html(labels),
            self.send_button: gr.update(value=f"Publish version {version}"),
            self.force: gr.update(visible=failed),
            self.undo_button: _undo(wanted, back),
            self.history: history_html(moves),
        }

    @spoken
    async def refresh(
        self, request: gr.Request, opened: Opened, label: str | None, query: str, tried: Tried | None
    ) -> Update:
        """The labels as they are now, for what is open now; what is chosen, typed or told stays."""
        require(request, "lead")
        return await asyncio.to_thread(self._refreshed, opened, label, query, tried)

    def _refreshed(self, opened: Opened, label: str | None, query: str, tried: Tried | None) -> Update:
        if not opened:
            return {self.force: gr.update(visible=False)}
        name, version = opened["name"], opened["version"]
        listed = {**self.shelf.listed(name, query), **self.sides.listed(name)}
        return {**listed, **self._labelled(name, version, label, tried)}

    @spoken
    async def pick_label(self, request: gr.Request, label: str | None, seen: Seen) -> Update:
        require(request, "lead")
        return {self.undo_button: _undo((label or "").strip(), seen["back"]), self.force: gr.update(visible=False)}

    async def publish(
        self, request: gr.Request, opened: Opened, label: str, why: str, seen: Seen, warned: Form | None, *values: Box
    ) -> AsyncGenerator[Update, None]:
        """The label onto the open version as it is saved; after its cases passed, where the label asks for them."""
        person = require(request, "lead")
        try:
            found = await asyncio.to_thread(self._seen, opened, seen)
            wish = _wish(label, person, why, seen)
            customers = self.desk.settings.agent.prompt
            await asyncio.to_thread(check_wish, self.desk.journal, found, wish, customers)
            form = (opened, Fields.read(values))
            if warned != form and await asyncio.to_thread(is_edited, self.desk.prompts, *form):
                yield self._warned(found, form)
                return
            outcomes: list[Outcome] = []
            if asks_for_cases(found.name, wish.label, customers):
                async with aclosing(self._try(found)) as steps:
                    async for step in steps:
                        if isinstance(step, list):
                            outcomes = step
                        else:
                            yield step
            failed = [outcome for outcome in outcomes if not outcome.passed]
            if failed:
                yield self._refused(found, outcomes)
                return
            yield await asyncio.to_thread(self._put, found, wish, outcomes)
        except Exception as error:
            yield self._fault(error)

    def _seen(self, opened: Opened, seen: Seen) -> PromptVersion:
        """The open version. Raises Conflict where the page showed the labels beside another one."""
        found = open_version(self.desk.prompts, opened)
        if seen["ref"] != found.ref:
            raise Conflict(
                f"{found.ref} is open, and the labels were shown for {seen['ref']}.", "Look at them now, then press again."
            )
        return found

    def _warned(self, found: PromptVersion, form: Form) -> Update:
        """Said before anything is run. After a conflict the open version is somebody else's."""
        said = (
            f"Version {found.version}, by {found.prompt.author}, holds none of your edits. "
            "Save them first, or press again to publish it without them."
        )
        return {**open_form(self, True), self.warned: form, self.notice: notice(said, "bad"), self.results: ""}

    async def _try(self, found: PromptVersion) -> AsyncGenerator[Update | list[Outcome], None]:
        """Progress for the page, at the end the outcomes; none where the prompt has no cases."""
        cases = await asyncio.to_thread(self.desk.prompts.cases, found.name)
        if not cases.cases:
            return
        yield {
            **open_form(self, False),
            self.tried: None,
            self.force: gr.update(visible=False),
            self.notice: "",
            self.results: progress_html(0, len(cases.cases)),
        }
        async with aclosing(try_versions(self.desk, [found], cases)) as steps:
            async for step in steps:
                yield {self.results: progress_html(*step)} if isinstance(step, tuple) else step[0]

    def _refused(self, found: PromptVersion, outcomes: list[Outcome]) -> Update:
        said = f"{tally(found.ref, outcomes)} It was not published. Mend it, or publish it anyway, which is recorded."
        return {
            **open_form(self, True),
            self.tried: (found, outcomes),
            self.notice: notice(said, "bad"),
            self.results: results_html(found.ref, [outcome for outcome in outcomes if not outcome.passed]),
        }

    @spoken
    async def publish_anyway(
        self, request: gr.Request, opened: Opened, label: str, why: str, seen: Seen, tried: Tried | None
    ) -> Update:
        """The label onto a version whose cases failed a moment ago."""
        person = require(request, "lead")
        try:
            found = await asyncio.to_thread(self._seen, opened, seen)
            if tried is None or tried[0] != found:
                raise InvalidMessage("The cases of this version were not run.", "Press Publish first.")
            wish = _wish(label, person, why, seen, force=True)
            return await asyncio.to_thread(self._put, found, wish, tried[1])
        except Exception as error:
            return self._fault(error)

    def _put(self, found: PromptVersion, wish: Wish, outcomes: list[Outcome]) -> Update:
        customers = self.desk.settings.agent.prompt
        forced = put_label(self.desk.journal, found, wish, outcomes, customers)
        return {**self._done(found.name, told(found, wish, outcomes, forced, customers)), self.why: ""}

    @spoken
    async def take_back(self, request: gr.Request, opened: Opened, label: str | None, seen: Seen) -> Update:
        """The label back to where its latest move took it from."""
        person = require(request, "lead")
        try:
            return await asyncio.to_thread(self._take_back, opened, (label or "").strip(), person, seen)
        except Exception as error:
            return self._fault(error)

    def _take_back(self, opened: Opened, label: str, person: Person, seen: Seen) -> Update:
        found = self._seen(opened, seen)
        if label not in seen["back"]:
            raise InvalidMessage(f"The label {label!r} was nowhere before.", "Choose one that was moved.")
        journal, prompts, move = self.desk.journal, self.desk.prompts, seen["back"][label]["move"]
        _, now = undo(journal, prompts, found.name, label, signature(person), move)
        return self._done(found.name, f"{label} is back on version {now}.")

    def _done(self, name: str, said: str) -> Update:
        """Told with the prompt's name: another one may be open by now."""
        return {
            **open_form(self, True),
            self.tried: None,
            self.notice: notice(f"{name}: {said}", "good"),
            self.results: "",
        }

    def _fault(self, error: Exception) -> Update:
        """What went wrong, the reason that was typed left where it is."""
        return {**open_form(self, True), self.results: "", self.notice: notice(in_words(error), "bad")}

    @spoken
    async def stopped(self, request: gr.Request) -> Update:
        """Whether it was published a moment before, the labels say."""
        require(request, "lead")
        return {**open_form(self, True), self.results: "", self.notice: notice("Stopped.")}


def _wish(label: str, person: Person, why: str, seen: Seen, force: bool = False) -> Wish:
    """Raises InvalidMessage before anything is run for it."""
    name = (label or "").strip()
    if not (why or "").strip():
        raise InvalidMessage("The reason is empty.", "Say in a few words why; it stays in the history.")
    return Wish(name, signature(person), why, seen["labels"].get(name), force)


def _undo(label: str, back: dict[str, Back]) -> Any:
    """The button that takes a label back, where it was somewhere before."""
    if label not in back:
        return gr.update(visible=False)
    return gr.update(value=f"Undo: back to version {back[label]['version']}", visible=True)
