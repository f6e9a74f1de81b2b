"""The leads' tab: versions of a prompt, an editor with a live preview, and labels.

A version never changes: saving writes the next one. Text that a lead typed is never dropped without a way back.
"""

from __future__ import annotations

import asyncio
from typing import Any

import gradio as gr

from bot.desk import Desk
from bot.errors import BotError, Conflict, InvalidMessage
from bot.prompts.library import PromptVersion
from bot.prompts.scenarios import get_scenario, scenario_names
from bot.types import Passage
from bot.web.auth import Person, require
from bot.web.pages.handlers import QUIET, in_words, spoken
from bot.web.pages.html import escape, notice, table
from bot.web.pages.prompt_form import (
    EXAMPLES,
    Fields,
    both_html,
    changes_html,
    check_remarks,
    edited,
    preview,
    preview_html,
    shown_fields,
    variables_html,
)  # fmt: skip

LABELS = ["production", "staging"]
SAVE = "Save as new version"
Update = dict[Any, Any]
Opened = dict[str, Any]
"""What the form was filled from: name, version, and the latest version and labels at that time."""


class Prompts:
    """The tab's components and their handlers."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.opened = gr.State({})
        self.aside = gr.State(None)
        with gr.Row():
            with gr.Column(scale=3, min_width=260, elem_classes="panel"):
                self._versions()
            with gr.Column(scale=6, min_width=360):
                self._editor()
            with gr.Column(scale=5, min_width=340, elem_classes="panel"):
                self._views()
        self._listen()

    def _versions(self) -> None:
        self.name = gr.Dropdown([], label="Prompt", elem_id="prompt-name")
        self.version = gr.Radio([], label="Versions, newest first", elem_id="prompt-versions", elem_classes="stacked")
        self.about = gr.HTML("", padding=False)
        with gr.Row(elem_classes="label-row"):
            self.label = gr.Dropdown(
                LABELS, value="staging", label="Label", allow_custom_value=True, min_width=110, elem_id="label"
            )
            self.put = gr.Button("Put on version", min_width=110, size="md", elem_id="put-label")
        self.put_notice = gr.HTML("", padding=False, elem_classes="slot")

    def _editor(self) -> None:
        self.variables = gr.HTML("", padding=False)
        self.role = gr.Textbox(label="Role", lines=6, max_lines=16, elem_id="role")
        with gr.Row(elem_classes="tight"):
            self.found = gr.Textbox(label="Knowledge, where passages were found", lines=3, max_lines=8, elem_id="found")
            self.nothing = gr.Textbox(label="Knowledge, where nothing was found", lines=3, max_lines=8, elem_id="nothing")
        self.template = gr.Textbox(label="Template around the customer's message", lines=1, max_lines=6, elem_id="template")
        self._examples()
        with gr.Row(elem_classes="tight"):
            self.note = gr.Textbox(label="Note: what changes, and why (required)", scale=3, elem_id="note")
            self.author = gr.Textbox(label="Author", min_width=120, scale=1, elem_id="author")
        self.notice = gr.HTML("", padding=False, elem_classes="slot", elem_id="save-notice")
        with gr.Row(elem_classes="tight"):
            self.save_button = gr.Button(SAVE, variant="primary", elem_id="save")
            self.back_button = gr.Button("Bring my edits back", visible=False, elem_id="bring-back")

    def _examples(self) -> None:
        self.customers: list[gr.Textbox] = []
        self.agents: list[gr.Textbox] = []
        self.pairs: list[gr.Row] = []
        with gr.Accordion("Examples", open=True, elem_id="examples"):
            for number in range(1, EXAMPLES + 1):
                with gr.Row(visible=False, elem_classes="tight") as pair:
                    self.customers.append(gr.Textbox(label=f"Example {number}, customer", lines=2, max_lines=6))
                    self.agents.append(gr.Textbox(label=f"Example {number}, agent", lines=2, max_lines=6))
                self.pairs.append(pair)
            self.more = gr.Button("Add an example", size="sm", elem_id="add-example")

    def _views(self) -> None:
        with gr.Tabs():
            with gr.Tab("Preview"):
                self.question = gr.Textbox(label="Sample question", lines=1, max_lines=3, elem_id="sample")
                self.preview = gr.HTML("", padding=False, elem_id="preview")
            with gr.Tab("Changes"):
                self.changes = gr.HTML("", padding=False, elem_id="changes")

    @property
    def _fields(self) -> list[Any]:
        """The form, in the order that Fields.read takes."""
        return [self.role, self.found, self.nothing, self.template, *self.customers, *self.agents]

    def _listen(self) -> None:
        form = self.filled
        around = [self.opened, self.aside]
        given = [self.opened, self.author, self.note, *self._fields]
        for run in (
            self.name.input(self.pick_name, [self.name, *around, *self._fields], form, **QUIET),
            self.version.input(self.pick_version, [self.name, self.version, *around, *self._fields], form, **QUIET),
            self.back_button.click(self.bring_back, [self.aside], form, **QUIET),
            self.save_button.click(self.save, given, form, **QUIET),
        ):
            run.then(**self.looking)
        self.more.click(self.add, self._fields, self.pairs, **QUIET)
        self.put.click(self.put_label, [self.opened, self.label], form, **QUIET)
        # Typing, and leaving a box, for what was pasted.
        seen = [event for field in (*self._fields, self.question) for event in (field.input, field.blur)]
        gr.on(seen, trigger_mode="always_last", **self.looking)

    @property
    def looking(self) -> dict[str, Any]:
        """A listener's arguments that bring preview and changes up to date."""
        given = [self.opened, self.question, *self._fields]
        return {"fn": self.look, "inputs": given, "outputs": [self.preview, self.changes], **QUIET}

    @property
    def filled(self) -> list[Any]:
        """What `load` and most handlers fill."""
        return [
            self.opened, self.aside, self.name, self.version, self.about, self.label, self.put_notice, self.variables,
            *self._fields, *self.pairs, self.note, self.author, self.notice, self.save_button, self.back_button,
        ]  # fmt: skip

    @spoken
    async def load(self, request: gr.Request) -> Update:
        require(request, "lead")
        return await asyncio.to_thread(self._first)

    def _first(self) -> Update:
        names = self.desk.prompts.names()
        root = self.desk.settings.workspace / "prompts"
        scenarios = scenario_names(root)
        question = get_scenario(root, scenarios[0]).openings[0] if scenarios else "How can I reach you?"
        wanted = self.desk.settings.agent.prompt.partition("@")[0]
        name = wanted if wanted in names else next(iter(names), None)
        if name is None:
            return {self.about: notice("There is no prompt yet. bot init shows how a workspace looks.")}
        shown = self._open(name, self.desk.prompts.versions(name)[-1])
        return {**shown, self.name: gr.update(choices=names, value=name), self.question: question}

    def _open(self, name: str, version: int) -> Update:
        """One version in the form."""
        known, labels = self.desk.prompts.versions(name), self.desk.journal.labels(name)
        found = self.desk.prompts.get(f"{name}@{version}")
        opened: Opened = {"name": name, "version": version, "latest": known[-1], "labels": labels}
        choices = [(" · ".join([f"Version {n}", *[la for la, v in labels.items() if v == n]]), n) for n in reversed(known)]
        return {
            self.opened: opened,
            self.version: gr.update(choices=choices, value=version),
            self.about: _about(found),
            self.put_notice: "",
            self.variables: variables_html(found.prompt),
            **self._fill(shown_fields(found.prompt)),
            self.note: "",
            self.author: found.prompt.author,
            self.notice: "",
            self.save_button: SAVE,
        }

    def _fill(self, fields: Fields) -> Update:
        shown = [gr.update(visible=number < len(fields.examples)) for number in range(EXAMPLES)]
        return dict(zip([*self._fields, *self.pairs], [*fields.values(), *shown], strict=True))

    @spoken
    async def pick_name(self, request: gr.Request, name: str, opened: Opened, aside: Any, *values: str) -> Update:
        require(request, "lead")
        versions = await asyncio.to_thread(self.desk.prompts.versions, name)
        return await asyncio.to_thread(self._switch, name, versions[-1], opened, aside, Fields.read(values))

    @spoken
    async def pick_version(
        self, request: gr.Request, name: str, version: int, opened: Opened, aside: Any, *values: str
    ) -> Update:
        require(request, "lead")
        return await asyncio.to_thread(self._switch, name, version, opened, aside, Fields.read(values))

    def _switch(self, name: str, version: int, opened: Opened, aside: Any, fields: Fields) -> Update:
        """Open another version; edits that are not saved are put aside, not lost."""
        shown = self._open(name, version)
        # A form that is empty throughout is one that the page has not filled yet.
        if opened and any(fields.values()) and fields != shown_fields(self._made_from(opened).prompt):
            aside = (opened, fields)
            shown[self.notice] = notice(f"Your edits of {opened['name']}@{opened['version']} were put aside.")
        return {**shown, self.aside: aside, self.back_button: gr.update(visible=aside is not None)}

    def _made_from(self, opened: Opened) -> PromptVersion:
        if not opened:
            raise InvalidMessage("No version is open.", "Reload the page and choose one.")
        return self.desk.prompts.get(f"{opened['name']}@{opened['version']}")

    @spoken
    async def bring_back(self, request: gr.Request, aside: tuple[Opened, Fields] | None) -> Update:
        require(request, "lead")
        if aside is None:
            return {self.aside: None}
        opened, fields = aside
        shown = await asyncio.to_thread(self._open, opened["name"], opened["version"])
        kept = {self.aside: None, self.back_button: gr.update(visible=False), self.name: opened["name"]}
        return {**shown, **self._fill(fields), **kept}

    @spoken
    async def add(self, request: gr.Request, *values: str) -> list[Any]:
        """One more row for an example."""
        require(request, "lead")
        rows = len(Fields.read(values).examples) + 1
        return [gr.update(visible=True) if number < rows else gr.skip() for number in range(EXAMPLES)]

    @spoken
    async def look(self, request: gr.Request, opened: Opened, question: str, *values: str) -> tuple[str, str]:
        """The messages as sent, and what changed."""
        require(request, "lead")
        question = (question or "").strip()
        if not opened:
            return "", ""
        parent, fields = (await asyncio.to_thread(self._made_from, opened)).prompt, Fields.read(values)
        changes = changes_html(parent, fields, opened["version"])
        try:
            prompt = edited(parent, fields, parent.author, parent.note)
            examples = await self.desk.selector.select(prompt, question or "…", self.desk.engine.count)
            messages = preview(prompt, examples, question or "…", await self._passages(question))
            return preview_html(messages, await asyncio.to_thread(self.desk.engine.count, messages)), changes
        except Exception as error:
            return notice(in_words(error), "bad"), changes

    async def _passages(self, question: str | None) -> tuple[Passage, ...] | None:
        """As the customers' agent would find them."""
        collection = self.desk.settings.agent.knowledge
        if not collection or not question:
            return None
        return await self.desk.knowledge.search(question, collection, self.desk.settings.passages)

    async def save(self, request: gr.Request, opened: Opened, author: str, note: str, *values: str) -> Update:
        """The form as the next version. Whatever goes wrong, the form stays as it is."""
        require(request, "lead")
        fields = Fields.read(values)
        try:
            return await asyncio.to_thread(self._save, opened, fields, author, note)
        except Conflict as error:
            return await asyncio.to_thread(self._conflict, opened, fields, error)
        except Exception as error:
            return {self.notice: notice(in_words(error), "bad")}

    def _save(self, opened: Opened, fields: Fields, author: str, note: str) -> Update:
        check_remarks(author, note)
        prompt = edited(self._made_from(opened).prompt, fields, author, note)
        saved = self.desk.prompts.save(opened["name"], prompt, opened["latest"])
        if saved.version <= opened["latest"]:
            return {self.notice: notice(f"Nothing to save: these are the texts of {saved.ref}.")}
        told = f"{saved.ref} is saved. Try it in the console; put a label on it when it is to be used."
        return {**self._open(saved.name, saved.version), self.notice: notice(told, "good")}

    def _conflict(self, opened: Opened, fields: Fields, error: BotError) -> Update:
        """Both texts; the next save goes on top of what was just shown."""
        latest = self.desk.prompts.versions(opened["name"])[-1]
        theirs = self.desk.prompts.get(f"{opened['name']}@{latest}").prompt
        told = f"{error} By {theirs.author}: {theirs.note}"
        return {
            self.opened: {**opened, "latest": latest},
            self.notice: notice(told, "bad") + both_html(theirs, latest, fields),
            self.save_button: f"Save mine on top of version {latest}",
        }

    @spoken
    async def put_label(self, request: gr.Request, opened: Opened, label: str) -> Update:
        """Point a label at the open version, unless somebody moved it meanwhile."""
        person = require(request, "lead")
        return await asyncio.to_thread(self._put_label, opened, label, person)

    def _put_label(self, opened: Opened, label: str, person: Person) -> Update:
        from bot.refs import check_name

        found, name = self._made_from(opened), check_name("label", label or "")
        expected = opened["labels"].get(name)
        self.desk.journal.put_label(found.name, name, found.version, found.prompt.hash, person.who, expected)
        labels = self.desk.journal.labels(found.name)
        moved = f", before on version {expected}" if expected else ""
        shown = self._open(found.name, found.version)
        return {
            self.opened: {**opened, "labels": labels},
            self.version: shown[self.version],
            self.put_notice: notice(f"{name} is on version {found.version} now{moved}.", "good"),
        }


def _about(found: PromptVersion) -> str:
    prompt = found.prompt
    decoding = ", ".join(f"{k} {v}" for k, v in prompt.decoding.model_dump(exclude_none=True).items()) or "defaults"
    rows = [
        ("Technique", escape(prompt.technique)),
        ("Date", f"{prompt.date:%Y-%m-%d}"),
        ("Author", escape(prompt.author)),
        ("Decoding", escape(decoding)),
        ("Hash", f"<code>{prompt.hash[:12]}</code>"),
    ]
    return f'<p class="description">{escape(prompt.note)}</p>{table(rows)}'
