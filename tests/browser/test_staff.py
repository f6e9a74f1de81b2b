"""The staff's page: the console's switch, the inspector, Compare with a vote, adapter cards, the workshop."""

from __future__ import annotations

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
    # A list fades out; until it is gone, its options answer to the next dropdown's names.
    expect(page.get_by_role("option")).to_have_count(0)


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
    expect(state).to_have_text("done", timeout=300_000)
    expect(workshop.locator("#run-head")).to_contain_text("returns@1 is made. The desk offers it already.")
    expect(workshop.locator("#losses svg")).to_be_visible()
    shot(workshop, "workshop-done")
    workshop.get_by_role("tab", name="Adapters").click()
    expect(workshop.locator("#adapter-list")).to_contain_text("returns@1")

    workshop.get_by_role("tab", name="Workshop").click()
    start(workshop, "epochs=20 patience=20 knowledge=")
    expect(workshop.locator("#runs .run-state")).to_have_count(2)
    expect(workshop.locator("#run-head")).to_contain_text("training", timeout=300_000)
    workshop.locator("#cancel-run").click()
    expect(state).to_have_text("cancelled")
    shot(workshop, "workshop-cancelled")
    workshop.locator("#resume-run").click()
    expect(state).to_have_text("running")
    expect(state).to_have_text("done", timeout=300_000)
    expect(workshop.locator("#runs")).to_contain_text("returns@2")
    workshop.set_viewport_size(PHONE)  # type: ignore[arg-type]
    shot(workshop, "workshop-phone")
    assert workshop.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "nothing may stick out"
