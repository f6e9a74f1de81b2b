"""The operators' console: try an agent on a scenario, switch its parts on and off, and look into every turn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import gradio as gr

from bot.agent import Answer
from bot.desk import Desk
from bot.errors import BotError, InvalidMessage
from bot.journal.models import TurnRecord
from bot.limits import check_text
from bot.prompts.scenarios import Scenario, get_scenario, readable_scenarios, scenario_names
from bot.types import AgentSpec, Message, Turn
from bot.web.auth import require
from bot.web.pages.bubbles import bubbles, chatbot, under_way
from bot.web.pages.chat import Chats, history
from bot.web.pages.handlers import QUIET, Update, in_words, open_form, spoken, stop_first
from bot.web.pages.html import escape, notice, state_chip, state_of
from bot.web.pages.inspector import EMPTY, command, inspect_turn
from bot.web.pages.setup import Parts, Setup, pointer_update
from bot.web.pages.winner import Winner

OPENINGS = 5
GREETING = '<div class="greeting"><p>Choose a scenario and press one of its openings, or type a message.</p></div>'


class Console:
    """The tab's components and their handlers. `chats` is shared with Compare, which can take its history from here."""

    def __init__(self, desk: Desk, chats: Chats) -> None:
        self.desk, self.chats = desk, chats
        self.conversation = gr.State("")
        with gr.Row(elem_classes="console"):
            with gr.Column(scale=3, min_width=300, elem_classes="panel"):
                self._controls()
            with gr.Column(scale=5, min_width=340):
                self._chat()
            with gr.Column(scale=4, min_width=320, elem_classes="panel"):
                self._inspector()
        self._listen()

    def _controls(self) -> None:
        self.scenario = gr.Dropdown([], label="Scenario", elem_id="scenario")
        self.description = gr.HTML("", padding=False)
        self.winner = Winner(self.desk)
        self.setup = Setup("console")
        self.knowledge, self.collection = knowledge_controls("console")
        with gr.Row(elem_classes="tight"):
            self.seed, self.temperature = sampling_controls("console")
        self.heard = gr.Checkbox(True, label="Earlier turns are sent along", container=False, elem_id="console-heard")
        self.summary = gr.HTML("", padding=False, elem_id="summary")

    def _chat(self) -> None:
        self.chat = chatbot("Trial conversation", "56vh", "console-chat", GREETING)
        with gr.Row(elem_classes="openings"):
            self.openings = [gr.Button("", size="sm", elem_classes="opening", visible=False) for _ in range(OPENINGS)]
        self.notice = gr.HTML("", padding=False, elem_classes="slot")
        self.box, self.send_button, self.stop_button = message_box("console")
        with gr.Row():
            self.fresh = gr.Button("New conversation", size="sm", elem_id="console-fresh", scale=0, min_width=140)

    def _inspector(self) -> None:
        gr.HTML('<h2 class="panel-title">Turn</h2>', padding=False)
        self.turn = gr.Dropdown(
            [], label="Turn to inspect", show_label=False, container=False, elem_id="turn", elem_classes="framed"
        )
        self.inspector = gr.HTML(EMPTY, padding=False, elem_id="inspector")

    @property
    def _values(self) -> list[Any]:
        """Inputs that say what to ask, after the message and the conversation."""
        return [self.knowledge, self.collection, self.seed, self.temperature, self.heard, *self.setup.controls]

    def _listen(self) -> None:
        out = [
            self.conversation, self.chat, self.notice, self.box, self.send_button, self.stop_button, self.turn,
            self.inspector,
        ]  # fmt: skip
        asked: dict[str, Any] = {"outputs": out, "concurrency_id": "replies", **QUIET}
        given = [self.conversation, *self._values]
        runs = [gr.on([self.box.submit, self.send_button.click], self.send, [self.box, *given], **asked)]
        runs += [button.click(self.send, [button, *given], **asked) for button in self.openings]
        for button, handler in ((self.stop_button, self.stopped), (self.fresh, self.begin)):
            stop_first(button.click, runs)
            button.click(handler, [self.conversation], out, queue=False, **QUIET)
        agent = [self.knowledge, self.collection, *self.setup.filled]
        chosen = [self.description, *self.winner.filled, *self.openings, *agent]
        self.scenario.input(self.pick_scenario, [self.scenario], chosen, **QUIET).then(**self.describing)
        self.winner.take.click(self.take_winner, [self.scenario], agent, **QUIET).then(**self.describing)
        self.setup.prompt.input(self.pick_prompt, [self.setup.prompt], [self.setup.pointer], **QUIET).then(**self.describing)
        self.turn.input(self.pick_turn, [self.conversation, self.turn], [self.inspector], **QUIET)
        self.chat.select(self.pick_message, [self.conversation], [self.turn, self.inspector], **QUIET)
        # What a person changes, not what a handler fills in: that would be a burst of events on every load.
        changes = [component.input for component in self._values if not isinstance(component, gr.State)]
        gr.on(changes, trigger_mode="always_last", **self.describing)

    @property
    def describing(self) -> dict[str, Any]:
        """A listener's arguments that bring the summary up to date: one after the other, so that the last one stays."""
        order: dict[str, Any] = {"concurrency_id": "summary", "concurrency_limit": 1}
        return {"fn": self.describe, "inputs": self._values, "outputs": [self.summary], **order, **QUIET}

    def loaded(self) -> list[Any]:
        """What `load` fills."""
        return [
            self.conversation, self.chat, self.notice, self.box, self.send_button, self.stop_button, self.turn,
            self.inspector, self.scenario, self.description, *self.winner.filled, *self.openings, self.knowledge,
            self.collection, *self.setup.filled,
        ]  # fmt: skip

    @spoken
    async def load(self, request: gr.Request) -> Update:
        """Everything that can be chosen, read anew, and the conversation that this browser was in."""
        person = require(request, "operator")
        titles, first = await asyncio.to_thread(self._titles)
        conversation = await self.chats.latest(person)
        turns = await self.chats.settled(person, conversation)
        return {
            self.scenario: gr.update(choices=titles, value=first or None),
            **await asyncio.to_thread(self._scenario, first),
            **self._idle(conversation, turns),
            self.box: "",
        }

    def _titles(self) -> tuple[list[tuple[str, str]], str]:
        """The scenarios to choose from, and the first that can be read."""
        root = self.desk.settings.workspace / "prompts"
        readable = {name: found.title for name, found in readable_scenarios(root)}
        choices = [(readable.get(name, f"{name}: cannot be read"), name) for name in scenario_names(root)]
        return choices, next(iter(readable), "")

    def _scenario(self, name: str) -> Update:
        """Updates that put a scenario's openings and agent on the page; without one, the customers' agent."""
        found: Scenario | None = get_scenario(self.desk.settings.workspace / "prompts", name) if name else None
        openings = (found.openings if found else [])[:OPENINGS]
        agent = found.agent if found else self.desk.settings.agent
        shown = [gr.update(value=text, visible=True) for text in openings]
        return {
            self.description: f'<p class="description">{escape(found.description)}</p>' if found else "",
            **dict(zip(self.openings, [*shown, *[gr.update(visible=False)] * (OPENINGS - len(shown))], strict=True)),
            **self.winner.shown(found),
            **self._agent(agent),
        }

    def _agent(self, agent: AgentSpec) -> Update:
        return {
            **knowledge_updates(self.desk, agent, self.knowledge, self.collection),
            **dict(zip(self.setup.filled, self.setup.fill(Parts.of(self.desk), agent), strict=True)),
        }

    @spoken
    async def pick_scenario(self, request: gr.Request, name: str) -> Update:
        require(request, "operator")
        return await asyncio.to_thread(self._scenario, name)

    @spoken
    async def take_winner(self, request: gr.Request, name: str) -> Update:
        """The set-up that was measured best for this scenario."""
        require(request, "operator")
        return await asyncio.to_thread(lambda: self._agent(self.winner.agent(name)))

    @spoken
    async def pick_prompt(self, request: gr.Request, name: str) -> Any:
        require(request, "operator")
        return await asyncio.to_thread(pointer_update, self.desk, name)

    @spoken
    async def describe(
        self, request: gr.Request, on: bool, collection: str, seed: float, temperature: str, _: bool, *values: Any
    ) -> str:
        """The agent as it stands: mix text and the same in a terminal."""
        require(request, "operator")
        try:
            spec = Setup.spec(values, collection if on and collection else "")
            sampling = {"seed": int(seed or 0), **_sampling(temperature)}
        except BotError as error:
            return notice(str(error), "bad")
        return (
            f'<div class="summary">{state_chip(state_of(spec.adapters, spec.prompt))}'
            f'<code class="mix">{escape(spec.adapters or "no adapter")}</code>'
            f'<pre class="command">{escape(command(spec, "", sampling))}</pre></div>'
        )

    async def send(
        self,
        request: gr.Request,
        text: str,
        conversation: str,
        on: bool,
        collection: str,
        seed: float,
        temperature: str,
        heard: bool,
        *values: Any,
    ) -> AsyncGenerator[Update, None]:
        """Answer `text` with the set-up on the screen. Where that fails, the text is back in the box."""
        person = require(request, "operator")
        try:
            check_text(text)
            spec = Setup.spec(values, collection if on and collection else "")
            conversation = await self.chats.current(person, conversation)
            turns = await self.chats.turns(person, conversation)
            shown = bubbles(turns, staff=True)
            yield self._busy(conversation, [*shown, *under_way(text, "")])
            messages = (*(history(turns) if heard else ()), Message("user", text))
            turn = ask(spec, messages, seed, temperature, conversation)
            async for reply in self.chats.ask(turn, Answer()):
                yield {self.chat: [*shown, *under_way(text, reply)]}
            yield self._idle(conversation, await self.chats.turns(person, conversation))
        except Exception as error:
            told = in_words(error)
            turns = await self.chats.shown(person, conversation)
            yield {**self._idle(conversation, turns), self.notice: notice(told, "bad"), self.box: text}

    @spoken
    async def stopped(self, request: gr.Request, conversation: str) -> Update:
        """What the journal kept of the reply that was stopped."""
        person = require(request, "operator")
        conversation = await self.chats.current(person, conversation)
        return self._idle(conversation, await self.chats.settled(person, conversation))

    @spoken
    async def begin(self, request: gr.Request, conversation: str) -> Update:
        person = require(request, "operator")
        await self.chats.settled(person, conversation)
        return {**self._idle(await self.chats.begin(person), []), self.box: ""}

    @spoken
    async def pick_turn(self, request: gr.Request, conversation: str, turn: int | None) -> str:
        """Only turns of this conversation are shown, whatever the browser asks for."""
        person = require(request, "operator")
        conversation = await self.chats.current(person, conversation)
        found = [t for t in await self.chats.turns(person, conversation) if t.id == turn]
        return inspect_turn(found[0]) if found else EMPTY

    @spoken
    async def pick_message(self, request: gr.Request, event: gr.SelectData, conversation: str) -> Update:
        person = require(request, "operator")
        conversation = await self.chats.current(person, conversation)
        turns = await self.chats.turns(person, conversation)
        place = event.index[0] if isinstance(event.index, (list, tuple)) else event.index
        if not 0 <= place // 2 < len(turns):
            return {self.turn: gr.skip()}
        turn = turns[place // 2]
        return {self.turn: turn.id, self.inspector: inspect_turn(turn)}

    def _busy(self, conversation: str, shown: list[dict[str, Any]]) -> Update:
        return {
            self.conversation: conversation, self.chat: shown, self.notice: "", self.box: "", **open_form(self, False)
        }  # fmt: skip

    def _idle(self, conversation: str, turns: Sequence[TurnRecord]) -> Update:
        choices = [(f"{t.number} · {' '.join(t.question.split())[:60]}", t.id) for t in turns]
        return {
            self.conversation: conversation,
            self.chat: bubbles(turns, staff=True),
            self.notice: "",
            **open_form(self, True),
            self.turn: gr.update(choices=choices, value=turns[-1].id if turns else None),
            self.inspector: inspect_turn(turns[-1]) if turns else EMPTY,
        }


def ask(spec: AgentSpec, messages: tuple[Message, ...], seed: float, temperature: str, conversation: str = "") -> Turn:
    """A turn with the sampling of the page; an empty temperature leaves it to the prompt."""
    return Turn(messages, spec, sampling=_sampling(temperature), seed=int(seed or 0), conversation=conversation)


def _sampling(temperature: str) -> dict[str, object]:
    try:
        return {"temperature": float(temperature.replace(",", "."))} if temperature.strip() else {}
    except ValueError:
        raise InvalidMessage(f"{temperature!r} is no temperature.", "0 to 2, or empty for the prompt's own.") from None


def message_box(name: str) -> tuple[gr.Textbox, gr.Button, gr.Button]:
    """Box, Send and Stop."""
    with gr.Row(elem_classes="message-row"):
        box = gr.Textbox(
            label="Message", show_label=False, placeholder="Type a message …", lines=1, max_lines=6, scale=1,
            container=False, elem_id=f"{name}-message",
        )  # fmt: skip
        send = gr.Button("Send", variant="primary", scale=0, min_width=80, elem_id=f"{name}-send")
        stop = gr.Button("Stop", variant="stop", scale=0, min_width=80, visible=False, elem_id=f"{name}-stop")
    return box, send, stop


def knowledge_controls(name: str) -> tuple[gr.Checkbox, gr.Dropdown]:
    with gr.Row(elem_classes="tight knowledge-row"):
        on = gr.Checkbox(True, label="Knowledge", container=False, min_width=110, elem_id=f"{name}-knowledge")
        collection = gr.Dropdown(
            [],
            label="Collection",
            show_label=False,
            container=False,
            min_width=120,
            elem_id=f"{name}-collection",
            elem_classes="framed",
        )
    return on, collection


def knowledge_updates(desk: Desk, agent: AgentSpec, on: gr.Checkbox, collection: gr.Dropdown) -> Update:
    known = desk.knowledge.collections()
    chosen = agent.knowledge if agent.knowledge in known else next(iter(known), None)
    return {on: bool(agent.knowledge), collection: gr.update(choices=known, value=chosen)}


def sampling_controls(name: str) -> tuple[gr.Number, gr.Textbox]:
    seed = gr.Number(0, label="Seed", precision=0, minimum=0, min_width=90, elem_id=f"{name}-seed")
    # A number box cannot be empty, and empty has a meaning here.
    temperature = gr.Textbox(
        "", label="Temperature", placeholder="as the prompt says", max_lines=1, min_width=90, elem_id=f"{name}-temperature"
    )
    return seed, temperature
