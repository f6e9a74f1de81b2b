"""The editor: a version's texts and how it answers in a form, with its variables at hand, and saving it as the next version.

Text that a lead typed is never dropped without a way back: whatever goes wrong with saving, the form stays as it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from bot.desk import Desk
from bot.errors import Conflict
from bot.prompts.version import PromptVersion
from bot.web.auth import Person, require
from bot.web.pages.handlers import QUIET, Update, spoken
from bot.web.pages.html import notice
from bot.web.pages.studio.answering import VARIABLES, Answering, Box
from bot.web.pages.studio.answering_boxes import AnsweringBoxes, one_more
from bot.web.pages.studio.form import (
    EXAMPLES,
    Aside,
    Fields,
    Opened,
    check_remarks,
    draft_of,
    edited,
    fields_before,
    is_edited,
    merged_fields,
    open_version,
    shown_fields,
    versions_before,
)
from bot.web.pages.studio.texts_html import both_html, draft_places, places, variables_html

SAVE = "Save as new version"
INSERT = Path(__file__).with_name("insert.js").read_text(encoding="utf-8")


class Editor:
    """The form's components. `opened` is what the form was filled from, `aside` what was typed before other versions were
    opened over it, `saved_note` a note that has been saved and not yet been cleared."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        # Held by the browser, as the texts are: a server that has opened another version already gets those that belong
        # together. What follows from both is the server's own.
        self.opened = gr.JSON({}, visible="hidden")
        self.aside = gr.State([])
        self.saved_note = gr.State("")
        with gr.Column(elem_id="studio-form"):
            self.variables = gr.HTML("", padding=False, js_on_load=INSERT, elem_id="variables")
            self.role = gr.Textbox("", label="Role", lines=6, max_lines=16, elem_id="role")
            with gr.Row(elem_classes="tight"):
                self.found = gr.Textbox(
                    "", label="Knowledge, where passages were found", lines=3, max_lines=8, elem_id="found"
                )
                self.nothing = gr.Textbox(
                    "", label="Knowledge, where nothing was found", lines=3, max_lines=8, elem_id="nothing"
                )
            self.template = gr.Textbox(
                "", label="Template around the customer's message", lines=1, max_lines=6, elem_id="template"
            )
            self._examples()
        self.answering = AnsweringBoxes()
        with gr.Row(elem_classes="tight"):
            self.note = gr.Textbox(label="Note: what changes, and why (required)", scale=3, elem_id="note")
            self.author = gr.Textbox(label="Author", min_width=120, scale=1, elem_id="author")
        self.notice = gr.HTML("", padding=False, elem_classes="slot", elem_id="save-notice")
        with gr.Row(elem_classes="tight"):
            self.save_button = gr.Button(SAVE, variant="primary", elem_id="save")
            self.back_button = gr.Button("Bring my edits back", visible=False, elem_id="bring-back")
        self.more.click(self.add, [*self.customers, *self.agents], self.pairs, **QUIET)

    def _examples(self) -> None:
        self.customers: list[gr.Textbox] = []
        self.agents: list[gr.Textbox] = []
        self.pairs: list[gr.Row] = []
        self.rest = gr.State(())
        with gr.Accordion("Examples", open=True, elem_id="examples"):
            for number in range(1, EXAMPLES + 1):
                with gr.Row(visible=False, elem_classes="tight") as pair:
                    self.customers.append(gr.Textbox("", label=f"Example {number}, customer", lines=2, max_lines=6))
                    self.agents.append(gr.Textbox("", label=f"Example {number}, agent", lines=2, max_lines=6))
                self.pairs.append(pair)
            self.more = gr.Button("Add an example", size="sm", elem_id="add-example")

    @property
    def fields(self) -> list[Any]:
        """The form, in the order that Fields.read takes."""
        texts = [self.role, self.found, self.nothing, self.template]
        return [*texts, *self.customers, *self.agents, self.rest, *self.answering.fields]

    @property
    def boxes(self) -> list[Any]:
        """The fields that a lead sees."""
        return [field for field in self.fields if not isinstance(field, gr.State)]

    @property
    def filled(self) -> list[Any]:
        return [
            self.opened, self.aside, self.variables, *self.fields, *self.pairs, *self.answering.around, self.note,
            self.saved_note, self.author, self.notice, self.save_button, self.back_button,
        ]  # fmt: skip

    def shown(self, found: PromptVersion, latest: int) -> Update:
        """That version in the form."""
        return {
            **self.saved(found, latest, ""),
            **self._fill(shown_fields(found.prompt)),
            self.note: "",
            self.notice: "",
        }

    def saved(self, found: PromptVersion, latest: int, note: str) -> Update:
        """That version as what stands in the form already. No text is filled: somebody may have typed on meanwhile."""
        return {
            self.opened: Opened(name=found.name, version=found.version, latest=latest),
            self.variables: variables_html(Answering.of(found.prompt).variables),
            self.saved_note: note,
            self.save_button: SAVE,
        }

    @spoken
    async def clear_note(self, request: gr.Request, saved: str, note: str | None) -> Update:
        """A note goes once it is saved, unless another has been begun."""
        require(request, "lead")
        return {self.saved_note: "", self.note: "" if saved and note == saved else gr.skip()}

    def _fill(self, fields: Fields) -> Update:
        shown = [gr.update(visible=number < len(fields.examples)) for number in range(EXAMPLES)]
        filled = dict(zip([*self.fields, *self.pairs], [*fields.values(), *shown], strict=True))
        return {**filled, **self.answering.fitted(fields.answering)}

    def signed(self, person: Person, author: str) -> Update:
        """Who is signed in need not say who wrote a version."""
        return {self.author: gr.update(value=author, visible=not person.name)}

    def put_aside(self, opened: Opened, aside: Sequence[Aside], fields: Fields, note: str) -> Update:
        """Edits that are not saved are kept, each of them, while other versions are looked at."""
        if not self._typed(opened, fields, note):
            return self.kept(aside)
        told = notice(f"Your edits of {opened['name']}@{opened['version']} were put aside.")
        return {**self.kept([*aside, Aside(opened, fields, note)]), self.notice: told}

    def bring_back(self, opened: Opened, aside: Sequence[Aside], fields: Fields, note: str) -> Update:
        """The edits put aside last, over the version they were made from. What stands in the form is put aside as the
        first, so that pressing again goes round through all."""
        *others, back = aside
        if self._typed(opened, fields, note):
            others.insert(0, Aside(opened, fields, note))
        return {**self._fill(back.fields), self.opened: back.opened, self.note: back.note, **self.kept(others)}

    def _typed(self, opened: Opened, fields: Fields, note: str) -> bool:
        return bool(opened) and bool(note.strip() or is_edited(self.desk.prompts, opened, fields))

    def unsaved(self, opened: Opened, aside: Sequence[Aside], fields: Fields, note: str) -> list[Aside]:
        """What was put aside, and what stands in the form as the last."""
        return [*aside, *([Aside(opened, fields, note)] if is_edited(self.desk.prompts, opened, fields) else [])]

    def found_again(self, aside: Sequence[Aside]) -> Update:
        """Edits that the browser kept, to be brought back."""
        told = "What you had not saved was kept in this browser. Bring it back with the button below."
        return {**self.kept(aside), self.notice: notice(told)} if aside else {}

    def kept(self, aside: Sequence[Aside]) -> Update:
        """What is put aside. The button says whose turn it is."""
        if not aside:
            return {self.aside: [], self.back_button: gr.update(visible=False)}
        last = aside[-1].opened
        label = f"Bring my edits of {last['name']}@{last['version']} back"
        return {self.aside: list(aside), self.back_button: gr.update(value=label, visible=True)}

    @staticmethod
    def chips(opened: Opened, fields: Fields) -> Any:
        """The variables as they are named now, to be put into texts."""
        return variables_html(fields.answering.variables) if opened else gr.skip()

    @spoken
    async def add(self, request: gr.Request, *values: Box) -> list[Any]:
        """One more row for an example, after the last that holds anything."""
        require(request, "lead")
        return one_more([values[number::EXAMPLES] for number in range(EXAMPLES)])

    async def draft(self, opened: Opened, fields: Fields) -> PromptVersion:
        """What stands in the form."""
        return await asyncio.to_thread(draft_of, self.desk.prompts, opened, fields)

    def save(self, opened: Opened, fields: Fields, author: str, note: str) -> PromptVersion:
        """The form as the next version. One that is no newer than the latest had these texts before. Raises Conflict where
        another was saved meanwhile."""
        check_remarks(author, note)
        parent = open_version(self.desk.prompts, opened).prompt
        prompt = edited(parent, fields, author, note, versions_before(self.desk.prompts, opened))
        return self.desk.prompts.save(opened["name"], prompt, opened["latest"])

    def conflict(self, opened: Opened, values: Sequence[Box], error: Conflict) -> Update:
        """Both texts; the next save goes on top of what was just shown. What was not touched is theirs then, in the form
        too: of the boxes' `values` only those change that follow from it."""
        library = self.desk.prompts
        latest = library.versions(opened["name"])[-1]
        fields, theirs = Fields.read(values), library.get(f"{opened['name']}@{latest}").prompt
        before = (opened["version"], *opened.get("before", ()))
        mine = merged_fields(fields, fields_before(library, opened), shown_fields(theirs))
        typed = dict(zip(self.fields, values, strict=True))
        filled = self._fill(mine) if mine != fields else {}
        told = f"{error} By {theirs.author}: {theirs.note}{_taken(fields, mine, latest)}"
        return {
            **{box: value for box, value in filled.items() if box not in typed or typed[box] != value},
            self.opened: Opened(name=opened["name"], version=latest, latest=latest, before=before),
            self.variables: variables_html(mine.answering.variables),
            self.notice: notice(told, "bad") + both_html(places(theirs), latest, draft_places(mine)),
            self.save_button: f"Save mine on top of version {latest}",
        }


def _taken(fields: Fields, mine: Fields, latest: int) -> str:
    """What of the form is theirs now, and what of it the form has no boxes for."""
    if mine == fields:
        return ""
    before, after = draft_places(fields), draft_places(mine)
    changed = [place for place in {**before, **after} if before.get(place) != after.get(place)]
    names = ", ".join(dict.fromkeys("Examples" if place.startswith("Example ") else place for place in changed))
    hidden = ", ".join(row.name for row in mine.answering.variables[VARIABLES:])
    more = f" There are no boxes for these variables, which are saved too: {hidden}." if hidden else ""
    return f"\nWhat you left as it was is theirs now, from version {latest}: {names}.{more}"
