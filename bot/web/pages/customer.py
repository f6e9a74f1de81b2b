"""The customers' page: one conversation with the agent that the settings name.

The conversation lives in the journal; a tab only remembers which one it is in. Shows no set-ups and no figures.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import gradio as gr

from bot.agent import Answer
from bot.desk import Desk
from bot.errors import BotError
from bot.journal.models import TurnRecord
from bot.limits import check_text
from bot.prompts.scenarios import readable_scenarios
from bot.types import Message, Turn
from bot.web.auth import require
from bot.web.pages.bubbles import bubbles, chatbot, thumbed, under_way
from bot.web.pages.chat import Chats, history
from bot.web.pages.handlers import QUIET, Update, in_words, open_queue, spoken, stop_first
from bot.web.pages.html import escape, notice
from bot.web.pages.thumbs import Thumbs

OPENINGS = 4
PERSON = "I would like to talk to a person."
GREETING = """<div class="greeting"><h2>How can we help?</h2>
<p>Ask about an order, a return, a bill or a product, in your own words.</p></div>"""


class CustomerPage:
    """The page's components and their handlers."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.chats = Chats(desk, "")
        self.conversation = gr.State("")
        with gr.Column(elem_id="customer"):
            self._header()
            self.chat = chatbot("Conversation", "100%", "customer-chat", GREETING)
            self.thumbs = Thumbs(self.chats)
            self._openings()
            self.notice = gr.HTML("", elem_id="customer-notice", padding=False, elem_classes="slot")
            self._box()
            gr.HTML(
                '<p class="small-print">Replies are written by an automated assistant and can be wrong. '
                "The sources show what they rest on.</p>",
                padding=False,
            )
        self._listen()

    def _header(self) -> None:
        with gr.Row(elem_id="customer-head"):
            self.title = gr.HTML(_title("Customer service"), padding=False, elem_id="customer-title")
            self.person = gr.Button("Talk to a person", size="sm", elem_id="person", min_width=130, scale=0)
            self.fresh = gr.Button("New conversation", size="sm", elem_id="fresh", min_width=130, scale=0)

    def _openings(self) -> None:
        with gr.Row(elem_id="openings", visible=False) as self.openings:
            self.opening_buttons = [gr.Button("", size="sm", elem_classes="opening") for _ in range(OPENINGS)]

    def _box(self) -> None:
        with gr.Row(elem_id="customer-box"):
            self.box = gr.Textbox(
                label="Your message",
                show_label=False,
                placeholder="Type your question …",
                lines=1,
                max_lines=6,
                scale=1,
                autofocus=True,
                container=False,
                elem_id="message",
            )
            self.send_button = gr.Button("Send", variant="primary", scale=0, min_width=88, elem_id="send")
            self.stop_button = gr.Button("Stop", variant="stop", scale=0, min_width=88, visible=False, elem_id="stop")

    def _listen(self) -> None:
        out = [
            self.conversation, self.chat, *self.thumbs.filled, self.openings, self.notice, self.box, self.send_button,
            self.stop_button,
        ]  # fmt: skip
        asked = {"outputs": out, "concurrency_id": "replies", **QUIET}
        runs = [
            gr.on([self.box.submit, self.send_button.click], self.send, [self.box, self.conversation], **asked),
            self.person.click(self.ask_for_person, [self.conversation], **asked),
            *(button.click(self.send, [button, self.conversation], **asked) for button in self.opening_buttons),
        ]
        for button, handler in ((self.stop_button, self.stopped), (self.fresh, self.begin)):
            stop_first(button.click, runs)
            button.click(handler, [self.conversation], out, queue=False, **QUIET)
        self.thumbs.listen(self.chat, self.conversation)

    @spoken
    async def load(self, request: gr.Request) -> Update:
        """Title, openings, and the conversation that this browser was in."""
        person = require(request, "customer")
        conversation = await self.chats.latest(person)
        turns = await self.chats.settled(person, conversation)
        company, openings = await asyncio.to_thread(self._words)
        buttons = [gr.update(value=text, visible=bool(text)) for text in openings]
        return {
            self.title: _title(company),
            **dict(zip(self.opening_buttons, buttons, strict=True)),
            **await self._idle(conversation, turns),
        }

    def _words(self) -> tuple[str, list[str]]:
        """The company's name as the prompt has it, and first messages from different scenarios."""
        agent, company = self.desk.settings.agent, "Customer service"
        # A broken prompt or scenario is no reason to greet nobody: the first question will say so.
        with contextlib.suppress(BotError):
            variable = self.desk.prompts.get(agent.prompt).prompt.variables.get("company") if agent.prompt else None
            company = variable.default if variable and variable.default else company
        firsts = [found.openings[0] for _, found in readable_scenarios(self.desk.settings.workspace / "prompts")]
        texts = list(dict.fromkeys(firsts[i * len(firsts) // OPENINGS] for i in range(OPENINGS))) if firsts else []
        return company, [*texts, *[""] * (OPENINGS - len(texts))]

    async def ask_for_person(self, request: gr.Request, conversation: str) -> AsyncGenerator[Update, None]:
        """Asks for one in words: the agent knows from its articles how the help desk is reached."""
        require(request, "customer")
        async for update in self.send(request, PERSON, conversation):
            yield update

    async def send(self, request: gr.Request, text: str, conversation: str) -> AsyncGenerator[Update, None]:
        """Answer `text`. Where that fails, the text is back in the box."""
        person = require(request, "customer")
        try:
            check_text(text)
            conversation = await self.chats.current(person, conversation)
            turns = await self.chats.turns(person, conversation)
            shown = bubbles(turns)
            yield self._busy(conversation, [*shown, *under_way(text, "")])
            turn = Turn((*history(turns), Message("user", text)), self.desk.settings.agent, conversation=conversation)
            async for reply in self.chats.ask(turn, Answer()):
                yield {self.chat: [*shown, *under_way(text, reply)]}
            yield await self._idle(conversation, await self.chats.turns(person, conversation))
        except Exception as error:
            told = in_words(error)
            yield {
                **await self._idle(conversation, await self.chats.shown(person, conversation)),
                self.notice: notice(told, "bad"),
                self.box: text,
            }

    @spoken
    async def stopped(self, request: gr.Request, conversation: str) -> Update:
        """What the journal kept of the reply that was stopped."""
        person = require(request, "customer")
        conversation = await self.chats.current(person, conversation)
        return await self._idle(conversation, await self.chats.settled(person, conversation))

    @spoken
    async def begin(self, request: gr.Request, conversation: str) -> Update:
        person = require(request, "customer")
        await self.chats.settled(person, conversation)
        return {**await self._idle(await self.chats.begin(person), []), self.box: ""}

    def _busy(self, conversation: str, shown: list[dict[str, Any]]) -> Update:
        return {
            self.conversation: conversation,
            self.chat: shown,
            **self.thumbs.away,
            self.openings: gr.update(visible=False),
            self.notice: "",
            self.box: "",
            self.send_button: gr.update(visible=False),
            self.stop_button: gr.update(visible=True),
        }

    async def _idle(self, conversation: str, turns: Sequence[TurnRecord]) -> Update:
        return {
            self.conversation: conversation,
            self.chat: thumbed(turns, await self.chats.thumbs(turns)),
            self.openings: gr.update(visible=not turns),
            self.notice: "",
            self.send_button: gr.update(visible=True),
            self.stop_button: gr.update(visible=False),
        }

    def loaded(self) -> list[Any]:
        """What `load` fills."""
        return [
            self.title, *self.opening_buttons, self.conversation, self.chat, self.openings, self.notice,
            self.send_button, self.stop_button,
        ]  # fmt: skip


def _title(company: str) -> str:
    return (
        f'<div class="brand"><h1>{escape(company)}</h1>'
        '<p><span class="dot" aria-hidden="true"></span>Automated assistant</p></div>'
    )


def build(desk: Desk) -> gr.Blocks:
    """The page over one desk."""
    with gr.Blocks(title="Customer service", analytics_enabled=False, fill_height=True) as blocks:
        page = CustomerPage(desk)
        blocks.load(page.load, None, page.loaded(), **QUIET)
    return open_queue(blocks)
