"""The engineers' tab where adapters are trained: start a run, watch its curves, cancel it, go on with it."""

from __future__ import annotations

import asyncio
from typing import Any

import gradio as gr

from bot.desk import Desk
from bot.errors import BotError
from bot.runs.folder import TRAINING, RunFolder
from bot.runs.watching import Seen
from bot.training.workshop import Recipes, split_overrides
from bot.web.auth import require
from bot.web.pages.handlers import QUIET, Update, spoken
from bot.web.pages.html import notice
from bot.web.pages.runs_tab import Parts, RunsTab
from bot.web.pages.workshop_html import NONE, loss_table, recipe_html, run_details, run_head, run_list, speed_table

NO_RECIPE = "No adapter of this workspace has a recipe yet. One lies in adapters/<name>/recipe.yaml."
COLORS = {"training": "#0d9488", "held-out": "#d97706"}


class WorkshopTab(RunsTab):
    """The tab's components and their handlers."""

    title, name, kind, role = "Workshop", "run", TRAINING, "engineer"

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self.recipes = Recipes(desk.settings.workspace)
        with gr.Row(equal_height=False):
            with gr.Column(scale=3, min_width=280, elem_classes="panel"):
                self._form()
            with gr.Column(scale=9, min_width=320, elem_classes="panel"):
                self._run_controls(NONE)
                self._curves()
                self._details()
        self._listen([self.recipe, self.overrides])
        self.recipe.input(self.show_recipe, [self.recipe], [self.text], **QUIET)

    def _form(self) -> None:
        gr.HTML('<h2 class="panel-title">Train an adapter</h2>', padding=False)
        self.recipe = gr.Dropdown([], label="Recipe of", elem_id="recipe-of")
        self.overrides = gr.Textbox(
            label="Overrides, for this run alone", placeholder="epochs=2 rank=16", lines=1, max_lines=1, elem_id="overrides"
        )
        self._start_controls()
        with gr.Accordion("The recipe as it stands", open=True):
            self.text = gr.HTML("", padding=False, elem_id="recipe-text")

    def _curves(self) -> None:
        self.losses = gr.LinePlot(
            x="step", y="loss", color="curve", x_title="Step", y_title="Loss, nats a token", color_title=" ",
            color_map=COLORS, height=280, visible=False, elem_id="losses", buttons=[],
        )  # fmt: skip
        self.speeds = gr.LinePlot(
            x="step", y="tokens/s", x_title="Step", y_title="Tokens/s", height=130, visible=False, elem_id="speeds",
            buttons=[],
        )  # fmt: skip

    @property
    def filled(self) -> list[Any]:
        """What `load` fills."""
        return [self.recipe, self.text, *self.watched]

    @spoken
    async def load(self, request: gr.Request, recipe: str | None, run: str | None) -> Update:
        """Recipes and runs as they lie on disk now; what is chosen stays chosen. All of it is sent."""
        require(request, self.role)
        names = await asyncio.to_thread(self.recipes.names)
        name = recipe if recipe in names else names[0] if names else None
        return {
            self.recipe: gr.update(choices=names, value=name),
            self.text: await asyncio.to_thread(self._recipe_html, name),
            **await asyncio.to_thread(self._look, run, {}),
        }

    @spoken
    async def show_recipe(self, request: gr.Request, name: str) -> str:
        require(request, self.role)
        return await asyncio.to_thread(self._recipe_html, name)

    def _recipe_html(self, name: str | None) -> str:
        if not name:
            return notice(NO_RECIPE)
        try:
            return recipe_html(self.recipes.text(name))
        except BotError as error:
            return notice(str(error), "bad")

    def _plots(self) -> list[Any]:
        return [self.losses, self.speeds]

    def _begin_run(self, *asked: Any) -> None:
        name, overrides = asked
        self.recipes.start(self.workshop, name or "", split_overrides(overrides))

    def _table(self, folders: list[RunFolder], seen: list[Seen], chosen: str | None) -> str:
        return run_list(folders, seen, chosen)

    def _shows(self, folder: RunFolder, seen: Seen) -> Parts:
        """Of a plot, what its table is made from."""
        run = folder.run
        return {
            "head": (self.head, run_head(run, seen)),
            "losses": (self.losses, (run.id, seen.loss, seen.held_out)),
            "speeds": (self.speeds, (run.id, seen.speed)),
            "details": (self.details, run_details(run, seen)),
        }

    def _drawn(self, changed: Update, seen: Seen) -> Update:
        tables = ((self.losses, loss_table), (self.speeds, speed_table))
        return {plot: gr.update(value=made(seen), visible=bool(seen.loss)) for plot, made in tables if plot in changed}
