"""A customer turns a reply down and says why; a lead makes an example of it, and a case."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import yaml
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import PHONE, Server, submit

pytestmark = pytest.mark.browser
Shot = Callable[[Page, str], None]


def turn_down(page: Page, server: Server, question: str, shot: Shot, name: str = "") -> None:
    page.goto(server.address + "/")
    expect(page.get_by_role("heading", name="Larkmoor")).to_be_visible()
    submit(page.get_by_label("Your message"), question)
    expect(page.locator("#send")).to_be_visible()
    page.get_by_role("button", name="Dislike", exact=True).click()
    page.get_by_label("Something is missing").check()
    page.get_by_label("In your words").fill("I asked for the day.")
    shot(page, f"customer-why{name}")
    page.get_by_role("button", name="Tell us").click()
    expect(page.get_by_text("Thank you. Our team reads this.")).to_be_visible()
    page.reload()
    expect(page.get_by_role("button", name="Disliked")).to_be_visible()


def test_a_reply_turned_down_becomes_an_example_and_a_case(
    browser: Browser, page: Page, slow_server: Server, shot: Shot
) -> None:
    turn_down(page, slow_server, "I am ada@example.com, when does the {refund} come?", shot)
    phone = browser.new_context(viewport=PHONE).new_page()  # type: ignore[arg-type]
    turn_down(phone, slow_server, "How long is a return code good?", shot, "-phone")
    assert phone.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "nothing may stick out"

    page.goto(slow_server.address + "/desk/")
    page.get_by_role("tab", name="Feedback").click()
    expect(page.get_by_text("Open (2)")).to_be_visible()
    page.locator("#feedback-entries label").nth(1).click()
    expect(page.locator("#feedback-entry")).to_contain_text("I asked for the day.")
    box = page.get_by_label("Reply, corrected")
    expect(page.get_by_label("Customer", exact=True)).to_have_value("I am [EMAIL_1], when does the {refund} come?")
    box.fill("Within 5 business days; it goes to bob@example.com. Wren, Larkmoor")
    shot(page, "feedback")
    page.locator("#make-example").click()
    expect(page.locator("#feedback-notice")).to_contain_text("e-mail address (1)")
    expect(box).to_have_value("Within 5 business days; it goes to [EMAIL_2]. Wren, Larkmoor")
    shot(page, "feedback-look-again")
    page.locator("#make-example").click()
    expect(page.locator("#feedback-notice")).to_contain_text("support@3 holds the example now")
    expect(page.get_by_text("Open (1)")).to_be_visible()
    folder = slow_server.workspace / "prompts" / "support"
    made = yaml.safe_load((folder / "v3.yaml").read_text())
    assert made["technique"] == "few-shot"
    assert made["examples"][-1]["customer"] == "I am [EMAIL_1], when does the {{refund}} come?"
    assert slow_server.rows("select version from labels where name = 'support' and label = 'production'") == [(2,)]

    before = (folder / "cases.yaml").read_text()
    page.locator("#feedback-entries label").first.click()
    expect(page.locator("#feedback-entry")).to_contain_text("return code")
    box.fill("It is good for 12 days. Wren, Larkmoor")
    page.get_by_role("tab", name="A case").click()
    page.get_by_label("Must contain, one a line").fill("12 days")
    shot(page, "feedback-case")
    page.locator("#make-case").click()
    expect(page.locator("#feedback-notice")).to_contain_text("is a case of support now")
    assert (folder / "cases.yaml").read_text().startswith(before)
    assert yaml.safe_load((folder / "cases.yaml").read_text())["cases"][-1]["expect"][0] == {"contains": "12 days"}
    page.get_by_text("Done (2)").click()
    expect(page.locator("#feedback-entries label")).to_have_count(2)
    shot(page, "feedback-done")
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    shot(page, "feedback-phone")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "nothing may stick out"
