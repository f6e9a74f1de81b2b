"""A tab where runs of one kind are started, watched, cancelled and gone on with: what all such tabs do.

While the tab is shown it looks again by itself, and sends what changed; what somebody chose stays chosen. A tab says what
is its own: how a run begins and what is shown of the chosen one.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import gradio as gr

from bot.desk import Desk
from bot.errors import BotError
from bot.runs.folder import Kind, RunFolder
from bot.runs.watching import Seen
from bot.types import PersonRole, content_hash
from bot.web.auth import require
from bot.web.pages.handlers import QUIET, Update, spoken
from bot.web.pages.html import notice

SECONDS = 2.0
"""Between two looks."""
ARRIVAL = 120.0
"""Seconds that a run may take to begin before the page stops waiting for it."""
Shown = dict[str, str]
"""Hashes of what a browser was sent, by what it is."""
Parts = dict[str, tuple[Any, Any]]
"""Component and value, by what it is."""


class RunsTab(ABC):
    """`name` begins the ids of the tab's elements."""

    title: ClassVar[str]
    name: ClassVar[str]
    kind: ClassVar[Kind]
    role: ClassVar[PersonRole]

    def __init__(self, desk: Desk) -> None:
        self.desk, self.workshop = desk, desk.workshop
        self.shown = gr.State({})
        self.timer = gr.Timer(SECONDS, active=False)

    def _start_controls(self) -> None:
        self.start_button = gr.Button("Start", variant="primary", elem_id=f"start-{self.name}")
        self.notice = gr.HTML("", padding=False, elem_classes="slot", elem_id=f"{self.name}-notice")

    def _run_controls(self, none: str) -> None:
        self.list = gr.HTML(none, padding=False, elem_id=f"{self.name}s")
        with gr.Row(elem_classes="label-row run-row"):
            self.run = gr.Dropdown([], label="Run", elem_id=self.name, scale=1, min_width=200)
            self.cancel_button = gr.Button(
                "Cancel", interactive=False, scale=0, min_width=100, size="md", elem_id=f"cancel-{self.name}"
            )
            self.resume_button = gr.Button(
                "Resume", interactive=False, scale=0, min_width=100, size="md", elem_id=f"resume-{self.name}"
            )
        self.head = gr.HTML("", padding=False, elem_classes="slot", elem_id=f"{self.name}-head")

    def _details(self) -> None:
        self.details = gr.HTML("", padding=False, elem_classes="slot run-details", elem_id=f"{self.name}-details")

    @property
    def watched(self) -> list[Any]:
        """What a look fills."""
        return [
            self.list, self.run, self.cancel_button, self.resume_button, self.head, *self._plots(), self.details, self.shown,
        ]  # fmt: skip

    def _listen(self, asked: list[Any]) -> None:
        """`asked` are the components that `start` reads."""
        known = [self.run, self.shown]
        self.timer.tick(self.look, known, self.watched, trigger_mode="once", **QUIET)
        self.run.input(self.look, known, self.watched, **QUIET)
        done = [self.notice, self.start_button, *self.watched]
        for button, act, given in (
            (self.start_button, self.start, [*known, *asked]),
            (self.resume_button, self.resume, known),
        ):
            begun = button.click(self.starting, None, [self.notice, self.start_button, self.resume_button], **QUIET)
            begun.then(act, given, done, **QUIET)
        self.cancel_button.click(self.cancel, known, [self.notice, *self.watched], **QUIET)

    # What a tab says of its own.

    def _plots(self) -> list[Any]:
        return []

    @abstractmethod
    def _begin_run(self, *asked: Any) -> None:
        """Begin a run with what stands on the page."""

    @abstractmethod
    def _table(self, folders: list[RunFolder], seen: list[Seen], chosen: str | None) -> str: ...

    @abstractmethod
    def _shows(self, folder: RunFolder, seen: Seen) -> Parts:
        """The chosen run, apart from its buttons."""

    # Handlers.

    @spoken
    async def look(self, request: gr.Request, run: str | None, shown: Shown) -> Update:
        require(request, self.role)
        return await asyncio.to_thread(self._look, run, shown)

    @spoken
    async def starting(self, request: gr.Request) -> Update:
        require(request, self.role)
        closed = gr.update(interactive=False)
        return {
            self.notice: notice("The run's process begins: a few seconds."),
            self.start_button: closed,
            self.resume_button: closed,
        }

    @spoken
    async def start(self, request: gr.Request, run: str | None, shown: Shown, *asked: Any) -> Update:
        require(request, self.role)
        return await self._begin(lambda: self._begin_run(*asked), run, shown)

    @spoken
    async def resume(self, request: gr.Request, run: str | None, shown: Shown) -> Update:
        require(request, self.role)
        return await self._begin(lambda: self.workshop.resume(self.kind, run or ""), run, shown)

    @spoken
    async def cancel(self, request: gr.Request, run: str | None, shown: Shown) -> Update:
        require(request, self.role)
        try:
            await asyncio.to_thread(self.workshop.cancel, self.kind, run or "")
            said = notice(f"{run} is asked to stop.")
        except BotError as error:
            said = notice(str(error), "bad")
        return {self.notice: said, **await asyncio.to_thread(self._look, run, shown)}

    async def _begin(self, act: Callable[[], None], run: str | None, shown: Shown) -> Update:
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

    def _look(self, run: str | None, shown: Shown) -> Update:
        """What differs from what was `shown`."""
        folders = self.workshop.runs(self.kind)
        seen = self.workshop.watch(self.kind, folders)
        ids = [folder.run.id for folder in folders]
        chosen = run if run in ids else ids[0] if ids else None
        parts: Parts = {
            "list": (self.list, self._table(folders, seen, chosen)),
            "run": (self.run, gr.update(choices=ids, value=chosen)),
        }
        number = ids.index(chosen) if chosen else None
        if number is not None:
            parts |= {**self._buttons(folders[number]), **self._shows(folders[number], seen[number])}
        hashes = {key: content_hash(str(value)) for key, (_, value) in parts.items()}
        changed = {part: value for key, (part, value) in parts.items() if shown.get(key) != hashes[key]}
        if number is not None:
            changed |= self._drawn(changed, seen[number])
        return {**changed, self.shown: hashes} if changed else {self.shown: gr.skip()}

    def _drawn(self, changed: Update, seen: Seen) -> Update:
        """Of the plots in `changed`, what a browser is sent."""
        return {}

    def _buttons(self, folder: RunFolder) -> Parts:
        able = self.workshop.is_resumable(self.kind, folder) and self.workshop.is_idle
        return {
            "cancel": (self.cancel_button, gr.update(interactive=folder.run.state == "running")),
            "resume": (self.resume_button, gr.update(interactive=able)),
        }
