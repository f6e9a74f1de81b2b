"""The boxes of how a prompt answers, and of its variables; the editor puts them into its form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from bot.types import Sampling
from bot.web.auth import require
from bot.web.pages.handlers import QUIET, Update, spoken
from bot.web.pages.studio.answering import ALL, DECODING, FIGURES, SELECT, VARIABLES, Answering, Box, words


class AnsweringBoxes:
    """The components and their handlers."""

    def __init__(self) -> None:
        self._variables()
        with gr.Accordion("How it answers", open=False, elem_id="how-it-answers"):
            self.technique = _choice("technique")
            self.shown = _choice("shown")
            with gr.Row(visible=False, elem_classes="tight") as self.most:
                self.figures = {key: _figure(key) for key in SELECT}
            with gr.Row(elem_classes="tight"):
                self.figures |= {key: _figure(key) for key in DECODING}
            self.stop = gr.Textbox(
                "", label=words()["stop"]["label"], info=words()["stop"]["help"], lines=1, max_lines=8, elem_id="stop-words"
            )
        self.more.click(self.add, self.variables, self.rows, **QUIET)
        self.shown.input(self.limit, [self.shown], [self.most], trigger_mode="always_last", **QUIET)

    def _variables(self) -> None:
        self.rows: list[gr.Column] = []
        self.names: list[gr.Textbox] = []
        self.descriptions: list[gr.Textbox] = []
        self.defaults: list[gr.Textbox] = []
        self.required: list[gr.Checkbox] = []
        self.rest = gr.State(())
        with gr.Accordion("Variables", open=False, elem_id="edit-variables"):
            for number in range(1, VARIABLES + 1):
                told = f"Variable {number}"
                with gr.Column(visible=False) as row:
                    with gr.Row(elem_classes="tight"):
                        self.names.append(gr.Textbox("", label=f"{told}, name", max_lines=1, min_width=120))
                        self.descriptions.append(
                            gr.Textbox("", label=f"{told}, what it stands for", max_lines=4, min_width=170, scale=2)
                        )
                    self.defaults.append(gr.Textbox("", label=f"{told}, unless another is given", max_lines=4))
                    self.required.append(gr.Checkbox(False, label=f"{told} must be given each time", container=False))
                self.rows.append(row)
            self.more = gr.Button("Add a variable", size="sm", elem_id="add-variable")
            gr.HTML('<p class="count-line">Without a name and texts a variable is taken out.</p>', padding=False)

    @property
    def variables(self) -> list[Any]:
        return [*self.names, *self.descriptions, *self.defaults, *self.required]

    @property
    def fields(self) -> list[Any]:
        """In the order that Answering.read takes."""
        figures = (self.figures[key] for key in FIGURES)
        return [self.technique, self.shown, *figures, self.stop, *self.variables, self.rest]

    @property
    def around(self) -> list[Any]:
        """What follows from the fields' values."""
        return [self.most, *self.rows]

    def fitted(self, answering: Answering) -> Update:
        """As many rows as there are variables; limits where not all examples are shown."""
        rows = {row: gr.update(visible=number < len(answering.variables)) for number, row in enumerate(self.rows)}
        return {**rows, self.most: _limits(answering.shown)}

    @spoken
    async def add(self, request: gr.Request, *values: Box) -> list[Any]:
        """One more row for a variable, after the last that holds anything."""
        require(request, "lead")
        return one_more([values[number:-VARIABLES:VARIABLES] for number in range(VARIABLES)])

    @spoken
    async def limit(self, request: gr.Request, shown: str | None) -> Any:
        require(request, "lead")
        return _limits(shown or ALL)


def one_more(rows: Sequence[Sequence[Box]]) -> list[Any]:
    """For each row of boxes, whether it shows now."""
    last = max((number for number, row in enumerate(rows, 1) if any(row)), default=0)
    return [gr.update(visible=True) if number <= last else gr.skip() for number in range(len(rows))]


def _limits(shown: str) -> Any:
    return gr.update(visible=shown != ALL)


def _choice(key: str) -> gr.Radio:
    told = words()[key]
    choices = [(text, value) for value, text in told["choices"].items()]
    return gr.Radio(choices, label=told["label"], info=told["help"], elem_id=f"answers-{key}")


def _figure(key: str) -> gr.Textbox:
    """A default stands in the box as long as nothing else does."""
    told = words()["figures"][key]
    default = str(getattr(Sampling(), key)) if key in DECODING else ""
    return gr.Textbox(
        "", label=told["label"], info=told["help"], placeholder=default, max_lines=1, min_width=200,
        elem_id=f"answers-{key.replace('_', '-')}",
    )  # fmt: skip
