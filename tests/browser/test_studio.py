"""A lead's day in the studio: sign in, find, edit, look, try, judge, save, publish, take back, and two leads at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from bot.desk import Desk
from bot.prompts.schema import parse_prompt
from bot.settings import load
from tests.browser.conftest import DESKTOP, PHONE, Server, demo_workspace
from tests.browser.test_staff import QUESTION, ask, choose, switch

pytestmark = pytest.mark.browser
Shot = Callable[[Page, str], None]
PASSWORD = "four plain words here"
PASSING = "cases: [{name: is heard, message: a broken lamp, expect: [{contains: lamp}]}]"
FAILING = "cases: [{name: is in verse, message: a broken lamp, expect: [{contains: nowhere}]}]"


@pytest.fixture
def leads(tmp_path: Path) -> Iterator[Server]:
    """A desk with two leads, on an engine that repeats what it was sent."""
    workspace = demo_workspace(tmp_path)
    (workspace / "prompts" / "support" / "cases.yaml").write_text(PASSING)
    journal = Desk(load(workspace=workspace)).journal
    for name in ("ada", "ben"):
        journal.people.add(name, "lead", PASSWORD)
    journal.close()
    made = Server(workspace, "scripted")
    made.start()
    yield made
    made.stop()


@pytest.fixture
def second_context(browser: Browser) -> Iterator[BrowserContext]:
    made = browser.new_context(viewport=DESKTOP)  # type: ignore[arg-type]
    yield made
    made.close()


def sign_in(page: Page, server: Server, name: str) -> None:
    page.goto(server.address + "/desk/")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("#staff-head")).to_contain_text(f"you are {name}, lead")
    page.get_by_role("tab", name="Prompts").click()
    expect(page.locator("#preview .sent").first).to_be_visible()


def write_role(page: Page, text: str) -> None:
    page.locator("#role textarea").fill(text)


def save(page: Page, note: str) -> None:
    page.locator("#note").get_by_label("Note").fill(note)
    page.locator("#save").click()


def publish(page: Page, label: str, why: str) -> None:
    page.get_by_role("tab", name="Publish").click()
    choose(page, "#label", label)
    page.locator("#why").get_by_label("Reason").fill(why)
    page.locator("#publish").click()


def test_a_leads_day(page: Page, second_context: BrowserContext, leads: Server, shot: Shot) -> None:
    sign_in(page, leads, "ada")
    other = second_context.new_page()
    sign_in(other, leads, "ben")
    find(page)
    edit_and_look(page, shot)
    try_and_judge(page, shot)
    save_and_publish(page, leads, shot)
    # A customer's thumb-down that becomes an example of the next draft has its place here.
    save_second(page, other, leads, shot)
    publish_second(page, other, leads, shot)
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    shot(page, "studio-phone")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "nothing may stick out"


def find(page: Page) -> None:
    names = page.locator("#prompt-name label")
    expect(page.locator("#prompt-name")).to_contain_text("support · production 2")
    before = names.count()
    page.locator("#prompt-search").get_by_label("Search").fill("few-shot nothing has this")
    expect(names).to_have_count(0)
    page.locator("#prompt-search").get_by_label("Search").fill("blinking hub")
    expect(names).to_have_count(1)
    page.locator("#prompt-search").get_by_label("Search").fill("")
    expect(names).to_have_count(before)


def edit_and_look(page: Page, shot: Shot) -> None:
    role = page.locator("#role textarea")
    role.fill("You are the agent of ")
    page.locator("#variables [data-insert='{company}']").click()
    expect(role).to_have_value("You are the agent of {company}")
    role.press_sequentially(". Answer kindly. <think>")
    expect(page.locator("#preview")).to_contain_text("You are the agent of Larkmoor. Answer kindly.")
    expect(page.locator("#preview .count-line")).to_contain_text("tokens of the 1,024 that the base reads")
    expect(page.locator("#findings .mark-error")).to_be_visible()
    shot(page, "studio-preview")
    for _ in " <think>":
        role.press("Backspace")
    expect(page.locator("#findings .mark-error")).to_have_count(0)
    expect(page.locator("#findings")).to_contain_text("{agent_name} is in no text")
    page.get_by_role("tab", name="Changes").click()
    expect(page.locator("#changes ins", has_text="kindly")).to_be_visible()
    shot(page, "studio-changes")
    choose(page, "#changes-from", "Version 1")
    choose(page, "#changes-to", "Version 2")
    expect(page.locator("#changes ins", has_text="exactly")).to_be_visible()


def try_and_judge(page: Page, shot: Shot) -> None:
    page.get_by_role("tab", name="Side by side").click()
    page.locator("#ask-both").click()
    expect(page.locator("#ask-replies .sides")).to_have_count(3)
    expect(page.locator("#ask-both")).to_be_visible()
    expect(page.locator("#ask-replies .sides").first).to_contain_text("The draft")
    expect(page.locator("#ask-replies .foot")).to_have_count(6)
    shot(page, "studio-side-by-side")
    page.get_by_role("tab", name="Cases").click()
    page.locator("#run-cases").click()
    expect(page.locator("#cases-notice")).to_contain_text("The draft passes 1 of 1 cases.")
    expect(page.locator("#cases-results th", has_text="support@2")).to_be_visible()


def save_and_publish(page: Page, server: Server, shot: Shot) -> None:
    page.locator("#save").click()
    expect(page.locator("#save-notice")).to_contain_text("note is empty")
    save(page, "Kinder.")
    expect(page.locator("#save-notice")).to_contain_text("support@3 is saved")
    saved = parse_prompt((server.workspace / "prompts" / "support" / "v3.yaml").read_text())
    assert (saved.author, saved.note) == ("ada", "Kinder.")
    publish(page, "production", "Customers like it kinder")
    expect(page.locator("#publish-notice")).to_contain_text("production is on version 3 now, before on version 2.")
    expect(page.locator("#prompt-versions")).to_contain_text("Version 3 · production")
    page.locator("#undo").click()
    expect(page.locator("#publish-notice")).to_contain_text("production is back on version 2.")
    expect(page.locator("#history tbody tr").first).to_contain_text("Undone: Customers like it kinder")
    expect(page.locator("#history tbody tr").first).to_contain_text("ada")
    shot(page, "studio-published")


def save_second(page: Page, other: Page, server: Server, shot: Shot) -> None:
    """Ben began before ada saved."""
    write_role(other, "You are {agent_name}. Answer as ben would.")
    save(other, "Mine.")
    expect(other.locator("#save-notice .both-texts")).to_contain_text("kindly")
    expect(other.locator("#save-notice .both-texts")).to_contain_text("as ben would")
    expect(other.locator("#role textarea")).to_have_value("You are {agent_name}. Answer as ben would.")
    shot(other, "studio-conflict")
    other.get_by_role("button", name="Save mine on top of version 3").click()
    expect(other.locator("#save-notice")).to_contain_text("support@4 is saved")
    assert "kindly" in (server.workspace / "prompts" / "support" / "v3.yaml").read_text()


def publish_second(page: Page, other: Page, server: Server, shot: Shot) -> None:
    """Ada's page shows the labels from before ben moved one; and cases that fail."""
    publish(other, "staging", "To be looked at")
    expect(other.locator("#publish-notice")).to_contain_text("staging is on version 4 now")
    publish(page, "staging", "Mine first")
    expect(page.locator("#publish-notice")).to_contain_text("points at version 4")
    expect(page.locator("#history tbody tr").first).to_contain_text("ben")
    (server.workspace / "prompts" / "support" / "cases.yaml").write_text(FAILING)
    publish(page, "production", "It cannot wait")
    expect(page.locator("#publish-notice")).to_contain_text("passes 0 of 1 cases. It was not published.")
    shot(page, "studio-refused")
    page.locator("#publish-anyway").click()
    expect(page.locator("#publish-notice")).to_contain_text("production is on version 3 now, before on version 2, forced.")
    expect(page.locator("#history tbody tr").first).to_contain_text("forced")
    rows = server.rows("select label, version, who, forced from label_moves order by id desc limit 2")
    assert rows == [("production", 3, "ada", 1), ("staging", 4, "ben", 0)]


