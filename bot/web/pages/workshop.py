"""The engineers' tab where adapters are trained: start a run, watch its curves, cancel it, go on with it.

While the tab is shown it looks again by itself, and sends what changed; what somebody chose stays chosen.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import gradio as gr

from bot.desk import Desk
from bot.errors import BotError
from bot.runs.folder import TRAINING, RunFolder
from bot.runs.watching import Seen
from bot.training.workshop import Recipes, split_overrides
from bot.types import content_hash
from bot.web.auth import require
from bot.web.pages.handlers import QUIET, spoken
from bot.web.pages.html import notice
from bot.web.pages.workshop_html import NONE, loss_table, recipe_html, run_details, run_head, run_list, speed_table

TITLE = "Workshop"
SECONDS = 2.0
"""Between two looks."""
ARRIVAL = 120.0
"""Seconds that a run may take to begin before the page stops waiting for it."""
NO_RECIPE = "No adapter of this workspace has a recipe yet. One lies in adapters/<name>/recipe.yaml."
COLORS = {"training": "#0d9488", "held-out": "#d97706"}
Update = dict[Any, Any]
Shown = dict[str, str]
"""Hashes of what a browser was sent, by what it is."""


class WorkshopTab:
    """The tab's components and their handlers."""

    def __init__(self, desk: Desk) -> None:
        self.workshop = desk.workshop
        self.recipes = Recipes(desk.settings.workspace)
        self.shown = gr.State({})
        self.timer = gr.Timer(SECONDS, active=False)
        with gr.Row(equal_height=False):
            with gr.Column(scale=3, min_width=280, elem_classes="panel"):
                self._starting()
            with gr.Column(scale=9, min_width=320, elem_classes="panel"):
                self._watching()
        self._listen()

    def _starting(self) -> None:
        gr.HTML('<h2 class="panel-title">Train an adapter</h2>', padding=False)
        self.recipe = gr.Dropdown([], label="Recipe of", elem_id="recipe-of")
        self.overrides = gr.Textbox(
            label="Overrides, for this run alone", placeholder="epochs=2 rank=16", lines=1, max_lines=1, elem_id="overrides"
        )
        self.start_button = gr.Button("Start", variant="primary", elem_id="start-run")
        self.notice = gr.HTML("", padding=False, elem_classes="slot", elem_id="run-notice")
        with gr.Accordion("The recipe as it stands", open=True):
            self.text = gr.HTML("", padding=False, elem_id="recipe-text")

    def _watching(self) -> None:
        self.list = gr.HTML(NONE, padding=False, elem_id="runs")
        with gr.Row(elem_classes="label-row"):
            self.run = gr.Dropdown([], label="Run", elem_id="run", scale=1, min_width=200)
            self.cancel_button = gr.Button(
                "Cancel", interactive=False, scale=0, min_width=100, size="md", elem_id="cancel-run"
            )
            self.resume_button = gr.Button(
                "Resume", interactive=False, scale=0, min_width=100, size="md", elem_id="resume-run"
            )
        self.head = gr.HTML("", padding=False, elem_classes="slot", elem_id="run-head")
        self.losses = gr.LinePlot(
            x="step", y="loss", color="curve", x_title="Step", y_title="Loss, nats a token", color_title=" ",
            color_map=COLORS, height=280, visible=False, elem_id="losses", buttons=[],
        )  # fmt: skip
        self.speeds = gr.LinePlot(
            x="step", y="tokens/s", x_title="Step", y_title="Tokens/s", height=130, visible=False, elem_id="speeds",
            buttons=[],
        )  # fmt: skip
        self.details = gr.HTML("", padding=False, elem_classes="slot", elem_id="run-details")

    @property
    def watched(self) -> list[Any]:
        """What a look fills."""
        return [
            self.list, self.run, self.cancel_button, self.resume_button, self.head, self.losses, self.speeds, self.details,
            self.shown,
        ]  # fmt: skip

    @property
    def filled(self) -> list[Any]:
        """What `load` fills."""
        return [self.recipe, self.text, *self.watched]

    def _listen(self) -> None:
        known = [self.run, self.shown]
        self.timer.tick(self.look, known, self.watched, trigger_mode="once", **QUIET)
        self.run.input(self.look, known, self.watched, **QUIET)
        self.recipe.input(self.show_recipe, [self.recipe], [self.text], **QUIET)
        done = [self.notice, self.start_button, *self.watched]
        for button, act, given in (
            (self.start_button, self.start, [self.recipe, self.overrides, *known]),
            (self.resume_button, self.resume, known),
        ):
            begun = button.click(self.starting, None, [self.notice, self.start_button, self.resume_button], **QUIET)
            begun.then(act, given, done, **QUIET)
        self.cancel_button.click(self.cancel, known, [self.notice, *self.watched], **QUIET)

    @spoken
    async def load(self, request: gr.Request, recipe: str | None, run: str | None) -> Update:
        """Recipes and runs as they lie on disk now; what is chosen stays chosen. All of it is sent."""
        require(request, "engineer")
        names = await asyncio.to_thread(self.recipes.names)
        name = recipe if recipe in names else names[0] if names else None
        return {
            self.recipe: gr.update(choices=names, value=name),
            self.text: await asyncio.to_thread(self._recipe_html, name),
            **await asyncio.to_thread(self._look, run, {}),
        }

    @spoken
    async def switched(self, request: gr.Request, event: gr.SelectData) -> Any:
        """It looks again by itself while it is the tab that is shown."""
        require(request, "engineer")
        return gr.Timer(active=event.value == TITLE)

    @spoken
    async def show_recipe(self, request: gr.Request, name: str) -> str:
        require(request, "engineer")
        return await asyncio.to_thread(self._recipe_html, name)

    @spoken
    async def look(self, request: gr.Request, run: str | None, shown: Shown) -> Update:
        require(request, "engineer")
        return await asyncio.to_thread(self._look, run, shown)

    @spoken
    async def starting(self, request: gr.Request) -> Update:
        require(request, "engineer")
        closed = gr.update(interactive=False)
        return {
            self.notice: notice("The run's process begins: a few seconds."),
            self.start_button: closed,
            self.resume_button: closed,
        }

    @spoken
    async def start(self, request: gr.Request, name: str, overrides: str, run: str | None, shown: Shown) -> Update:
        require(request, "engineer")

        def begin() -> None:
            self.recipes.start(self.workshop, name or "", split_overrides(overrides))

        return await self._begin(begin, run, shown)

    @spoken
    async def resume(self, request: gr.Request, run: str | None, shown: Shown) -> Update:
        require(request, "engineer")
        return await self._begin(lambda: self.workshop.resume(TRAINING, run or ""), run, shown)

    @spoken
    async def cancel(self, request: gr.Request, run: str | None, shown: Shown) -> Update:
        require(request, "engineer")
        try:
            await asyncio.to_thread(self.workshop.cancel, TRAINING, run or "")
            said = notice(f"{run} is asked to stop.")
        except BotError as error:
            said = notice(str(error), "bad")
        return {self.notice: said, **await asyncio.to_thread(self._look, run, shown)}

    async def _begin(self, act: Any, run: str | None, shown: Shown) -> Update:
        """Start or resume, then wait until the run is there, or its process has ended with a reason."""
        try:
            await asyncio.to_thread(act)
            folder = await self._arrival()
            run, said = folder.run.id, notice(f"{folder.run.id} has begun.", "good")
        except BotError as error:
            said = notice(str(error), "bad")
        # The buttons were closed meanwhile, and the chosen run may be another one.
        kept = {key: value for key, value in shown.items() if key not in ("run", "resume")}
        look = await asyncio.to_thread(self._look, run, kept)
        return {self.notice: said, self.start_button: gr.update(interactive=True), **look}

    async def _arrival(self) -> RunFolder:
        end = time.monotonic() + ARRIVAL
        while time.monotonic() < end:
            if folder := await asyncio.to_thread(self.workshop.arrived):
                return folder
            await asyncio.sleep(0.2)
        raise BotError("The run's process works, but its run is not there yet.", "It appears in the table once it is.")

    def _recipe_html(self, name: str | None) -> str:
        if not name:
            return notice(NO_RECIPE)
        try:
            return recipe_html(self.recipes.text(name))
        except BotError as error:
            return notice(str(error), "bad")

    def _look(self, run: str | None, shown: Shown) -> Update:
        """What differs from what was `shown`."""
        folders = self.workshop.runs(TRAINING)
        seen = self.workshop.watch(TRAINING, folders)
        ids = [folder.run.id for folder in folders]
        chosen = run if run in ids else ids[0] if ids else None
        parts: dict[str, tuple[Any, Any]] = {
            "list": (self.list, run_list(folders, seen, chosen)),
            "run": (self.run, gr.update(choices=ids, value=chosen)),
        }
        if chosen:
            number = ids.index(chosen)
            parts |= self._chosen(folders[number], seen[number])
        hashes = {key: content_hash(str(value)) for key, (_, value) in parts.items()}
        changed = {part: value for key, (part, value) in parts.items() if shown.get(key) != hashes[key]}
        for plot, frame in ((self.losses, loss_table), (self.speeds, speed_table)):
            if plot in changed and chosen:
                changed[plot] = gr.update(value=frame(seen[number]), visible=bool(seen[number].loss))
        return {**changed, self.shown: hashes} if changed else {self.shown: gr.skip()}

    def _chosen(self, folder: RunFolder, seen: Seen) -> dict[str, tuple[Any, Any]]:
        """Component and value, by what it is; of a plot, what its table is made from."""
        run = folder.run
        able = self.workshop.is_resumable(TRAINING, folder) and self.workshop.is_idle
        return {
            "cancel": (self.cancel_button, gr.update(interactive=run.state == "running")),
            "resume": (self.resume_button, gr.update(interactive=able)),
            "head": (self.head, run_head(run, seen)),
            "losses": (self.losses, (run.id, seen.loss, seen.held_out)),
            "speeds": (self.speeds, (run.id, seen.speed)),
            "details": (self.details, run_details(run, seen)),
        }
