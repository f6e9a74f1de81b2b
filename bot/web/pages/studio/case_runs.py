"""The cases of a prompt, and how what stands in the form does in them beside the version in production: what passes, what
fails, and why. A case can be taken out here."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import gradio as gr

from bot.desk import Desk
from bot.errors import InvalidMessage, PromptError
from bot.prompts.case_file import take_case
from bot.prompts.cases import FILE, Cases
from bot.prompts.library import PRODUCTION
from bot.prompts.version import PromptVersion
from bot.web.auth import require
from bot.web.pages.handlers import QUIET, Update, in_words, open_form, signature, spoken, stop_first
from bot.web.pages.html import notice
from bot.web.pages.studio.answering import Box
from bot.web.pages.studio.editor import Editor
from bot.web.pages.studio.form import Fields, Opened, title
from bot.web.pages.studio.results_html import cases_html, progress_html, results_html, tally
from bot.web.pages.studio.running import try_versions


class CaseRuns:
    """The components and their handlers. `tried` is the form that the results are of, `since` says that it was edited."""

    def __init__(self, desk: Desk, editor: Editor) -> None:
        self.desk, self.editor = desk, editor
        with gr.Row(elem_classes="label-row"):
            self.send_button = gr.Button("Run the cases", variant="primary", min_width=140, size="md", elem_id="run-cases")
            self.stop_button = gr.Button("Stop", variant="stop", min_width=140, size="md", visible=False)
        self.tried = gr.State(None)
        self.since = gr.HTML("", padding=False, elem_classes="slot")
        self.notice = gr.HTML("", padding=False, elem_classes="slot", elem_id="cases-notice")
        self.results = gr.HTML("", padding=False, elem_classes="slot", elem_id="cases-results")
        with gr.Accordion("What the cases ask", open=False, elem_id="cases"):
            self.asked = gr.HTML("", padding=False, elem_id="cases-asked")
            with gr.Row(elem_classes="label-row"):
                self.chosen = gr.Dropdown([], label="Case", min_width=200, scale=2, elem_id="case-chosen")
                self.take_button = gr.Button("Take out", min_width=120, size="md", elem_id="take-case-out")
        out = [self.send_button, self.stop_button, self.tried, self.since, self.notice, self.results]
        self.running = self.send_button.click(
            self.run, [editor.opened, *editor.fields], out, concurrency_id="replies", **QUIET
        )  # fmt: skip
        self.take_button.click(self.take_out, [editor.opened, self.chosen], [*self.filled, self.notice], **QUIET)
        stop_first(self.stop_button.click, [self.running])
        self.stop_button.click(self.stopped, None, out, queue=False, **QUIET)
        # Results stand beside what they are of.
        stop_first(editor.opened.change, [self.running])
        editor.opened.change(self.clear, None, out, trigger_mode="multiple", queue=False, **QUIET)

    @property
    def filled(self) -> list[Any]:
        return [self.asked, self.chosen]

    def listed(self, name: str) -> Update:
        """The prompt's cases as they are now."""
        try:
            cases = cases_of(self.desk, name)
        except PromptError as error:
            return {self.asked: notice(str(error)), self.chosen: gr.update(choices=[], value=None)}
        titles = [case.title for case in cases.cases]
        return {self.asked: cases_html(cases), self.chosen: gr.update(choices=titles, value=None)}

    async def run(self, request: gr.Request, opened: Opened, *values: Box) -> AsyncGenerator[Update, None]:
        """Progress, then the table."""
        require(request, "lead")
        try:
            form = (opened, Fields.read(values))
            new = await self.editor.draft(*form)
            old = await asyncio.to_thread(self._standing, new)
            cases = await asyncio.to_thread(cases_of, self.desk, new.name)
            begun = {**self._empty(), **open_form(self, False), self.tried: form, self.notice: ""}
            yield {**begun, self.results: progress_html(0, 0)}
            versions = [*([old] if old else []), new]
            async with aclosing(try_versions(self.desk, versions, cases)) as steps:
                async for step in steps:
                    if isinstance(step, tuple):
                        yield {self.results: progress_html(*step)}
                        continue
                    *before, after = step
                    passed = all(outcome.passed for outcome in after)
                    table = results_html(title(new), after, title(old) if old else "", before[0] if before else ())
                    yield {self.notice: notice(tally(title(new), after), "good" if passed else "bad"), self.results: table}
            yield open_form(self, True)
        except Exception as error:
            yield {**self._empty(), self.notice: notice(in_words(error), "bad")}

    async def take_out(self, request: gr.Request, opened: Opened, title: str | None) -> Update:
        """A case that was a mistake; all versions are judged without it from then on."""
        person = require(request, "lead")
        try:
            return await asyncio.to_thread(self._take_out, opened, title, signature(person))
        except Exception as error:
            return {self.notice: notice(in_words(error), "bad")}

    def _take_out(self, opened: Opened, title: str | None, who: str) -> Update:
        if not opened or not title:
            raise InvalidMessage("No case is chosen.", "Choose one from the list.")
        name = opened["name"]
        remark = f"Taken out by {who} on {datetime.date.today()}: {title!r}"
        taken = take_case(self.desk.prompts.root / name, title, remark)
        told = f"“{title}” is no case of {name} any more. To have it back, write it into its {FILE} again:\n{taken}"
        return {**self.listed(name), self.notice: notice(told, "good")}

    def _standing(self, new: PromptVersion) -> PromptVersion | None:
        """The version in production, where that is another one."""
        standing = self.desk.journal.labels(new.name).get(PRODUCTION)
        return self.desk.prompts.get(f"{new.name}@{standing}") if standing and standing != new.version else None

    @spoken
    async def clear(self, request: gr.Request) -> Update:
        require(request, "lead")
        return {**self._empty(), self.notice: ""}

    @spoken
    async def stopped(self, request: gr.Request) -> Update:
        require(request, "lead")
        return {**self._empty(), self.notice: notice("Stopped.")}

    def _empty(self) -> Update:
        """No results, and ready for a run."""
        return {**open_form(self, True), self.tried: None, self.since: "", self.results: ""}


def cases_of(desk: Desk, name: str) -> Cases:
    """Raises PromptError where there are none: a run of nothing would say that all is well."""
    cases = desk.prompts.cases(name)
    if not cases.cases:
        raise PromptError(f"{name} has no cases.", "They stand in its cases.yaml; prompts/README.md explains the format.")
    return cases
