"""The console's mark: what was measured best for the chosen scenario, and a button that takes it."""

from __future__ import annotations

from typing import Any

import gradio as gr

from bot.desk import Desk
from bot.errors import NotFound
from bot.evaluation.domain import adapters_of
from bot.evaluation.report.view import agent_text
from bot.evaluation.report.words import date
from bot.evaluation.results import Report
from bot.evaluation.shelf import newest, recommended
from bot.prompts.scenarios import Scenario, get_scenario
from bot.types import AgentSpec
from bot.web.pages.handlers import Update
from bot.web.pages.html import escape, state_chip, state_of
from bot.web.reports import address


class Winner:
    """The mark and its button. Reads the newest report of the scenario's domain each time."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.mark = gr.HTML("", padding=False, elem_classes="slot", elem_id="measured")
        self.take = gr.Button("Take it", size="sm", visible=False, elem_id="take-measured")

    @property
    def filled(self) -> list[Any]:
        return [self.mark, self.take]

    def shown(self, scenario: Scenario | None) -> Update:
        """Nothing where nothing was measured."""
        report = self._report(scenario)
        arm = recommended(report) if report else None
        return {self.mark: mark(report) if report else "", self.take: gr.update(visible=arm is not None)}

    def agent(self, name: str) -> AgentSpec:
        """The measured agent, as pinned. Raises NotFound where nothing was measured, or where a part of it is gone: another
        version was not measured."""
        report = self._report(get_scenario(self._desk.settings.workspace / "prompts", name) if name else None)
        arm = recommended(report) if report else None
        if arm is None:
            raise NotFound("measured winner of scenario", name, [], "The tab Proof measures one.")
        if arm.adapters:
            self._desk.adapters.mix(arm.adapters)
        if arm.prompt:
            self._desk.prompts.get(arm.prompt)
        if arm.knowledge and arm.knowledge not in (known := self._desk.knowledge.collections()):
            raise NotFound("collection", arm.knowledge, known)
        return AgentSpec(arm.adapters, arm.prompt, arm.knowledge)

    def _report(self, scenario: Scenario | None) -> Report | None:
        adapters = adapters_of(scenario) if scenario else []
        return newest(self._desk.settings.var, adapters[0]) if adapters else None


def mark(report: Report) -> str:
    """One line with a link."""
    arm = recommended(report)
    said = (
        f"{state_chip(state_of(arm.adapters, arm.prompt))} measured best: <b>{escape(agent_text(arm))}</b>"
        if arm
        else "Measured, and no set-up stood out"
    )
    link = f'<a href="{escape(address(report.id))}" target="_blank" rel="noopener">see the report</a>'
    return f'<div class="measured">{said}, {escape(date(report.made))}, {link}</div>'
