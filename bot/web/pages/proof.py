"""The leads' tab where set-ups are measured against one another: start an evaluation, watch it, open its report."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, get_args

import gradio as gr

from bot.desk import Desk
from bot.errors import DataError
from bot.evaluation.arms import KNOWLEDGE, Way
from bot.evaluation.options import make_options
from bot.evaluation.workshop import domains, start
from bot.runs.folder import EVALUATION, RunFolder
from bot.runs.watching import Seen
from bot.web.auth import require
from bot.web.pages.handlers import Update, spoken
from bot.web.pages.proof_html import NONE, run_details, run_head, run_list
from bot.web.pages.runs_tab import Parts, RunsTab

WAYS: tuple[str, ...] = get_args(Way)
SHOWN = {"With and without": ("", KNOWLEDGE), "With alone": (KNOWLEDGE,), "Without alone": ("",)}
"""Whether arms are shown passages → the ends of their names."""


class ProofTab(RunsTab):
    """The tab's components and their handlers."""

    title, name, kind, role = "Proof", "proof", EVALUATION, "lead"

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        with gr.Row(equal_height=False):
            with gr.Column(scale=3, min_width=280, elem_classes="panel"):
                self._form()
            with gr.Column(scale=9, min_width=320, elem_classes="panel"):
                self._run_controls(NONE)
                self._details()
        self._listen([self.domain, self.ways, self.knowledge, self.turns, self.curve])

    def _form(self) -> None:
        gr.HTML('<h2 class="panel-title">Prompt, adapter, or both?</h2>', padding=False)
        self.domain = gr.Dropdown([], label="Scenarios of", elem_id="proof-domain")
        self.ways = gr.CheckboxGroup(list(WAYS), value=list(WAYS), label="Arms", elem_id="proof-ways", elem_classes="framed")
        self.knowledge = gr.Radio(list(SHOWN), value=next(iter(SHOWN)), label="Knowledge", elem_id="proof-knowledge")
        self.turns = gr.Number(0, label="Turns at most; 0 takes all", precision=0, minimum=0, elem_id="proof-turns")
        self.curve = gr.Checkbox(False, label="With the learning curve (trains adapters anew)", elem_id="proof-curve")
        self._start_controls()

    @property
    def filled(self) -> list[Any]:
        """What `load` fills."""
        return [self.domain, *self.watched]

    @spoken
    async def load(self, request: gr.Request, domain: str | None, run: str | None) -> Update:
        """Domains and runs as they lie on disk now; what is chosen stays chosen. All of it is sent."""
        require(request, self.role)
        known = await asyncio.to_thread(domains, self.desk)
        chosen = domain if domain in known else known[0] if known else None
        return {
            self.domain: gr.update(choices=known, value=chosen),
            **await asyncio.to_thread(self._look, run, {}),
        }

    def _begin_run(self, *asked: Any) -> None:
        domain, ways, knowledge, turns, curve = asked
        options = make_options(
            scenario=domain or "", arms=patterns(ways or [], knowledge), limit=int(turns or 0), curve=bool(curve)
        )
        start(self.workshop, options, self.desk)

    def _table(self, folders: list[RunFolder], seen: list[Seen], chosen: str | None) -> str:
        return run_list(folders, seen, chosen)

    def _shows(self, folder: RunFolder, seen: Seen) -> Parts:
        return {
            "head": (self.head, run_head(folder, seen)),
            "details": (self.details, run_details(folder.run, seen)),
        }


def patterns(ways: Sequence[str], shown: str) -> list[str]:
    """The arms' names; none where all are chosen. Raises DataError where no arm is left."""
    kept, ends = [way for way in WAYS if way in ways], SHOWN.get(shown, ("",))
    if not kept:
        raise DataError("No arm is chosen.", "Tick at least one.")
    return [] if len(kept) == len(WAYS) and len(ends) == 2 else [way + end for end in ends for way in kept]
