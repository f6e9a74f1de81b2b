"""A lead opens a report, and an operator takes what was measured best."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from bot.evaluation.report import write_report
from bot.runs.folder import EVALUATION, Runs
from tests.browser.conftest import PHONE, Server
from tests.browser.test_staff import choose
from tests.evaluation.made_up import sample_report

pytestmark = pytest.mark.browser
Shot = Callable[[Page, str], None]


def test_a_report_is_opened_and_its_winner_taken(page: Page, slow_server: Server, shot: Shot) -> None:
    report = sample_report()
    folder = Runs(slow_server.workspace / "var", EVALUATION).start("returns", "returns", [], 1)
    write_report(report.model_copy(update={"id": folder.run.id}), folder.path)
    folder.change(state="done", outcome=report.advice.headline)
    page.goto(slow_server.address + "/desk/")
    expect(page.locator("#summary .command")).to_contain_text("bot chat")
    choose(page, "#scenario", "Changed my mind")
    expect(page.locator("#measured")).to_contain_text("support@2 + returns@1 + larkmoor, 27 Nov 2026")
    shot(page, "console-measured")
    page.locator("#take-measured").click()
    expect(page.locator("#summary .command")).to_contain_text("bot chat --prompt support@2 --adapters returns@1")

    page.get_by_role("tab", name="Proof").click()
    expect(page.locator("#proofs")).to_contain_text(report.advice.headline)
    shot(page, "proof")
    with page.context.expect_page() as opened:
        page.locator("#proof-head .report-link").click()
    shown = opened.value
    expect(shown.get_by_role("heading", level=1)).to_have_text(report.advice.headline)
    shown.locator(".example > summary").first.click()
    expect(shown.locator(".reasoning").first).to_be_visible()
    shot(shown, "report")
    for seen, name in ((shown, "report-phone"), (page, "proof-phone")):
        seen.set_viewport_size(PHONE)  # type: ignore[arg-type]
        shot(seen, name)
        assert seen.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "nothing may stick out"
