"""What the form's texts become: the messages as sent, how much of the context they take, and advice; as they are typed."""

from __future__ import annotations

import asyncio
import contextlib

import gradio as gr

from bot.desk import Desk
from bot.errors import BotError
from bot.prompts.lint import lint
from bot.prompts.render import render, stand_ins
from bot.prompts.scenarios import readable_scenarios
from bot.prompts.schema import Prompt
from bot.prompts.version import PromptVersion
from bot.types import Message, Passage
from bot.web.auth import require
from bot.web.pages.handlers import Update, in_words
from bot.web.pages.html import notice
from bot.web.pages.studio.answering import Box
from bot.web.pages.studio.editor import Editor
from bot.web.pages.studio.form import Fields, Opened
from bot.web.pages.studio.texts_html import findings_html, preview_html

UNASKED = "…"
"""Stands for a customer's message where no sample is given."""


class Preview:
    """The components; the tab has them looked at again."""

    def __init__(self, desk: Desk, editor: Editor) -> None:
        self.desk, self.editor = desk, editor
        self.question = gr.Textbox(label="Sample question", lines=1, max_lines=3, elem_id="sample")
        self.findings = gr.HTML("", padding=False, elem_classes="slot", elem_id="findings")
        self.preview = gr.HTML("", padding=False, elem_id="preview")

    def sample(self) -> str:
        """A question to begin with."""
        scenarios = readable_scenarios(self.desk.settings.workspace / "prompts")
        return next((scenario.openings[0] for _, scenario in scenarios), "How can I reach you?")

    async def look(self, request: gr.Request, opened: Opened, question: str, *values: Box) -> Update:
        """A fault of the texts stands where the messages would."""
        require(request, "lead")
        if not opened:
            return {self.preview: "", self.findings: ""}
        try:
            draft = await self.editor.draft(opened, Fields.read(values))
            with contextlib.suppress(BotError):  # Only an engine that is ready counts; the preview needs no count.
                await self.desk.engine.load()
            messages = await self._messages(draft.prompt, (question or "").strip())
            tokens = await asyncio.to_thread(self.desk.engine.count, messages)
            shown = preview_html(messages, tokens, self.desk.base.context)
            return {self.preview: shown, self.findings: await asyncio.to_thread(self._advice, draft)}
        except Exception as error:
            return {self.preview: notice(in_words(error), "bad"), self.findings: ""}

    async def _messages(self, prompt: Prompt, question: str) -> tuple[Message, ...]:
        examples = await self.desk.selector.select(prompt, question or UNASKED, self.desk.engine.count)
        asked = (Message("user", question or UNASKED),)
        return render(prompt, examples, stand_ins(prompt), await self._passages(question), asked)

    async def _passages(self, question: str) -> tuple[Passage, ...] | None:
        """As the customers' agent would find them; none for a question that is not given."""
        collection = self.desk.settings.agent.knowledge
        if not collection:
            return None
        if not question:
            return ()
        return await self.desk.knowledge.search(question, collection, self.desk.settings.passages)

    def _advice(self, draft: PromptVersion) -> str:
        """Runs where no chat waits for it: a long text takes a while to be read for personal data."""
        try:
            cases = self.desk.prompts.cases(draft.name)
            return findings_html(asyncio.run(lint(draft.prompt, cases, self.desk.engine.count, self.desk.base.context)))
        except BotError as error:
            return notice(str(error), "bad")
