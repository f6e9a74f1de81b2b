"""The workshop's tab without a browser: who may use it, what it sends, what stays chosen, what text may become."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from bot.desk import Desk
from bot.runs.folder import TRAINING, RunFolder, Runs
from bot.web.pages.staff import StaffPage
from bot.web.pages.workshop import WorkshopTab
from tests.conftest import asked_by

BROWSER = asked_by()
NOBODY = 2**22 + 1
"""No process has this number."""
EVIL = "<script>alert(1)</script>"


@pytest.fixture
async def tab(desk: Desk) -> WorkshopTab:
    folder = desk.settings.workspace / "adapters" / "returns"
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(f"prompt: support@1\ntargets: [q_proj]\nintended_use: {EVIL}\n")
    with gr.Blocks():
        return WorkshopTab(desk)


def add_run(desk: Desk, events: Sequence[dict[str, Any]] = (), **values: Any) -> RunFolder:
    folder = Runs(desk.settings.var, TRAINING).start("returns", "adapters/returns/recipe.yaml", [], NOBODY)
    folder.change(**values)
    say(folder.path, *events)
    return folder


def say(path: Path, *events: dict[str, Any]) -> None:
    with (path / "events.jsonl").open("a") as file:
        file.writelines(json.dumps({"at": 0, **event}) + "\n" for event in events)


def training(done: int, held_out: float) -> dict[str, Any]:
    return {"stage": "training", "done": done, "total": 9, "loss": 3.5, "held_out": held_out, "tokens_per_second": 1234.5}


async def test_an_empty_workshop_names_its_recipes(tab: WorkshopTab) -> None:
    found = await tab.load(BROWSER, None, None)
    assert found[tab.recipe] == gr.update(choices=["returns"], value="returns")
    assert "prompt: support@1" in found[tab.text]
    assert "No run yet" in found[tab.list]
    assert found[tab.run] == gr.update(choices=[], value=None)


async def test_a_run_is_told_in_figures_and_curves(tab: WorkshopTab, desk: Desk) -> None:
    steps = [training(1, 4.0), training(2, 4.0), training(2, 3.25), training(3, 3.75)]
    folder = add_run(desk, steps, state="done", outcome="returns@7")
    found = await tab.load(BROWSER, None, None)
    assert found[tab.run]["value"] == folder.run.id
    assert "The desk offers it already" in found[tab.head]
    assert "3.7500, best 3.2500" in found[tab.head]
    for figure in ("3.500", "3.750", "1,234", "returns@7", "training 3/9"):
        assert figure in found[tab.list]
    frame = found[tab.losses]["value"]
    assert frame[frame.curve == "held-out"].dropna()[["step", "loss"]].to_numpy().tolist() == [
        [1, 4.0],
        [2, 3.25],
        [3, 3.75],
    ]
    assert len(frame[frame.curve == "training"].dropna()) == 3
    assert found[tab.speeds]["value"].columns.tolist() == ["step", "tokens/s"]
    assert found[tab.cancel_button] == found[tab.resume_button] == gr.update(interactive=False)


async def test_only_what_changed_is_sent_and_what_is_chosen_stays(tab: WorkshopTab, desk: Desk) -> None:
    old = add_run(desk, [training(1, 4.0)], state="cancelled")
    first = await tab.load(BROWSER, "returns", old.run.id)
    assert first[tab.resume_button] == gr.update(interactive=True)
    again = await tab.look(BROWSER, old.run.id, first[tab.shown])
    assert set(again) == {tab.shown}
    say(old.path, training(2, 3.0))
    more = await tab.look(BROWSER, old.run.id, first[tab.shown])
    assert tab.losses in more
    assert tab.head in more
    assert tab.run not in more
    new = add_run(desk, [training(1, 9.0)], state="cancelled")
    later = await tab.look(BROWSER, old.run.id, more[tab.shown])
    assert later[tab.run] == gr.update(choices=[new.run.id, old.run.id], value=old.run.id)
    assert later[tab.resume_button] == gr.update(interactive=False), "the newer one goes first"
    assert tab.losses not in later
    other = await tab.look(BROWSER, new.run.id, later[tab.shown])
    assert other[tab.losses]["value"].loss.max() == 9.0


async def test_no_text_becomes_html(tab: WorkshopTab, desk: Desk) -> None:
    step = {**training(1, 4.0), "stage": EVIL}
    add_run(desk, [step, {"note": EVIL}], state="failed", message=EVIL, options=(f"seed={EVIL}",), source=EVIL)
    found = await tab.load(BROWSER, "returns", None)
    for part in (tab.list, tab.head, tab.details, tab.text):
        assert "<script" not in found[part]
        assert "&lt;script" in found[part]


async def test_a_long_run_sends_little(tab: WorkshopTab, desk: Desk) -> None:
    steps = [{**training(n, 4.0), "total": 10_000} for n in range(1, 10_001)]
    add_run(desk, [*steps, *({"note": f"remark {n} " + "x" * 1000} for n in range(500))])
    found = await tab.load(BROWSER, None, None)
    assert len(found[tab.losses]["value"]) < 600
    assert len(found[tab.details]) < 15_000


@pytest.mark.parametrize(
    ("name", "line", "says"),
    [("returns", "epoch=2", "epoch"), ("returns", "epochs='2", "cannot be read"), ("", "", "no recipe")],
)
async def test_what_cannot_be_started_is_told_and_start_is_free_again(
    tab: WorkshopTab, name: str, line: str, says: str
) -> None:
    assert (await tab.starting(BROWSER))[tab.start_button] == gr.update(interactive=False)
    found = await tab.start(BROWSER, None, {}, name, line)
    assert says in found[tab.notice]
    assert found[tab.start_button] == gr.update(interactive=True)
    for act in (tab.resume, tab.cancel):
        assert "no run" in (await act(BROWSER, "returns-1", {}))[tab.notice]


async def test_it_looks_by_itself_while_it_is_shown_to_who_may(desk: Desk) -> None:
    with gr.Blocks():
        page = StaffPage(desk)
    for role, title, active in (
        ("engineer", WorkshopTab.title, True),
        ("engineer", "Console", False),
        ("lead", WorkshopTab.title, False),
    ):
        timers = await page.switched(asked_by(role), SimpleNamespace(value=title))  # type: ignore[arg-type]
        assert timers[page.workshop.timer].active is active