@pytest.fixture
def desk(page: Page, server: Server) -> Page:
    """The page of a desk without users, filled."""
    page.goto(server.address + "/desk/")
    expect(page.locator("#summary .command")).to_contain_text("bot chat")
    return page


def test_a_saved_version_answers_in_the_console(desk: Page, server: Server, shot: Shot) -> None:
    desk.get_by_role("tab", name="Prompts").click()
    versions = desk.locator("#prompt-versions label")
    expect(versions.first).to_be_visible()
    before = versions.count()
    role = desk.locator("#role textarea")
    role.fill("You are {agent_name} of {company}. Start every reply with")
    role.press_sequentially(" Thanks.")
    expect(desk.locator("#preview")).to_contain_text("Start every reply with Thanks")
    desk.locator("#note").get_by_label("Note").fill("Thanks the customer first.")
    desk.locator("#author").get_by_label("Author").fill("The night shift")
    desk.locator("#save").click()
    expect(desk.locator("#save-notice")).to_contain_text(f"support@{before + 1} is saved")
    desk.get_by_role("tab", name="Console").click()
    switch(desk, "console", "Prompt")
    choose(desk, "#console-version", f"v{before + 1}")
    expect(desk.locator("#summary .command")).to_contain_text(f"support@{before + 1}")
    ask(desk, "console", QUESTION)
    expect(desk.locator("#inspector .inspector-head")).to_contain_text(f"support@{before + 1}")
    expect(desk.locator("#inspector .sent").first).to_contain_text("Start every reply with Thanks")
    assert (server.workspace / "prompts" / "support" / f"v{before + 1}.yaml").exists()


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
