"""The leads' tab with the replies that customers turned down: correct one, and make it an example or a case.

What becomes of it is a new version without a label or a line in `cases.yaml`: customers meet what they met before. Text that
a lead typed is kept while another entry is looked at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any

import gradio as gr

from bot.desk import Desk
from bot.errors import BotError, Conflict, InvalidMessage
from bot.journal.feedback import STATES, Entry, State
from bot.prompts.library import PRODUCTION
from bot.prompts.lint import Finding
from bot.prompts.schema import plain_lines
from bot.publishing.corrections import (
    Target,
    Wanted,
    advice,
    corrected,
    drafted,
    make_case,
    make_example,
    proposed,
)  # fmt: skip
from bot.web.auth import Person, require
from bot.web.pages.feedback_html import NONE, entry_html, entry_label, look_again_html, replaced_text, target_html
from bot.web.pages.handlers import QUIET, Update, in_words, signature, spoken
from bot.web.pages.html import notice

ALL = "all"
MOST = 100
"""Entries that the list shows."""
LIKENESS = 0.75
"""A likeness of sentence embeddings at which a reply says the same, usually."""
KEPT = "Personal data is replaced before anything is saved. Names of people are not recognised: take them out."

Opened = dict[str, Any]
"""The entry in the form: its turn and state, the prompt's latest version that was shown, the texts that the lead was told of
before they are saved, and what was typed for other entries."""


class FeedbackTab:
    """The tab's components and their handlers."""

    title = "Feedback"

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.opened = gr.State({})
        with gr.Row(equal_height=False):
            with gr.Column(scale=3, min_width=280, elem_classes="panel"):
                self._queue()
            with gr.Column(scale=5, min_width=320, elem_classes="panel"):
                self._looked_at()
            with gr.Column(scale=5, min_width=320, elem_classes="panel"):
                with gr.Column(visible=False, elem_classes="panel", elem_id="feedback-form") as self.form:
                    self._form()
                self.notice = gr.HTML("", padding=False, elem_classes="slot", elem_id="feedback-notice")
        self._listen()

    def _queue(self) -> None:
        gr.HTML('<h2 class="panel-title">Turned down by customers</h2>', padding=False)
        self.state = gr.Radio(_choices({}), value="open", label="State", show_label=False, elem_id="feedback-state")
        self.entries = gr.Radio([], label="Newest first", visible=False, elem_id="feedback-entries", elem_classes="stacked")
        self.none = gr.HTML(NONE, padding=False, elem_classes="slot")

    def _looked_at(self) -> None:
        self.entry = gr.HTML("", padding=False, elem_id="feedback-entry")
        with gr.Row(elem_classes="tight"):
            self.dismiss_button = gr.Button("Dismiss", size="sm", visible=False, scale=0, elem_id="feedback-dismiss")
            self.reopen_button = gr.Button("Open again", size="sm", visible=False, scale=0, elem_id="feedback-reopen")

    def _form(self) -> None:
        gr.HTML('<h2 class="panel-title">What should have been said</h2>', padding=False)
        self.customer = gr.Textbox(label="Customer", lines=2, max_lines=8, elem_id="feedback-customer")
        self.agent = gr.Textbox(label="Reply, corrected", lines=4, max_lines=14, elem_id="feedback-agent")
        gr.HTML(f'<p class="description">{KEPT}</p>', padding=False)
        self.replaced = gr.HTML("", padding=False, elem_classes="slot", elem_id="feedback-replaced")
        self.prompt = gr.Dropdown([], label="For the prompt", elem_id="feedback-prompt")
        with gr.Tabs():
            with gr.Tab("An example"):
                self.target = gr.HTML("", padding=False)
                self.note = gr.Textbox(label="Note", lines=1, max_lines=3, elem_id="feedback-note")
                self.example_button = gr.Button("Make this an example", variant="primary", elem_id="make-example")
            with gr.Tab("A case"):
                self.name = gr.Textbox(
                    label="Name", placeholder="its message, where this is empty", max_lines=1, max_length=100,
                    elem_id="case-name",
                )  # fmt: skip
                with gr.Row(elem_classes="tight"):
                    self.contains = gr.Textbox(label="Must contain, one a line", lines=2, elem_id="case-contains")
                    self.lacks = gr.Textbox(label="Must not contain, one a line", lines=2, elem_id="case-lacks")
                self.similar = gr.Number(
                    LIKENESS, label="Likeness to the corrected reply, at least; 0 does not ask for it", minimum=0, maximum=1,
                    step=0.05, elem_id="case-similar",
                )  # fmt: skip
                self.case_button = gr.Button("Make this a case", variant="primary", elem_id="make-case")

    @property
    def filled(self) -> list[Any]:
        """What most handlers fill."""
        return [
            self.opened, self.state, self.entries, self.none, self.entry, self.dismiss_button, self.reopen_button,
            self.notice, self.form, self.customer, self.agent, self.replaced, self.prompt, self.target, self.note, self.name,
            self.contains, self.lacks,
        ]  # fmt: skip

    @property
    def typed(self) -> list[Any]:
        """The texts that a lead types."""
        return [self.customer, self.agent, self.note, self.name, self.contains, self.lacks]

    @property
    def looking(self) -> dict[str, Any]:
        """A listener's arguments that bring the list up to date, and open its first entry where none is open."""
        return {"fn": self.load, "inputs": [self.state, self.opened], "outputs": self.filled, **QUIET}

    def _listen(self) -> None:
        texts = [self.customer, self.agent]
        self.state.input(**self.looking)
        # Of several quick choices the last one counts.
        last: dict[str, Any] = {"trigger_mode": "always_last", **QUIET}
        self.entries.input(self.pick, [self.entries, self.opened, *self.typed], self.filled, **last)
        self.prompt.input(self.pick_prompt, [self.prompt, self.opened], [self.opened, self.target], **last)
        given = [self.state, self.opened, self.prompt, *texts]
        asked = [self.name, self.similar, self.contains, self.lacks]
        self.example_button.click(self.example, [*given, self.note], self.filled, **QUIET)
        self.case_button.click(self.case, [*given, *asked], self.filled, **QUIET)
        moved = [self.state, self.opened, *self.typed]
        self.dismiss_button.click(self.dismiss, moved, self.filled, **QUIET)
        self.reopen_button.click(self.reopen, moved, self.filled, **QUIET)

    @spoken
    async def load(self, request: gr.Request, state: str, opened: Opened) -> Update:
        require(request, "lead")
        return await asyncio.to_thread(self._load, state, opened)

    def _load(self, state: str, opened: Opened) -> Update:
        shown, entries = self._list(state, opened.get("turn"))
        if opened or not entries:
            return shown
        return {**shown, **self._open(entries[0].turn.id, {})}

    def _list(self, state: str, chosen: int | None) -> tuple[Update, list[Entry]]:
        """The list, in which `chosen` is marked where it is there, else the first."""
        wanted: State | None = next((known for known in STATES if known == state), None)
        entries = self.desk.journal.feedback.queue(wanted, MOST)
        ids = [entry.turn.id for entry in entries]
        value = chosen if chosen in ids else ids[0] if ids and chosen is None else None
        choices = [(entry_label(entry), entry.turn.id) for entry in entries]
        return {
            self.state: gr.update(choices=_choices(self.desk.journal.feedback.counts())),
            self.entries: gr.update(choices=choices, value=value, visible=bool(ids)),
            self.none: "" if ids else NONE,
        }, entries

    @spoken
    async def pick(self, request: gr.Request, turn: int, opened: Opened, *texts: str) -> Update:
        """Open an entry; what was typed for the one before is kept."""
        require(request, "lead")
        typed = dict(opened.get("typed", {}))
        if opened:
            typed[opened["turn"]] = texts
        return await self._in_words(asyncio.to_thread(self._open, turn, typed), opened)

    def _open(self, turn: int, typed: dict[int, tuple[str, ...]]) -> Update:
        """One entry beside the form; the form only while it is open."""
        entry = self.desk.journal.feedback.entry(turn)
        was, is_open, names = proposed(entry), entry.feedback.state == "open", self.desk.prompts.names()
        answered = entry.turn.prompt.partition("@")[0] or self.desk.settings.agent.prompt.partition("@")[0]
        name = answered if answered in names else next(iter(names), None)
        note = f"Example from feedback on turn {turn}: {entry.feedback.reason or 'no reason given'}"
        texts = typed.get(turn, (was.customer, was.agent, note, "", "", ""))
        return {
            **self._target(name, {"turn": turn, "state": entry.feedback.state, "typed": typed}),
            self.entry: entry_html(entry),
            self.dismiss_button: gr.update(visible=is_open),
            self.reopen_button: gr.update(visible=not is_open),
            self.notice: "",
            self.form: gr.update(visible=is_open),
            **dict(zip(self.typed, texts, strict=True)),
            self.replaced: notice(replaced_text(was.replaced)),
            self.prompt: gr.update(choices=names, value=name),
        }

    @spoken
    async def pick_prompt(self, request: gr.Request, name: str, opened: Opened) -> Update:
        require(request, "lead")
        return await asyncio.to_thread(self._target, name, opened)

    def _target(self, name: str | None, opened: Opened) -> Update:
        """The prompt's latest version, which an example is put on top of."""
        if name is None:
            return {self.opened: opened, self.target: notice("There is no prompt yet.")}
        newest = self.desk.prompts.versions(name)[-1]
        try:
            shown = target_html(self.desk.prompts.get(f"{name}@{newest}"), self.desk.journal.labels(name).get(PRODUCTION))
        except (BotError, OSError) as error:
            # Another prompt can be chosen, and a case needs no version.
            shown = notice(in_words(error), "bad")
        return {self.opened: {**opened, "latest": newest}, self.target: shown}

    @spoken
    async def example(
        self, request: gr.Request, state: str, opened: Opened, name: str, customer: str, agent: str, note: str
    ) -> Update:
        """The correction as an example of the prompt's next version. Whatever goes wrong, the form stays as it is."""
        person = require(request, "lead")
        return await self._in_words(self._example(person, state, opened, name, (customer, agent), note), opened, name)

    async def _example(
        self, person: Person, state: str, opened: Opened, name: str, texts: tuple[str, str], note: str
    ) -> Update:
        entry, target = await asyncio.to_thread(self._entry, opened, name), Target(name, opened["latest"])
        made, prompts, who = corrected(entry, *texts, note or ""), self.desk.prompts, signature(person)
        draft = await asyncio.to_thread(drafted, prompts, entry, made, target, who)
        # Runs where no chat waits for it, as in the studio.
        findings = await asyncio.to_thread(asyncio.run, advice(prompts, name, draft))
        typed = {self.customer: texts[0], self.agent: texts[1], self.note: note or ""}
        said = {self.customer: made.customer, self.agent: made.agent, self.note: made.note}
        if first := self._look_first(opened, typed, said, made.replaced, findings):
            return first
        saved = await asyncio.to_thread(make_example, prompts, self.desk.journal, entry, target, draft, who)
        told = f"{saved.ref} holds the example now, a draft without a label: what customers meet has not changed."
        return await asyncio.to_thread(self._handled, state, opened, told)

    @spoken
    async def case(
        self,
        request: gr.Request,
        state: str,
        opened: Opened,
        name: str,
        customer: str,
        agent: str,
        title: str,
        similar: float | None,
        contains: str,
        lacks: str,
    ) -> Update:
        """The correction as a case of the prompt. Whatever goes wrong, the form stays as it is."""
        person = require(request, "lead")
        wanted = Wanted(title or "", similar or 0.0, _lines(contains), _lines(lacks))
        return await self._in_words(self._case(person, state, opened, name, (customer, agent), wanted), opened, name)

    async def _case(
        self, person: Person, state: str, opened: Opened, name: str, texts: tuple[str, str], wanted: Wanted
    ) -> Update:
        entry = await asyncio.to_thread(self._entry, opened, name)
        made, desk, who = corrected(entry, *texts, wanted=wanted), self.desk, signature(person)
        typed = {self.customer: texts[0], self.agent: texts[1], **self._asked(wanted)}
        said = {self.customer: made.customer, self.agent: made.agent, **self._asked(made.wanted)}
        if first := self._look_first(opened, typed, said, made.replaced, []):
            return first
        case = await asyncio.to_thread(make_case, desk.prompts, desk.journal, entry, name, made, who)
        told = f"“{case.title}” is a case of {name} now. The tab Prompts runs it, and so does bot prompts test."
        return await asyncio.to_thread(self._handled, state, opened, told)

    def _entry(self, opened: Opened, name: str | None) -> Entry:
        if not opened or not name:
            raise InvalidMessage("No entry or no prompt is chosen.", "Choose one.")
        return self.desk.journal.feedback.entry(opened["turn"])

    def _asked(self, wanted: Wanted) -> dict[Any, str]:
        return {
            self.name: wanted.name, self.contains: "\n".join(wanted.contains), self.lacks: "\n".join(wanted.lacks)
        }  # fmt: skip

    def _look_first(
        self,
        opened: Opened,
        typed: dict[Any, str],
        said: dict[Any, str],
        replaced: Mapping[str, int],
        findings: Sequence[Finding],
    ) -> Update | None:
        """What was replaced in what the lead typed, and what is likely wrong, told before it is saved; None where there is
        nothing that was not told yet."""
        told = tuple(said.values())
        changed = told != tuple(plain_lines(text).strip() for text in typed.values())
        if not (changed or findings) or opened.get("told") == told:
            return None
        return {
            self.opened: {**opened, "told": told},
            **said,
            self.notice: look_again_html(replaced if changed else {}, findings),
        }

    @spoken
    async def dismiss(self, request: gr.Request, state: str, opened: Opened, *texts: str) -> Update:
        person = require(request, "lead")
        return await self._in_words(asyncio.to_thread(self._move, person, state, opened, "dismissed", texts), opened)

    @spoken
    async def reopen(self, request: gr.Request, state: str, opened: Opened, *texts: str) -> Update:
        """What it became stays where it is."""
        person = require(request, "lead")
        return await self._in_words(asyncio.to_thread(self._move, person, state, opened, "open", texts), opened)

    def _move(self, person: Person, state: str, opened: Opened, after: State, texts: tuple[str, ...]) -> Update:
        """From the state in which the lead saw it. What was typed stays, for it may be opened again."""
        became = self.desk.journal.feedback.entry(opened["turn"]).feedback.became
        self.desk.journal.feedback.move(opened["turn"], opened["state"], after, signature(person), became)
        return self._handled(state, opened, f"The entry is {after} now.", texts)

    def _handled(self, state: str, opened: Opened, told: str, texts: tuple[str, ...] = ()) -> Update:
        """The list anew, and the entry as it is now, with `texts` in its form where they are kept."""
        kept = {turn: typed for turn, typed in opened.get("typed", {}).items() if turn != opened["turn"]}
        if texts:
            kept[opened["turn"]] = texts
        shown = self._open(opened["turn"], kept)
        return {**shown, **self._list(state, opened["turn"])[0], self.notice: notice(told, "good")}

    async def _in_words(self, work: Awaitable[Update], opened: Opened, name: str = "") -> Update:
        try:
            return await work
        except Conflict as error:
            return await asyncio.to_thread(self._conflict, opened, name, error)
        except Exception as error:
            return {self.notice: notice(in_words(error), "bad")}

    def _conflict(self, opened: Opened, name: str, error: Conflict) -> Update:
        """Where another version was saved meanwhile, the next press goes on top of that one."""
        latest = self.desk.prompts.versions(name)[-1] if name else 0
        if latest <= opened.get("latest", 0):
            return {self.notice: notice(str(error), "bad")}
        theirs = self.desk.prompts.get(f"{name}@{latest}").prompt
        told = (
            f"{error.what} By {theirs.author}: {theirs.note} Your texts are as they were; "
            f"pressing again makes version {latest + 1}, on top of it."
        )
        return {**self._target(name, opened), self.notice: notice(told, "bad")}


def _choices(counts: dict[State, int]) -> list[tuple[str, str]]:
    known = [(f"{state.capitalize()} ({counts.get(state, 0)})", str(state)) for state in STATES]
    return [*known, ("All", ALL)]


def _lines(text: str | None) -> list[str]:
    return [line.strip() for line in (text or "").splitlines() if line.strip()]
