"""A lead's day in the studio: sign in, find, edit, look, try, judge, save, publish, take back,
a customer's thumb-down into an example, two leads at once, and a server that is restarted meanwhile."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from bot.desk import Desk
from bot.prompts.schema import parse_prompt
from bot.settings import load
from tests.browser.conftest import PHONE, Server, submit
from tests.browser.test_staff import QUESTION, ask, choose, switch

pytestmark = pytest.mark.browser
Shot = Callable[[Page, str], None]
PASSWORD = "four plain words here"
PASSING = "cases: [{name: is heard, message: a broken lamp, expect: [{contains: lamp}]}]"
FAILING = "cases: [{name: is in verse, message: a broken lamp, expect: [{contains: nowhere}]}]"


@pytest.fixture
def leads(demo: Path, tmp_path: Path) -> Iterator[Server]:
    """A desk with two leads and a customer, on an engine that repeats what it was sent."""
    workspace = shutil.copytree(demo, tmp_path / "workspace")
    (workspace / "prompts" / "support" / "cases.yaml").write_text(PASSING)
    journal = Desk(load(workspace=workspace)).journal
    for name in ("ada", "ben"):
        journal.people.add(name, "lead", PASSWORD)
    journal.people.add("cleo", "customer", PASSWORD)
    journal.close()
    made = Server(workspace, "scripted")
    made.start()
    yield made
    made.stop()


def enter(page: Page, server: Server, name: str, path: str) -> None:
    page.goto(server.address + path)
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()


def sign_in(page: Page, server: Server, name: str) -> None:
    enter(page, server, name, "/desk/")
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


def test_a_leads_day(page: Page, another_page: Callable[[], Page], leads: Server, shot: Shot) -> None:
    sign_in(page, leads, "ada")
    other, customer = another_page(), another_page()
    sign_in(other, leads, "ben")
    find(page)
    edit_and_look(page, shot)
    try_and_judge(page, shot)
    save_and_publish(page, leads, shot)
    turned_down_becomes_an_example(page, customer, leads, shot)
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
    page.locator("#how-it-answers > button").click()
    # The boxes of what was just unfolded get their values a moment after they are there.
    expect(page.get_by_label("Freedom of wording (temperature)")).to_have_value("0.0")
    page.wait_for_timeout(500)
    page.get_by_label("Freedom of wording (temperature)").fill("0.7")
    expect(page.locator("#changes h4", has_text="Freedom of wording")).to_be_visible()
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
    expect(page.locator("#cases-notice")).not_to_contain_text("passes")
    saved = parse_prompt((server.workspace / "prompts" / "support" / "v3.yaml").read_text())
    assert (saved.author, saved.note, saved.decoding.temperature) == ("ada", "Kinder.", 0.7)
    publish(page, "production", "Customers like it kinder")
    expect(page.locator("#publish-notice")).to_contain_text("production is on version 3 now, before on version 2.")
    expect(page.locator("#prompt-versions")).to_contain_text("Version 3 · production")
    page.locator("#undo").click()
    expect(page.locator("#publish-notice")).to_contain_text("production is back on version 2.")
    expect(page.locator("#history tbody tr").first).to_contain_text("Undone: Customers like it kinder")
    expect(page.locator("#history tbody tr").first).to_contain_text("ada")
    shot(page, "studio-published")


def turned_down_becomes_an_example(page: Page, customer: Page, server: Server, shot: Shot) -> None:
    """A customer says what was wrong; ada corrects it, and the draft is in the studio while production stays."""
    enter(customer, server, "cleo", "/")
    submit(customer.get_by_label("Your message"), QUESTION)
    expect(customer.locator("#send")).to_be_visible(timeout=300_000)
    customer.get_by_role("button", name="Dislike", exact=True).click()
    customer.get_by_label("Something is missing").check()
    customer.get_by_role("button", name="Tell us").click()
    expect(customer.get_by_text("Thank you. Our team reads this.")).to_be_visible()
    page.get_by_role("tab", name="Feedback").click()
    expect(page.locator("#feedback-entry")).to_contain_text("Something is missing")
    page.get_by_label("Reply, corrected").fill("Within 5 business days. Wren, Larkmoor")
    made = page.locator("#feedback-notice").get_by_text("support@4 holds the example now")
    page.locator("#make-example").click()
    # Where there is advice on the example it is told first.
    expect(made.or_(page.locator("#feedback-notice").get_by_text("Look once more"))).to_be_visible()
    if not made.is_visible():
        page.locator("#make-example").click()
    expect(made).to_be_visible()
    shot(page, "studio-turned-down")
    page.get_by_role("tab", name="Prompts").click()
    expect(page.locator("#prompt-versions")).to_contain_text("Version 4")
    assert server.rows("select version from labels where name = 'support' and label = 'production'") == [(2,)]
    expect(page.locator("#publish")).to_have_text("Publish version 3")


def save_second(page: Page, other: Page, server: Server, shot: Shot) -> None:
    """Ben began before ada saved."""
    write_role(other, "You are {agent_name}. Answer as ben would.")
    save(other, "Mine.")
    expect(other.locator("#save-notice .both-texts")).to_contain_text("kindly")
    expect(other.locator("#save-notice .notice")).to_contain_text("temperature), Examples.")
    expect(other.get_by_label("Example 1, agent")).to_have_value(re.compile("Within 5 business days"))
    expect(other.locator("#save-notice .both-texts")).to_contain_text("as ben would")
    expect(other.locator("#role textarea")).to_have_value("You are {agent_name}. Answer as ben would.")
    shot(other, "studio-conflict")
    other.get_by_role("button", name="Save mine on top of version 4").click()
    expect(other.locator("#save-notice")).to_contain_text("support@5 is saved")
    assert "Within 5 business days" in (server.workspace / "prompts" / "support" / "v5.yaml").read_text()
    assert "kindly" in (server.workspace / "prompts" / "support" / "v3.yaml").read_text()


def publish_second(page: Page, other: Page, server: Server, shot: Shot) -> None:
    """Ada's page shows the labels from before ben moved one; and cases that fail."""
    publish(other, "staging", "To be looked at")
    expect(other.locator("#publish-notice")).to_contain_text("staging is on version 5 now")
    publish(page, "staging", "Mine first")
    expect(page.locator("#publish-notice")).to_contain_text("points at version 5")
    expect(page.locator("#history tbody tr").first).to_contain_text("ben")
    (server.workspace / "prompts" / "support" / "cases.yaml").write_text(FAILING)
    publish(page, "production", "It cannot wait")
    expect(page.locator("#publish-notice")).to_contain_text("passes 0 of 1 cases. It was not published.")
    shot(page, "studio-refused")
    page.locator("#publish-anyway").click()
    expect(page.locator("#publish-notice")).to_contain_text("production is on version 3 now, before on version 2, forced.")
    expect(page.locator("#history tbody tr").first).to_contain_text("forced")
    rows = server.rows("select label, version, who, forced from label_moves order by id desc limit 2")
    assert rows == [("production", 3, "ada", 1), ("staging", 5, "ben", 0)]


