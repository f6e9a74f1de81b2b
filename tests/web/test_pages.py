"""The pages' handlers without a browser: whose conversation is shown, and what text may become."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.desk import Desk
from bot.engine.scripted import ScriptedEngine
from bot.types import AgentSpec
from bot.web.auth import Person
from bot.web.pages.chat import Chats
from bot.web.pages.console import Console
from bot.web.pages.customer import CustomerPage
from bot.web.pages.html import escape, reply_markdown, said
from bot.web.pages.inspector import inspect_turn
from tests.conftest import asked_by


@pytest.fixture
async def page(desk: Desk) -> CustomerPage:
    with gr.Blocks():
        return CustomerPage(desk)


async def last(updates: Any) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    async for update in updates:
        found = update
    return found


def contents(chat: Any) -> str:
    """Everything in a chat's messages, also what stands in components."""
    whole = [message["content"] for message in (chat["value"] if isinstance(chat, dict) else chat)]
    parts = [part for content in whole for part in (content if isinstance(content, list) else [content])]
    return "\n".join(part if isinstance(part, str) else str(getattr(part, "value", part)) for part in parts)


async def test_nobody_sees_another_browsers_conversation(page: CustomerPage) -> None:
    mine, theirs = asked_by(), asked_by()
    first = await last(page.send(mine, "my secret card is 1234", ""))
    conversation = first[page.conversation]
    assert "1234" in str(first[page.chat])
    other = await last(page.send(theirs, "hello", conversation))
    assert "1234" not in str(other)
    assert other[page.conversation] != conversation
    assert "1234" not in str(await page.stopped(theirs, conversation))
    with pytest.raises(gr.Error, match="no conversation"):
        await page.begin(theirs, conversation)
    again = await last(page.send(mine, "", conversation))
    assert "1234" in str(again[page.chat])
    assert again[page.conversation] == conversation


async def test_a_refused_message_is_back_in_the_box(page: CustomerPage) -> None:
    refused = await last(page.send(asked_by(), "x" * 100_000, ""))
    assert refused[page.box] == "x" * 100_000
    assert "100,000" in str(refused[page.notice])


async def test_a_browser_without_its_cookie_is_told(page: CustomerPage) -> None:
    refused = await last(page.send(SimpleNamespace(state=SimpleNamespace(person=Person("", "customer"))), "hello", ""))
    assert "cookie" in str(refused[page.notice])
    assert refused[page.box] == "hello"


async def test_history_reaches_the_agent_from_the_journal(page: CustomerPage, desk: Desk) -> None:
    mine = asked_by()
    conversation = (await last(page.send(mine, "first question", "")))[page.conversation]
    await last(page.send(mine, "second question", conversation))
    assert isinstance(desk.engine, ScriptedEngine)
    assert [m.content for m in desk.engine.calls[-1].messages if m.role == "user"] == ["first question", "second question"]


async def test_reasoning_is_for_staff_alone(page: CustomerPage, desk: Desk, steps: str) -> None:
    desk.settings = desk.settings.model_copy(update={"agent": AgentSpec("", steps)})
    assert isinstance(desk.engine, ScriptedEngine)
    desk.engine.enqueue("<think>a secret <b></think> Hi there.", "<think>a secret that never ends", "Bye.")
    mine = asked_by()
    updates = [update async for update in page.send(mine, "first", "")]
    conversation = updates[-1][page.conversation]
    updates += [update async for update in page.send(mine, "second", conversation)]
    assert "Hi there." in str(updates)
    assert "The reply was empty." in contents(updates[-1][page.chat])
    assert "secret" not in "".join(contents(update[page.chat]) for update in updates if page.chat in update)
    await last(page.send(mine, "third", conversation))
    assert not any("secret" in message.content for message in desk.engine.calls[-1].messages)
    assert "Reasoning" in inspect_turn(desk.journal.turn(1))
    assert "a secret &lt;b&gt;" in inspect_turn(desk.journal.turn(1))
    assert "a secret that never ends" in inspect_turn(desk.journal.turn(2))
    assert "Reasoning" not in inspect_turn(desk.journal.turn(3))


async def test_a_broken_scenario_closes_no_page_and_says_why_where_it_is_chosen(page: CustomerPage, desk: Desk) -> None:
    (desk.prompts.root / "scenarios" / "broken.yaml").write_text("{ broken")
    assert "When is the help desk open?" in str((await page.load(asked_by("customer")))[page.opening_buttons[0]])
    with gr.Blocks():
        console = Console(desk, Chats(desk, "console"))
    shown = await console.load(asked_by("operator"))
    assert shown[console.scenario]["choices"][0] == ("broken: cannot be read", "broken")
    assert shown[console.scenario]["value"] == "first-question"
    with pytest.raises(gr.Error, match="not valid YAML"):
        await console.pick_scenario(asked_by("operator"), "broken")


@given(text=st.text(max_size=60), bangs=st.integers(1, 4))
def test_replies_fetch_no_images_and_bring_no_html(text: str, bangs: int) -> None:
    shown = reply_markdown(f"{text}{'!' * bangs}[a](http://evil.example/x.png)<img src=x>")
    assert "![" not in shown
    assert "<" not in shown


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "&lt;b&gt;"])
def test_escaped_text_is_no_html(text: str) -> None:
    for shown in (escape(text), said(text), reply_markdown(text)):
        assert "<" not in shown


def test_a_customers_words_are_shown_as_typed() -> None:
    for text in ("- no list", "1. no list", "a\n===", "# no heading", "**not bold**", "![no](image)", "a | b"):
        import markdown_it

        html = markdown_it.MarkdownIt().render(said(text))
        assert not any(f"<{tag}" in html for tag in ("ul", "ol", "h1", "h2", "strong", "img", "table")), html
