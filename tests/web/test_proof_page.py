"""The Proof tab, the report's route and the console's mark without a browser."""

from __future__ import annotations

from typing import Any

import gradio as gr
import httpx
import pytest

from bot.desk import Desk
from bot.errors import NotFound
from bot.evaluation.report import write_report
from bot.evaluation.results import Advice, Report
from bot.prompts.scenarios import get_scenario
from bot.runs.folder import EVALUATION, RunFolder, Runs
from bot.web import auth
from bot.web.app import create_app
from bot.web.pages.proof import SHOWN, WAYS, ProofTab, patterns
from bot.web.pages.winner import Winner
from tests.conftest import asked_by
from tests.evaluation.made_up import WINNER, sample_report

BROWSER = asked_by()
NOBODY = 2**22 + 1
"""No process has this number."""
EVIL = "<script>alert(1)</script>"
SCENARIO = """title: Returns
description: Sends it back.
openings: [how do i send it back]
agent: {adapters: "returns*0.7", prompt: support@production, knowledge: ""}
"""


@pytest.fixture
def scenario(desk: Desk) -> str:
    folder = desk.settings.workspace / "prompts" / "scenarios"
    folder.mkdir(exist_ok=True)
    (folder / "sends-back.yaml").write_text(SCENARIO)
    return "sends-back"


@pytest.fixture
async def tab(desk: Desk, scenario: str) -> ProofTab:
    with gr.Blocks():
        return ProofTab(desk)


def add_report(desk: Desk, report: Report | None = None, **values: Any) -> RunFolder:
    folder = Runs(desk.settings.var, EVALUATION).start("returns", "returns", [], NOBODY)
    write_report((report or sample_report()).model_copy(update={"id": folder.run.id}), folder.path)
    folder.change(**{"state": "done", "outcome": sample_report().advice.headline, **values})
    return folder


async def test_it_lists_evaluations_with_their_verdicts_and_reports(tab: ProofTab, desk: Desk) -> None:
    empty = await tab.load(BROWSER, None, None)
    assert "Nothing is measured yet" in empty[tab.list]
    assert "returns" in empty[tab.domain]["choices"]
    folder = add_report(desk)
    found = await tab.load(BROWSER, "returns", None)
    assert f'href="/evaluations/{folder.run.id}"' in found[tab.list]
    assert sample_report().advice.headline in found[tab.head]
    again = await tab.look(BROWSER, folder.run.id, found[tab.shown])
    assert set(again) == {tab.shown}


async def test_no_text_becomes_html(tab: ProofTab, desk: Desk) -> None:
    add_report(desk, state="failed", outcome="", message=EVIL, source=EVIL, options=(EVIL,))
    found = await tab.load(BROWSER, None, None)
    for part in (tab.list, tab.head, tab.details):
        assert "<script" not in found[part]
        assert "&lt;script" in found[part]


async def test_what_cannot_be_started_is_told(tab: ProofTab) -> None:
    for asked, says in (
        (("nope", list(WAYS), "With and without", 0, False), "no scenario"),
        (("returns", [], "With and without", 0, False), "No arm"),
    ):
        found = await tab.start(BROWSER, None, {}, *asked)
        assert says in found[tab.notice]
        assert found[tab.start_button] == gr.update(interactive=True)


async def test_what_was_chosen_becomes_the_commands_words(tab: ProofTab, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[Any] = []
    monkeypatch.setattr(tab.workshop, "start", lambda *given: begun.append(given))
    tab._begin_run("returns", ["adapter", "base"], "With alone", 40, True)
    assert begun == [
        (EVALUATION, "returns", ["--arms", "base+knowledge", "--arms", "adapter+knowledge", "--limit", "40", "--curve"])
    ]
    assert patterns(WAYS, next(iter(SHOWN))) == []


async def test_the_route_gives_finished_reports_alone_to_staff_alone(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    done, running = add_report(desk), add_report(desk, state="cancelled")
    transport = httpx.ASGITransport(app=create_app(desk))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        reply = await client.get(f"/evaluations/{done.run.id}")
        assert reply.status_code == 200
        assert reply.headers["content-type"].startswith("text/html")
        policy = reply.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "sandbox" in policy
        assert "script-src" not in policy
        assert sample_report().advice.headline in reply.text
        for id in (running.run.id, "nothing", "..%2f..%2fsettings.yaml", f"{done.run.id}%2f..", "%00"):
            assert "The arms at a glance" not in (await client.get(f"/evaluations/{id}")).text
        assert (await client.get(f"/evaluations/{running.run.id}")).status_code == 404
        monkeypatch.setattr(auth, "person_of", lambda _: auth.Person("x", "customer"))
        assert (await client.get(f"/evaluations/{done.run.id}")).status_code == 403


async def test_the_console_marks_the_winner_and_takes_it_where_all_of_it_is_there(desk: Desk, scenario: str) -> None:
    with gr.Blocks():
        winner = Winner(desk)
    found = get_scenario(desk.settings.workspace / "prompts", scenario)
    assert winner.shown(found) == {winner.mark: "", winner.take: gr.update(visible=False)}
    with pytest.raises(NotFound, match="measured winner"):
        winner.agent(scenario)
    folder = add_report(desk)
    shown = winner.shown(found)
    assert "support@2 + returns@1 + larkmoor" in shown[winner.mark]
    assert "27 Nov 2026" in shown[winner.mark]
    assert f"/evaluations/{folder.run.id}" in shown[winner.mark]
    assert shown[winner.take] == gr.update(visible=True)
    with pytest.raises(NotFound):
        winner.agent(scenario)
    arms = tuple(
        arm.model_copy(update={"adapters": "", "prompt": "support@1", "knowledge": ""}) if arm.name == WINNER else arm
        for arm in sample_report().arms
    )
    add_report(desk, sample_report(arms=arms))
    assert winner.agent(scenario).prompt == "support@1"
    add_report(desk, sample_report(advice=Advice(arm="", headline="A tie.", reasons=())))
    shown = winner.shown(found)
    assert "no set-up stood out" in shown[winner.mark]
    assert shown[winner.take] == gr.update(visible=False)
    assert winner.shown(None)[winner.mark] == ""