def reopen(page: Page, server: Server, name: str) -> None:
    """The page loaded anew with the tab open, by who is signed in."""
    page.goto(f"{server.address}/desk/")
    expect(page.locator("#staff-head")).to_contain_text(f"you are {name}, lead")
    page.get_by_role("tab", name="Prompts").click()
    expect(page.locator("#preview .sent").first).to_be_visible()


def kept(page: Page) -> str | None:
    """What the browser keeps, scrambled."""
    found: str | None = page.evaluate("localStorage.getItem('switchboard-unsaved-prompts')")
    return found


def test_edits_outlive_a_reload_and_a_restarted_server(page: Page, leads: Server, shot: Shot) -> None:
    sign_in(page, leads, "ada")
    role, before = page.locator("#role textarea"), kept(page)
    write_role(page, "You are {agent_name}. Answer in rhymes.")
    page.locator("#note").get_by_label("Note").fill("Rhymes.")
    expect(page.locator("#preview")).to_contain_text("Answer in rhymes.")
    # Written once the page has looked at the form, the note last.
    written = "before => ![before, null].includes(localStorage.getItem('switchboard-unsaved-prompts'))"
    page.wait_for_function(written, arg=before)
    page.wait_for_timeout(3_000)
    leads.stop()
    leads.start()
    reopen(page, leads, "ada")
    expect(role).not_to_have_value(re.compile("rhymes"))
    expect(page.locator("#save-notice")).to_contain_text("kept in this browser")
    shot(page, "studio-kept")
    page.locator("#bring-back").click()
    expect(role).to_have_value("You are {agent_name}. Answer in rhymes.")
    expect(page.locator("#note").get_by_label("Note")).to_have_value("Rhymes.")
    stored = kept(page)
    page.locator("#save").click()
    expect(page.locator("#save-notice")).to_contain_text("support@3 is saved")
    page.wait_for_function("stored => localStorage.getItem('switchboard-unsaved-prompts') !== stored", arg=stored)
    reopen(page, leads, "ada")
    expect(role).to_have_value("You are {agent_name}. Answer in rhymes.")
    expect(page.locator("#bring-back")).to_be_hidden()
    write_role(page, "You are {agent_name}. Answer in verse.")
    expect(page.locator("#preview")).to_contain_text("Answer in verse.")
    page.wait_for_timeout(3_000)
    page.context.clear_cookies()
    sign_in(page, leads, "ben")
    expect(page.locator("#bring-back")).to_be_hidden()
    expect(page.locator("#save-notice")).not_to_contain_text("kept in this browser")


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
