"""Old and new side by side: what a saved version and the form's texts reply to three questions that customers asked.

Both are asked at once, on the agent that customers meet, with the same seed and passages; the draft is not saved for it.
The journal keeps these turns as it keeps those of cases: without an owner.
"""

from __future__ import annotations

import asyncio
import contextlib
import textwrap
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Any

import gradio as gr

from bot.agent import Answer
from bot.desk import Desk
from bot.errors import BotError, InvalidMessage
from bot.limits import check_text
from bot.prompts.library import PRODUCTION
from bot.prompts.scenarios import readable_scenarios
from bot.prompts.version import PromptVersion
from bot.types import AgentSpec, Message, Turn
from bot.web.auth import require
from bot.web.pages.chat import PACE, stream
from bot.web.pages.handlers import QUIET, Update, in_words, open_form, spoken, stop_first
from bot.web.pages.html import notice
from bot.web.pages.race import race
from bot.web.pages.studio.answering import Box
from bot.web.pages.studio.editor import Editor
from bot.web.pages.studio.form import Fields, Opened, open_version, title
from bot.web.pages.studio.results_html import side_by_side_html

QUESTIONS = 3
OFFERED = 30
"""Recorded questions to choose from."""
LINE = 90
"""Characters of a question in the list."""
Key = tuple[int, str]
"""A question's place, and the side: old or new."""


