"""Publishing a version, and taking it back: the labels of the open prompt, and who moved them when and why.

`production` asks that the version's cases pass; where they fail, a second button publishes anyway, which is recorded. What
somebody else moved since the page showed the labels is told, and nothing is moved over it.
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
from bot.publishing.labelling import Wish, put_label, told, undo
from bot.publishing.trial import Outcome
from bot.web.auth import Person, require
from bot.web.pages.handlers import QUIET, Update, in_words, open_form, signature, spoken, stop_first
from bot.web.pages.html import notice
from bot.web.pages.studio.answering import Box
from bot.web.pages.studio.editor import Editor
from bot.web.pages.studio.form import Fields, Opened, is_edited, open_version
from bot.web.pages.studio.results_html import history_html, labels_html, progress_html, results_html, tally
from bot.web.pages.studio.running import try_versions
from bot.web.pages.studio.shelf import Shelf

LABELS = [PRODUCTION, "staging"]


class Back(TypedDict):
    """What can be undone of a label: its latest move, and the version that this took it from."""

    move: int
    version: int


class Seen(TypedDict):
    """The labels as the page showed them, by label."""

    labels: dict[str, int]
    back: dict[str, Back]


Tried = tuple[str, list[Outcome]]
"""A version by its hash, with the outcomes of its cases."""


class Publishing:
    """The components and their handlers. The list of prompts shows the labels too, so it is filled along."""

    def __init__(self, desk: Desk, editor: Editor, shelf: Shelf) -> None:
        self.desk, self.editor, self.shelf = desk, editor, shelf
        self.seen = gr.State(Seen(labels={}, back={}))
        self.tried = gr.State(None)
        self.labels = gr.HTML("", padding=False, elem_id="labels")
        with gr.Row(elem_classes="tight"):
            self.label = gr.Dropdown(
                LABELS, value=PRODUCTION, label="Label", allow_custom_value=True, min_width=150, scale=1, elem_id="label"
            )
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
        out = [*self.filled, *self.shelf.filled, self.send_button, self.stop_button]
        wish = [self.editor.opened, self.label, self.why, self.seen, self.shelf.search]
        runs = [
            self.send_button.click(self.publish, [*wish, *self.editor.fields], out, concurrency_id="replies", **QUIET),
            self.force.click(self.publish_anyway, [*wish, self.tried], out, **QUIET),
        ]
        stop_first(self.stop_button, runs)
        self.stop_button.click(self.stopped, None, out, queue=False, **QUIET)
        self.undo_button.click(self.take_back, wish, out, **QUIET)
        self.label.change(self.pick_label, [self.label, self.seen], [self.undo_button, self.force], **QUIET)

    @property
    def filled(self) -> list[Any]:
        return [
            self.seen, self.tried, self.labels, self.why, self.send_button, self.force, self.undo_button, self.notice,
            self.results, self.history,
        ]  # fmt: skip

    def shown(self, found: PromptVersion, label: str | None = None) -> Update:
        """The labels as they are now, for that version as the open one; `label` is the chosen one."""
        labels, moves = self.desk.journal.labels(found.name), self.desk.journal.label_moves(found.name)
        last = {move.label: move for move in reversed(moves)}
        back = {name: Back(move=m.id, version=m.previous) for name, m in last.items() if m.previous}
        return {
            self.seen: Seen(labels=labels, back=back),
            self.tried: None,
            self.labels: labels_html(labels),
            self.send_button: gr.update(value=f"Publish version {found.version}"),
            self.force: gr.update(visible=False),
            self.undo_button: _undo(label or PRODUCTION, back),
            self.notice: "",
            self.results: "",
            self.history: history_html(moves),
        }

    @spoken
    async def pick_label(self, request: gr.Request, label: str | None, seen: Seen) -> Update:
        require(request, "lead")
        return {self.undo_button: _undo((label or "").strip(), seen["back"]), self.force: gr.update(visible=False)}

    async def publish(
        self, request: gr.Request, opened: Opened, label: str, why: str, seen: Seen, query: str, *values: Box
    ) -> AsyncGenerator[Update, None]:
        """The label onto the open version as it is saved; for production, after its cases passed."""
        person = require(request, "lead")
        try:
            found = await asyncio.to_thread(open_version, self.desk.prompts, opened)
            wish = _wish(label, person, why, seen)
            outcomes: list[Outcome] = []
            if wish.label == PRODUCTION:
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
            unsaved = await asyncio.to_thread(is_edited, self.desk.prompts, opened, Fields.read(values))
            remark = " What is not saved in the form is not part of it." if unsaved else ""
            yield await asyncio.to_thread(self._put, found, wish, outcomes, query, remark)
        except Exception as error:
            yield await asyncio.to_thread(self._fault, opened, label, query, error)

    async def _try(self, found: PromptVersion) -> AsyncGenerator[Update | list[Outcome], None]:
        """Progress for the page, at the end the outcomes; none where the prompt has no cases."""
        cases = await asyncio.to_thread(self.desk.prompts.cases, found.name)
        if not cases.cases:
            return
        yield {
            **open_form(self, False),
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
            self.tried: (found.prompt.hash, outcomes),
            self.force: gr.update(visible=True),
            self.notice: notice(said, "bad"),
            self.results: results_html(found.ref, [outcome for outcome in outcomes if not outcome.passed]),
        }

    @spoken
    async def publish_anyway(
        self, request: gr.Request, opened: Opened, label: str, why: str, seen: Seen, query: str, tried: Tried | None
    ) -> Update:
        """The label onto a version whose cases failed a moment ago."""
        person = require(request, "lead")
        try:
            found = await asyncio.to_thread(open_version, self.desk.prompts, opened)
            if tried is None or tried[0] != found.prompt.hash:
                raise InvalidMessage("The cases of this version were not run.", "Press Publish first.")
            wish = _wish(label, person, why, seen, force=True)
            return await asyncio.to_thread(self._put, found, wish, tried[1], query)
        except Exception as error:
            return await asyncio.to_thread(self._fault, opened, label, query, error)

    def _put(self, found: PromptVersion, wish: Wish, outcomes: list[Outcome], query: str, remark: str = "") -> Update:
        forced = put_label(self.desk.journal, found, wish, outcomes)
        return self._done(found, wish.label, query, told(found, wish, outcomes, forced) + remark)

    @spoken
    async def take_back(
        self, request: gr.Request, opened: Opened, label: str | None, why: str, seen: Seen, query: str
    ) -> Update:
        """The label back to where its latest move took it from."""
        person = require(request, "lead")
        try:
            return await asyncio.to_thread(self._take_back, opened, (label or "").strip(), person, seen, query)
        except Exception as error:
            return await asyncio.to_thread(self._fault, opened, label, query, error)

    def _take_back(self, opened: Opened, label: str, person: Person, seen: Seen, query: str) -> Update:
        found = open_version(self.desk.prompts, opened)
        if label not in seen["back"]:
            raise InvalidMessage(f"The label {label!r} was nowhere before.", "Choose one that was moved.")
        move = undo(self.desk.journal, self.desk.prompts, found.name, label, signature(person), seen["back"][label]["move"])
        return self._done(found, label, query, f"{label} is back on version {move.previous}.")

    def _done(self, found: PromptVersion, label: str, query: str, said: str) -> Update:
        return {
            **self.shelf.shown(found, query),
            **self.shown(found, label),
            **open_form(self, True),
            self.send_button: gr.update(value=f"Publish version {found.version}", visible=True),
            self.why: "",
            self.notice: notice(said, "good"),
        }

    def _fault(self, opened: Opened, label: str | None, query: str, error: Exception) -> Update:
        """What went wrong, the reason that was typed left where it is. Where another was first, also what there is now."""
        shown: Update = {**open_form(self, True), self.results: "", self.notice: notice(in_words(error), "bad")}
        if isinstance(error, Conflict):
            found = open_version(self.desk.prompts, opened)
            return {**self.shelf.shown(found, query), **self.shown(found, label), **shown}
        return shown

    @spoken
    async def stopped(self, request: gr.Request) -> Update:
        require(request, "lead")
        return {**open_form(self, True), self.results: "", self.notice: notice("Stopped: nothing was published.")}


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
