"""The staff's page: Console and Compare for operators, Prompts, Feedback and Proof for leads, Adapters and Workshop
for engineers.

Builds the tabs and fills them on load; a tab's handlers are its own.
"""

from __future__ import annotations

import asyncio
from typing import Any

import gradio as gr

from bot.desk import Desk
from bot.types import PersonRole
from bot.web.auth import require
from bot.web.pages.adapters import Adapters
from bot.web.pages.chat import Chats
from bot.web.pages.compare import Compare
from bot.web.pages.console import Console
from bot.web.pages.feedback import FeedbackTab
from bot.web.pages.handlers import QUIET, Update, open_queue, spoken
from bot.web.pages.html import escape
from bot.web.pages.proof import ProofTab
from bot.web.pages.runs_tab import RunsTab
from bot.web.pages.setup import Parts, Setup
from bot.web.pages.studio.tab import Studio
from bot.web.pages.workshop import WorkshopTab


class StaffPage:
    """The tabs and what happens when one is opened."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        chats = Chats(desk, "console")
        self.head = gr.HTML(_head(""), padding=False, elem_id="staff-head")
        with gr.Tabs(elem_id="staff-tabs") as tabs:
            with gr.Tab("Console", id="console") as console_tab:
                self.console = Console(desk, chats)
            with gr.Tab("Compare", id="compare") as compare_tab:
                self.compare = Compare(desk, chats)
            with gr.Tab("Prompts", id="prompts") as prompts_tab:
                self.studio = Studio(desk)
            with gr.Tab(FeedbackTab.title, id="feedback") as feedback_tab:
                self.feedback = FeedbackTab(desk)
            with gr.Tab("Adapters", id="adapters") as adapters_tab:
                self.adapters = Adapters(desk)
            with gr.Tab(WorkshopTab.title, id="workshop") as workshop_tab:
                self.workshop = WorkshopTab(desk)
            with gr.Tab(ProofTab.title, id="proof") as proof_tab:
                self.proof = ProofTab(desk)
        for tab, setups in (
            (console_tab, [self.console.setup]),
            (compare_tab, list(self.compare.setups.values())),
        ):
            for setup in setups:
                tab.select(self._refresher(setup), setup.controls, setup.filled, **QUIET)
        self.taking: dict[Any, PersonRole] = {
            prompts_tab: "lead", feedback_tab: "lead", adapters_tab: "engineer",
            workshop_tab: WorkshopTab.role, proof_tab: ProofTab.role,
        }  # fmt: skip
        self.studio.keeping.store.render()  # type: ignore[no-untyped-call]
        self.studio.open_on(prompts_tab.select)
        feedback_tab.select(**self.feedback.looking)
        adapters_tab.select(self.adapters.load, None, self.adapters.filled, **QUIET)
        chosen = [self.workshop.recipe, self.workshop.run]
        workshop_tab.select(self.workshop.load, chosen, self.workshop.filled, **QUIET)
        proof_tab.select(self.proof.load, [self.proof.domain, self.proof.run], self.proof.filled, **QUIET)
        tabs.select(self.switched, None, [watching.timer for watching in self.watching], **QUIET)

    @property
    def watching(self) -> list[RunsTab]:
        """Tabs that look again by themselves."""
        return [self.workshop, self.proof]

    @spoken
    async def switched(self, request: gr.Request, event: gr.SelectData) -> Update:
        """They do while they are shown to somebody who may look."""
        person = require(request, "operator")
        return {tab.timer: gr.Timer(active=event.value == tab.title and person.may(tab.role)) for tab in self.watching}

    def _refresher(self, setup: Setup) -> Any:
        """A handler that offers what was saved or trained since, and keeps what is chosen."""

        @spoken
        async def refresh(request: gr.Request, *values: Any) -> Update:
            require(request, "operator")
            parts = await asyncio.to_thread(Parts.of, self.desk)
            return dict(setup.refresh(parts, values))

        return refresh

    @property
    def filled(self) -> list[Any]:
        """What `load` fills."""
        return [self.head, *self.taking]

    @spoken
    async def load(self, request: gr.Request) -> Update:
        """Who is here, on which engine. Tabs that would refuse them are greyed out and cannot be opened."""
        person = require(request, "operator")
        base = await asyncio.to_thread(lambda: self.desk.base.name)
        you = f"you are {person.name}, {person.role}" if person.name else f"you are {person.role}"
        head = _head(f"{base} · {self.desk.engine.name} engine · {you}", signed_in=bool(person.name))
        closed = {tab: gr.Tab(interactive=False) for tab, role in self.taking.items() if not person.may(role)}
        return {self.head: head, **closed}


def _head(about: str, signed_in: bool = False) -> str:
    leave = '<form method="post" action="/logout"><button class="sign-out">Sign out</button></form>' if signed_in else ""
    return (
        '<div class="brand staff-brand"><h1>Switchboard</h1>'
        f'<p>{escape(about)}</p><a href="/" class="to-customers">Customers\' page</a>{leave}</div>'
    )


def build(desk: Desk) -> gr.Blocks:
    """The page over one desk."""
    with gr.Blocks(title="Switchboard desk", analytics_enabled=False, fill_width=True) as blocks:
        page = StaffPage(desk)
        blocks.load(page.load, None, page.filled, **QUIET)
        blocks.load(page.console.load, None, page.console.loaded(), **QUIET).then(**page.console.describing)
        blocks.load(page.compare.load, None, page.compare.loaded(), **QUIET)
    return open_queue(blocks)