class SideBySide:
    """The components and their handlers. `tried` is the form that the replies are of, `since` says that it was edited."""

    def __init__(self, desk: Desk, editor: Editor) -> None:
        self.desk, self.editor = desk, editor
        self.questions = gr.Dropdown(
            [], label="Questions, up to three; another can be typed", multiselect=True, max_choices=QUESTIONS,
            allow_custom_value=True, elem_id="questions",
        )  # fmt: skip
        with gr.Row(elem_classes="label-row"):
            self.against = gr.Dropdown([], label="Old", min_width=140, elem_id="against")
            self.send_button = gr.Button("Ask both", variant="primary", min_width=110, size="md", elem_id="ask-both")
            self.stop_button = gr.Button("Stop", variant="stop", min_width=110, size="md", visible=False)
        self.tried = gr.State(None)
        self.since = gr.HTML("", padding=False, elem_classes="slot")
        self.notice = gr.HTML("", padding=False, elem_classes="slot", elem_id="ask-notice")
        self.replies = gr.HTML("", padding=False, elem_classes="slot", elem_id="ask-replies")
        given = [editor.opened, self.questions, self.against, *editor.fields]
        out = [self.send_button, self.stop_button, self.tried, self.since, self.notice, self.replies]
        self.running = self.send_button.click(self.ask, given, out, concurrency_id="replies", **QUIET)
        stop_first(self.stop_button.click, [self.running])
        self.stop_button.click(self.stopped, None, out, queue=False, **QUIET)
        # Replies stand beside the texts that they are of.
        stop_first(editor.opened.change, [self.running])
        editor.opened.change(self.clear, None, out, trigger_mode="multiple", queue=False, **QUIET)

    @property
    def filled(self) -> list[Any]:
        return [self.questions, self.against]

    def shown(self, found: PromptVersion) -> Update:
        """Three questions chosen, and production as the old version where there is one."""
        choices = self._choices(found.name)
        standing = self.desk.journal.labels(found.name).get(PRODUCTION)
        old = next((number for _, number in choices if number == standing), found.version)
        questions, origin = self._questions(found.name)
        lines = [(textwrap.shorten(question, LINE, placeholder=" …"), question) for question in questions]
        return {
            self.questions: gr.update(choices=lines, value=questions[:QUESTIONS], info=origin),
            self.against: gr.update(choices=choices, value=old),
        }

    def listed(self, name: str) -> Update:
        """The old versions there are to choose, as they are now. What is asked stays."""
        return {self.against: gr.update(choices=self._choices(name))}

    def _choices(self, name: str) -> list[tuple[str, int]]:
        """Every version: one that is chosen must not vanish once another is saved or published."""
        standing = self.desk.journal.labels(name).get(PRODUCTION)
        known = reversed(self.desk.prompts.versions(name))
        return [(f"Version {n}{', production' if n == standing else ''}", n) for n in known]

    def _questions(self, name: str) -> tuple[list[str], str]:
        """What customers asked, filled up from the prompt's cases and the scenarios where that is too little; and which."""
        recorded = self.desk.journal.questions(OFFERED)
        if len(recorded) >= QUESTIONS:
            return recorded, "What customers asked, the latest first."
        origin = "Customers asked little yet: these are from the cases and the scenarios."
        return list(dict.fromkeys([*recorded, *self._stand_ins(name)]))[:OFFERED], origin

    def _stand_ins(self, name: str) -> Iterator[str]:
        with contextlib.suppress(BotError):
            yield from (case.message for case in self.desk.prompts.cases(name).cases if not case.history)
        for _, scenario in readable_scenarios(self.desk.settings.workspace / "prompts"):
            yield from scenario.openings

    async def ask(
        self, request: gr.Request, opened: Opened, questions: list[str] | None, against: int | None, *values: Box
    ) -> AsyncGenerator[Update, None]:
        """All replies as they come. What fails says so in its place."""
        require(request, "lead")
        try:
            asked = [check_text(question.strip()) for question in (questions or [])[:QUESTIONS]]
            if not asked:
                raise InvalidMessage("No question is chosen.", "Choose up to three, or type one.")
            form = (opened, Fields.read(values))
            new = await self.editor.draft(*form)
            old = await asyncio.to_thread(self._old, opened, against)
            same = f"Both are {old.ref}: the form holds no other texts." if new.prompt.hash == old.prompt.hash else ""
            yield {**open_form(self, False), self.tried: form, self.since: "", self.notice: notice(same)}
            async with aclosing(self._replies(asked, old, new)) as shown:
                async for html in shown:
                    yield {self.replies: html}
            yield open_form(self, True)
        except Exception as error:
            yield {**open_form(self, True), self.notice: notice(in_words(error), "bad")}

    def _old(self, opened: Opened, against: int | None) -> PromptVersion:
        return self.desk.prompts.get(f"{open_version(self.desk.prompts, opened).name}@{against or opened['version']}")

    async def _replies(self, asked: list[str], old: PromptVersion, new: PromptVersion) -> AsyncGenerator[str, None]:
        """The page's part again and again, at most every PACE seconds and once more at the end."""
        heads = (title(old), title(new))
        replies: dict[Key, str | Exception] = {}
        answers: dict[Key, Answer] = {}
        yield side_by_side_html(asked, heads, replies, {})
        streams = {}
        for number, question in enumerate(asked):
            for side, turn in (await self._turns(question, old, new)).items():
                answer = answers[number, side] = Answer()
                agent = self.desk.agent.trying(old if side == "old" else new)
                streams[number, side] = stream(agent, turn, answer)
        drawn = 0.0
        async with aclosing(race(streams)) as updates:
            async for key, reply in updates:
                replies[key] = reply
                if time.perf_counter() - drawn >= PACE:
                    drawn = time.perf_counter()
                    yield side_by_side_html(asked, heads, replies, {})
        done = {key: answer for key, answer in answers.items() if not isinstance(replies.get(key), Exception)}
        yield side_by_side_html(asked, heads, replies, done)

    async def _turns(self, question: str, old: PromptVersion, new: PromptVersion) -> dict[str, Turn]:
        """The same question on the same passages to both."""
        agent = self.desk.settings.agent
        found = None
        if agent.knowledge:
            found = await self.desk.knowledge.search(question, agent.knowledge, self.desk.settings.passages)
        specs = {
            side: AgentSpec(agent.adapters, version.ref, agent.knowledge) for side, version in (("old", old), ("new", new))
        }
        return {side: Turn((Message("user", question),), spec, passages=found) for side, spec in specs.items()}

    @spoken
    async def clear(self, request: gr.Request) -> Update:
        require(request, "lead")
        return {**open_form(self, True), self.tried: None, self.since: "", self.notice: "", self.replies: ""}

    @spoken
    async def stopped(self, request: gr.Request) -> Update:
        require(request, "lead")
        return {**open_form(self, True), self.notice: notice("Stopped.")}
