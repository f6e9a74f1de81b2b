"""The customers' thumbs on replies, and the question after one that points down: why? Nobody has to say."""

from __future__ import annotations

import textwrap
from typing import Any

import gradio as gr

from bot.journal.feedback import MAX_REASON
from bot.web.auth import require
from bot.web.pages.chat import Chats
from bot.web.pages.handlers import QUIET, Update, spoken
from bot.web.pages.html import escape, notice

REASONS = ["It is wrong", "It does not answer my question", "Something is missing", "I do not understand it"]
THANKS = "Thank you. Our team reads this."
ASKED = 60
"""Characters of the question that say which reply is meant."""


class Thumbs:
    """The panel that asks, and its handlers."""

    def __init__(self, chats: Chats) -> None:
        self.chats = chats
        self.turn = gr.State(0)
        self.thanks = gr.HTML("", padding=False, elem_classes="slot", elem_id="why-thanks")
        with gr.Column(visible=False, elem_id="why") as self.panel:
            self.asks = gr.HTML("", padding=False)
            self.reason = gr.Radio(REASONS, label="Reason", show_label=False, container=False, elem_id="why-reason")
            with gr.Row(elem_classes="why-row"):
                self.comment = gr.Textbox(
                    label="In your words", show_label=False, placeholder="In your own words, if you like", container=False,
                    lines=1, max_lines=4, max_length=MAX_REASON // 2, scale=1, elem_id="why-comment",
                )  # fmt: skip
                self.send_button = gr.Button("Tell us", size="sm", scale=0, min_width=84, elem_id="why-send")
                self.close = gr.Button("Close", size="sm", scale=0, min_width=72, elem_id="why-close")

    @property
    def filled(self) -> list[Any]:
        """What `away` and `tell` fill."""
        return [self.thanks, self.panel]

    @property
    def away(self) -> Update:
        """The page without the panel and its thanks."""
        return {self.thanks: "", self.panel: gr.update(visible=False)}

    def listen(self, chat: gr.Chatbot, conversation: gr.State) -> None:
        shown = [self.turn, *self.filled, self.asks, self.reason, self.comment]
        # A thumb pressed while another is being kept counts too.
        chat.like(self.thumb, [conversation], shown, trigger_mode="multiple", **QUIET)
        given = [self.turn, self.reason, self.comment]
        gr.on([self.send_button.click, self.comment.submit], self.tell, given, self.filled, **QUIET)
        self.close.click(self.shut, None, [self.panel], **QUIET)

    @spoken
    async def thumb(self, request: gr.Request, event: gr.LikeData, conversation: str) -> Update:
        """Keep it at once; one that points down opens the question."""
        person = require(request, "customer")
        turns = await self.chats.turns(person, conversation)
        place = event.index[0] if isinstance(event.index, (list, tuple)) else event.index
        if not 0 <= place // 2 < len(turns):
            return {self.panel: gr.skip()}
        turn = turns[place // 2]
        # Gradio: True, False, or "" where a thumb is pressed once more, which takes it away.
        down = event.liked is False
        await self.chats.give(person, turn.id, "down" if down else "up" if event.liked else None)
        asks = f"What was wrong with the reply to “{textwrap.shorten(turn.question, ASKED, placeholder=' …')}”?"
        return {
            self.turn: turn.id,
            self.thanks: "",
            self.panel: gr.update(visible=down),
            self.asks: f'<p class="why-asks">{escape(asks)}</p>',
            self.reason: None,
            self.comment: "",
        }

    @spoken
    async def tell(self, request: gr.Request, turn: int, reason: str | None, comment: str | None) -> Update:
        """Keep the reason with the thumb."""
        person = require(request, "customer")
        await self.chats.give(person, turn, "down", reason or "", (comment or "").strip())
        return {**self.away, self.thanks: notice(THANKS, "good")}

    @spoken
    async def shut(self, request: gr.Request) -> Any:
        require(request, "customer")
        return gr.update(visible=False)
