"""Compare: one message to two set-ups at once, with the same seed, history and passages, and a vote."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import gradio as gr

from bot.agent import Answer
from bot.desk import Desk
from bot.errors import InvalidMessage
from bot.journal.models import TurnRecord
from bot.limits import check_text
from bot.types import Message, Passage, Turn
from bot.web.auth import require
from bot.web.pages.chat import Chats, history, stream
from bot.web.pages.console import ask, knowledge_controls, knowledge_updates, message_box, sampling_controls
from bot.web.pages.handlers import QUIET, Update, in_words, open_form, spoken, stop_first
from bot.web.pages.html import differences, escape, figures, lines, notice, sources, state_chip, state_of
from bot.web.pages.inspector import EMPTY, inspect_turn
from bot.web.pages.race import NOTHING, WAITING, race, reply_html
from bot.web.pages.setup import Parts, Setup, pointer_update

SIDES = ("left", "right")
VOTES = {"left": "Left is better", "tie": "Tie", "right": "Right is better"}


class Compare:
    """The tab's components and their handlers. `chats` are the console's."""

    def __init__(self, desk: Desk, chats: Chats) -> None:
        self.desk, self.chats = desk, chats
        self.pair = gr.State(None)
        with gr.Row(elem_classes="shared-row"):
            self.knowledge, self.collection = knowledge_controls("compare")
            self.seed, self.temperature = sampling_controls("compare")
            with gr.Column(scale=2, min_width=240):
                self.with_history = gr.Checkbox(False, label="Go on from the console's conversation", container=False)
                self.marked = gr.Checkbox(True, label="Mark the words that differ", container=False)
        self.setups: dict[str, Setup] = {}
        self.replies: dict[str, gr.HTML] = {}
        self.details: dict[str, gr.HTML] = {}
        with gr.Row(equal_height=False):
            for side in SIDES:
                with gr.Column(min_width=320, elem_classes="panel"):
                    self.setups[side] = Setup(side, side.capitalize())
        self.box, self.send_button, self.stop_button = message_box("compare")
        self.notice = gr.HTML("", padding=False, elem_classes="slot")
        self.question = gr.HTML("", padding=False, elem_classes="slot")
        with gr.Row(equal_height=False):
            for side in SIDES:
                with gr.Column(min_width=320):
                    self.replies[side] = gr.HTML(NOTHING, padding=False, elem_id=f"{side}-reply")
        self._votes()
        with gr.Row(equal_height=False):
            for side in SIDES:
                with gr.Column(min_width=320), gr.Accordion(f"How the {side} reply was made", open=False):
                    self.details[side] = gr.HTML(EMPTY, padding=False, elem_id=f"{side}-inspector")
        self._listen()

    def _votes(self) -> None:
        with gr.Row(elem_classes="votes"):
            self.votes = {
                choice: gr.Button(label, interactive=False, elem_id=f"vote-{choice}", size="md")
                for choice, label in VOTES.items()
            }
        self.voted = gr.HTML("", padding=False, elem_classes="slot", elem_id="voted")

    def _listen(self) -> None:
        out = [
            self.pair, self.notice, self.question, self.box, self.send_button, self.stop_button, self.voted,
            *self.replies.values(), *self.details.values(), *self.votes.values(),
        ]  # fmt: skip
        given = [self.box, self.with_history, self.marked, self.knowledge, self.collection, self.seed, self.temperature]
        controls = [control for setup in self.setups.values() for control in setup.controls]
        run = gr.on(
            [self.box.submit, self.send_button.click], self.send, [*given, *controls], out,
            concurrency_id="replies", **QUIET,
        )  # fmt: skip
        stop_first(self.stop_button.click, [run])
        self.stop_button.click(self.stopped, None, [self.send_button, self.stop_button], queue=False, **QUIET)
        for setup in self.setups.values():
            setup.prompt.input(self.pick_prompt, [setup.prompt], [setup.pointer], **QUIET)
        for choice, button in self.votes.items():
            button.click(self._voter(choice), [self.pair], [self.voted, *self.votes.values()], **QUIET)

    def loaded(self) -> list[Any]:
        """What `load` fills."""
        return [self.knowledge, self.collection, *(part for setup in self.setups.values() for part in setup.filled)]

    @spoken
    async def load(self, request: gr.Request) -> Update:
        """Left the customers' prompt alone, right with its adapters."""
        require(request, "operator")
        agent = self.desk.settings.agent
        parts = await asyncio.to_thread(Parts.of, self.desk)
        updates = await asyncio.to_thread(knowledge_updates, self.desk, agent, self.knowledge, self.collection)
        for side, setup in self.setups.items():
            updates |= zip(setup.filled, setup.fill(parts, agent), strict=True)
            if side == "left":
                updates[setup.switch] = "prompt"
        return updates

    @spoken
    async def pick_prompt(self, request: gr.Request, name: str) -> Any:
        require(request, "operator")
        return await asyncio.to_thread(pointer_update, self.desk, name)

    async def send(
        self,
        request: gr.Request,
        text: str,
        with_history: bool,
        marked: bool,
        on: bool,
        collection: str,
        seed: float,
        temperature: str,
        *values: Any,
    ) -> AsyncGenerator[Update, None]:
        """Both replies as they come. Where that fails, the text is back in the box."""
        person = require(request, "operator")
        try:
            check_text(text)
            half = len(values) // 2
            name = collection if on and collection else ""
            specs = dict(zip(SIDES, (Setup.spec(values[:half], name), Setup.spec(values[half:], name)), strict=True))
            earlier = history(await self.chats.turns(person, await self.chats.latest(person))) if with_history else ()
            yield self._busy(text)
            found = await self.desk.knowledge.search(text, name, self.desk.settings.passages) if name else None
            messages = (*earlier, Message("user", text))
            turns = {side: _on(ask(spec, messages, seed, temperature), found) for side, spec in specs.items()}
            answers = {side: Answer() for side in SIDES}
            streams = {side: stream(self.desk.agent, turn, answers[side]) for side, turn in turns.items()}
            async with aclosing(race(streams)) as replies:
                async for side, reply in replies:
                    yield {self.replies[side]: reply_html(reply)}
            yield await self._finished(answers, marked)
        except Exception as error:
            yield {**open_form(self, True), self.notice: notice(in_words(error), "bad"), self.box: text}

    async def _finished(self, answers: dict[str, Answer], marked: bool) -> Update:
        """Both turns as the journal has them."""
        turns = {s: await asyncio.to_thread(self.desk.journal.turn, a.turn_id) for s, a in answers.items() if a.turn_id}
        whole = len(turns) == len(SIDES) and all(turn.finish_reason != "error" for turn in turns.values())
        texts = {side: lines(turn.reply) for side, turn in turns.items()}
        if marked and whole:
            texts = dict(zip(SIDES, differences(turns["left"].reply, turns["right"].reply), strict=True))
        replies = {
            self.replies[side]: _card(turn, texts[side]) for side, turn in turns.items() if turn.finish_reason != "error"
        }
        return {
            **replies,
            **{self.details[side]: inspect_turn(turn) for side, turn in turns.items()},
            self.pair: (turns["left"].id, turns["right"].id) if whole else None,
            **{button: gr.update(interactive=whole) for button in self.votes.values()},
            **open_form(self, True),
        }

    def _voter(self, choice: str) -> Any:
        """A click handler that stores `choice`."""

        @spoken
        async def vote(request: gr.Request, pair: tuple[int, int] | None) -> Update:
            person = require(request, "operator")
            if pair is None:
                raise InvalidMessage("There is nothing to vote on.", "Send a message first.")
            await asyncio.to_thread(self.desk.journal.vote, pair[0], pair[1], choice, person.who)
            closed = {button: gr.update(interactive=False) for button in self.votes.values()}
            return {self.voted: notice(f"Vote stored: {VOTES[choice].lower()}.", "good"), **closed}

        return vote

    @spoken
    async def stopped(self, request: gr.Request) -> Update:
        require(request, "operator")
        return open_form(self, True)

    def _busy(self, text: str) -> Update:
        return {
            self.pair: None,
            self.notice: "",
            self.voted: "",
            self.box: "",
            self.question: f'<p class="question">{lines(text)}</p>',
            **dict.fromkeys(self.replies.values(), WAITING),
            **dict.fromkeys(self.details.values(), EMPTY),
            **{button: gr.update(interactive=False) for button in self.votes.values()},
            **open_form(self, False),
        }


def _on(turn: Turn, passages: tuple[Passage, ...] | None) -> Turn:
    """The turn on passages that were searched once for both sides."""
    return dataclasses.replace(turn, passages=passages)


def _card(turn: TurnRecord, text: str) -> str:
    state = state_of(turn.adapters, turn.prompt)
    names = [turn.mix] * bool(turn.adapters) + [turn.prompt] * bool(turn.prompt)
    foot = f'<div class="foot">{state_chip(state)} {escape(" · ".join(names))}</div>'
    return (
        f'<div class="reply">{text or "<em>The reply was empty.</em>"}</div>{sources(turn.passages)}'
        f'{foot}<div class="foot">{escape(figures(turn))}</div>'
    )
