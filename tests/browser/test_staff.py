"""The staff's page: the console's switch, the inspector, Compare with a vote, a new prompt version, adapter cards, the workshop."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from bot.base import Base
from tests.browser.conftest import PHONE, Server, submit
from tests.training.conftest import write_workspace

pytestmark = pytest.mark.browser
Shot = Callable[[Page, str], None]
QUESTION = "How do I return a gift?"


@pytest.fixture
def desk(page: Page, server: Server) -> Page:
    """The page, filled."""
    page.goto(server.address + "/desk/")
    expect(page.locator("#summary .command")).to_contain_text("bot chat")
    return page


def switch(page: Page, name: str, state: str) -> None:
    page.locator(f"#{name}-switch").get_by_text(state, exact=True).click()


def choose(page: Page, dropdown: str, option: str) -> None:
    page.locator(f"{dropdown} input").click()
    page.get_by_role("option", name=option, exact=True).click()


def tick(page: Page, name: str, adapter: str) -> None:
    page.locator(f"[id^={name}-tick-]").get_by_label(adapter, exact=True).check()


def ask(page: Page, name: str, text: str) -> None:
    submit(page.locator(f"#{name}-message textarea"), text)


def test_the_switch_turns_prompt_and_adapter_on_and_off(desk: Page, shot: Shot) -> None:
    tick(desk, "console", "returns")
    desk.get_by_label("Earlier turns are sent along").uncheck()
    head, sent = desk.locator("#inspector .inspector-head"), desk.locator("#inspector .sent")
    seen = []
    for number, state in enumerate(("Base", "Prompt", "Adapter", "Both"), 1):
        switch(desk, "console", state)
        ask(desk, "console", QUESTION)
        expect(desk.get_by_test_id("user")).to_have_count(number)
        expect(desk.locator("#console-send")).to_be_visible()
        expect(head).to_contain_text(state.lower())
        seen.append((head.inner_text(), sent.first.inner_text()))
        shot(desk, f"console-{state.lower()}")
    (base, base_sent), (prompt, prompt_sent), (adapter, adapter_sent), (both, both_sent) = seen
    assert "support" not in base
    assert "returns" not in base
    assert "support@2" in prompt
    assert "returns@" not in prompt
    assert "returns@" in adapter
    assert "support" not in adapter
    assert "returns@" in both
    assert "support@2" in both
    assert "You are Wren" in prompt_sent
    assert "You are Wren" in both_sent
    assert "You are Wren" not in base_sent + adapter_sent
    desk.get_by_test_id("user").nth(1).click()
    expect(head).to_contain_text("prompt")


def test_the_inspector_shows_passages_tokens_timings_and_the_command(desk: Page, shot: Shot) -> None:
    tick(desk, "console", "returns")
    desk.locator("[id^=console-weight-]:visible input[type=number]").first.wait_for()
    row = desk.locator(".adapter-row", has=desk.get_by_label("returns", exact=True)).first
    row.locator("input[type=number]").fill("0.7")
    row.locator("input[type=number]").press("Tab")
    expect(desk.locator("#summary .mix")).to_contain_text("*0.7")
    switch(desk, "console", "Both")
    ask(desk, "console", QUESTION)
    inspector = desk.locator("#inspector")
    expect(inspector.locator(".passage .score").first).to_have_text("0.76")
    expect(inspector).to_contain_text("Prompt tokens")
    expect(inspector).to_contain_text("First token after")
    inspector.get_by_text("Made with").click()
    expect(inspector).to_contain_text("weight 0.7")
    inspector.get_by_text("The same in a terminal").click()
    expect(inspector.locator(".command")).to_contain_text("bot chat --prompt support@2 --adapters 'returns@")
    shot(desk, "console-inspector")


def test_a_scenario_brings_its_openings(desk: Page) -> None:
    choose(desk, "#scenario", "Returning a present")
    opening = desk.locator(".openings .opening:visible").first
    expect(opening).to_contain_text("present")
    text = opening.inner_text()
    switch(desk, "console", "Prompt")
    opening.click()
    expect(desk.get_by_test_id("user")).to_have_text(text)


def test_two_set_ups_side_by_side_and_a_vote(desk: Page, server: Server, shot: Shot) -> None:
    desk.get_by_role("tab", name="Compare").click()
    switch(desk, "left", "Prompt")
    tick(desk, "right", "returns")
    switch(desk, "right", "Both")
    ask(desk, "compare", QUESTION)
    expect(desk.locator("#vote-right")).to_be_enabled()
    expect(desk.locator("#left-reply .state")).to_have_text("prompt")
    expect(desk.locator("#right-reply .state")).to_have_text("both")
    left, right = server.rows("select passages, sampling, mix from turns order by id desc limit 2")
    assert left[:2] == right[:2], "the same passages and the same seed"
    assert left[2] != right[2]
    votes = len(server.rows("select id from votes"))
    desk.locator("#vote-right").click()
    expect(desk.locator("#voted")).to_contain_text("Vote stored")
    assert server.rows("select choice from votes")[votes:] == [("right",)]
    shot(desk, "compare")


def test_a_lead_saves_a_version_and_sees_it_answer(desk: Page, server: Server, shot: Shot) -> None:
    desk.get_by_role("tab", name="Prompts").click()
    versions = desk.locator("#prompt-versions label")
    before = versions.count()
    role = desk.locator("#role textarea")
    role.fill("You are {agent_name} of {company}. Start every reply with")
    role.press_sequentially(" Thanks.")
    expect(desk.locator("#preview")).to_contain_text("Start every reply with Thanks")
    desk.get_by_role("tab", name="Changes").click()
    expect(desk.locator("#changes ins", has_text="Thanks")).to_be_visible()
    desk.locator("#save").click()
    expect(desk.locator("#save-notice")).to_contain_text("note is empty")
    desk.locator("#note").get_by_label("Note").fill("Thanks the customer first.")
    desk.locator("#save").click()
    expect(desk.locator("#save-notice")).to_contain_text(f"support@{before + 1} is saved")
    shot(desk, "prompts-saved")
    desk.get_by_role("tab", name="Console").click()
    switch(desk, "console", "Prompt")
    choose(desk, "#console-version", f"v{before + 1}")
    expect(desk.locator("#summary .command")).to_contain_text(f"support@{before + 1}")
    ask(desk, "console", QUESTION)
    expect(desk.locator("#inspector .inspector-head")).to_contain_text(f"support@{before + 1}")
    expect(desk.locator("#inspector .sent").first).to_contain_text("Start every reply with Thanks")
    assert (server.workspace / "prompts" / "support" / f"v{before + 1}.yaml").exists()


def test_a_conflict_shows_both_texts_and_loses_neither(desk: Page, server: Server, shot: Shot) -> None:
    desk.get_by_role("tab", name="Prompts").click()
    choose(desk, "#prompt-name", "support-examples")
    folder = server.workspace / "prompts" / "support-examples"
    expect(desk.locator("#role textarea")).to_have_value(re.compile("like the examples"))
    latest = (folder / "v2.yaml").read_text()
    (folder / "v3.yaml").write_text(latest.replace("one or two short sentences", "exactly one sentence"))
    desk.locator("#role textarea").fill("You are {agent_name}. Mine.")
    desk.locator("#note").get_by_label("Note").fill("Mine.")
    desk.locator("#save").click()
    expect(desk.locator("#save-notice .both-texts")).to_contain_text("exactly one sentence")
    expect(desk.locator("#save-notice .both-texts")).to_contain_text("Mine.")
    shot(desk, "prompts-conflict")
    assert desk.locator("#role textarea").input_value() == "You are {agent_name}. Mine."
    desk.get_by_role("button", name="Save mine on top of version 3").click()
    expect(desk.locator("#save-notice")).to_contain_text("support-examples@4 is saved")
    choose(desk, "#label", "staging")
    desk.locator("#put-label").click()
    expect(desk.locator("#prompt-versions")).to_contain_text("Version 4 · staging")


def test_edits_survive_a_look_at_another_version_and_faults_name_their_place(desk: Page, shot: Shot) -> None:
    desk.get_by_role("tab", name="Prompts").click()
    role = desk.locator("#role textarea")
    expect(role).not_to_have_value("")
    role.fill("You are {who}.")
    role.blur()
    expect(desk.locator("#preview")).to_contain_text("'{who}' is not declared under variables")
    desk.locator("#prompt-versions").get_by_text("Version 1").click()
    expect(desk.locator("#save-notice")).to_contain_text("put aside")
    desk.locator("#bring-back").click()
    expect(role).to_have_value("You are {who}.")
    shot(desk, "prompts-fault")


def test_an_engineer_reads_a_card(desk: Page, shot: Shot) -> None:
    desk.get_by_role("tab", name="Adapters").click()
    expect(desk.locator("#adapter-list")).to_contain_text("returns@1")
    expect(desk.locator("#adapter-list .status").first).to_have_text("ready")
    expect(desk.locator("#card")).to_contain_text("may serve")
    shot(desk, "adapters")


@pytest.fixture
def workshop(page: Page, tmp_path: Path, tiny_base: Base) -> Iterator[Page]:
    """The workshop of a small workspace whose base trains in seconds."""
    recipe = write_workspace(tmp_path / "workspace")
    made = Server(recipe.parents[2], "scripted", base=str(tiny_base.path))
    made.start()
    page.goto(made.address + "/desk/")
    expect(page.locator("#summary .command")).to_contain_text("bot chat")
    page.get_by_role("tab", name="Workshop").click()
    expect(page.locator("#recipe-text")).to_contain_text("rank: 4")
    yield page
    page.close()
    made.stop()


def start(page: Page, overrides: str) -> None:
    page.get_by_label("Overrides").fill(overrides)
    page.locator("#start-run").click()


def test_an_engineer_trains_an_adapter_and_goes_on_with_a_cancelled_run(workshop: Page, shot: Shot) -> None:
    state = workshop.locator("#run-head .run-state")
    start(workshop, "epoch=2")
    expect(workshop.locator("#run-notice")).to_contain_text("epoch")
    start(workshop, "prompt=suport@1")
    expect(workshop.locator("#run-notice")).to_contain_text("There is no prompt 'suport'")
    start(workshop, "epochs=3 patience=3 knowledge=")
    expect(workshop.locator("#run-notice")).to_contain_text("has begun")
    expect(state).to_have_text("done", timeout=120_000)
    expect(workshop.locator("#run-head")).to_contain_text("returns@1 is made. The desk offers it already.")
    expect(workshop.locator("#losses svg")).to_be_visible()
    shot(workshop, "workshop-done")
    workshop.get_by_role("tab", name="Adapters").click()
    expect(workshop.locator("#adapter-list")).to_contain_text("returns@1")

    workshop.get_by_role("tab", name="Workshop").click()
    start(workshop, "epochs=20 patience=20 knowledge=")
    expect(workshop.locator("#runs .run-state")).to_have_count(2)
    expect(workshop.locator("#run-head")).to_contain_text("training", timeout=120_000)
    workshop.locator("#cancel-run").click()
    expect(state).to_have_text("cancelled")
    shot(workshop, "workshop-cancelled")
    workshop.locator("#resume-run").click()
    expect(state).to_have_text("running")
    expect(state).to_have_text("done", timeout=120_000)
    expect(workshop.locator("#runs")).to_contain_text("returns@2")
    workshop.set_viewport_size(PHONE)  # type: ignore[arg-type]
    shot(workshop, "workshop-phone")
    assert workshop.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "nothing may stick out"
