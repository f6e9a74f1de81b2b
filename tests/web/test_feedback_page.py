"""Thumbs and the leads' tab without a browser: whose turns, what is told before it is saved, what text may become."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from bot.desk import Desk
from bot.journal.models import TurnRecord
from bot.publishing import corrections
from bot.web.auth import Person
from bot.web.pages.customer import CustomerPage
from bot.web.pages.feedback import FeedbackTab
from tests.conftest import asked_by
from tests.web.test_pages import last
from tests.web.test_studio import page_of

LEAD: Any = SimpleNamespace(state=SimpleNamespace(person=Person("lead", "lead", "mika")))
EVIL = "<script>alert(1)</script>"


def pressed(index: int, liked: bool | str) -> Any:
    return SimpleNamespace(index=index, liked=liked)


@pytest.fixture
async def page(desk: Desk) -> CustomerPage:
    with gr.Blocks():
        return CustomerPage(desk)


@pytest.fixture
async def tab(desk: Desk) -> FeedbackTab:
    with gr.Blocks():
        return FeedbackTab(desk)


@pytest.fixture
async def turned_down(page: CustomerPage, desk: Desk) -> TurnRecord:
    """The second turn of a conversation, with a reason."""
    mine = asked_by("customer")
    conversation = (await last(page.send(mine, "How do I return a gift?", "")))[page.conversation]
    await last(page.send(mine, f"I am ada@example.com. {EVIL}", conversation))
    shown = await page.thumbs.thumb(mine, pressed(3, False), conversation)
    assert shown[page.thumbs.panel] == gr.update(visible=True)
    assert EVIL not in shown[page.thumbs.asks]
    told = await page.thumbs.tell(mine, shown[page.thumbs.turn], "It is wrong", f" look: {EVIL} ")
    assert "Thank you" in told[page.thumbs.thanks]
    return desk.journal.turn(shown[page.thumbs.turn])


async def opened(tab: FeedbackTab) -> dict[Any, Any]:
    return await tab.load(LEAD, "open", {})


async def test_a_thumb_is_kept_at_once_and_shown_after_a_reload(page: CustomerPage, desk: Desk) -> None:
    mine = asked_by("customer")
    conversation = (await last(page.send(mine, "first", "")))[page.conversation]
    await last(page.send(mine, "second", conversation))
    await page.thumbs.thumb(mine, pressed(1, True), conversation)
    await page.thumbs.thumb(mine, pressed(3, False), conversation)
    assert (await page.load(mine))[page.chat]["feedback_value"] == ["Like", "Dislike"]
    assert (await page.thumbs.thumb(mine, pressed(1, ""), conversation))[page.thumbs.panel] == gr.update(visible=False)
    assert (await page.load(mine))[page.chat]["feedback_value"] == [None, "Dislike"]
    await page.thumbs.thumb(mine, pressed(9, False), conversation)
    assert desk.journal.feedback.counts()["open"] == 1


async def test_nobody_judges_anothers_turns(page: CustomerPage, desk: Desk, turned_down: TurnRecord) -> None:
    theirs = asked_by("customer")
    with pytest.raises(gr.Error, match="no conversation"):
        await page.thumbs.thumb(theirs, pressed(1, False), turned_down.conversation_id)
    with pytest.raises(gr.Error, match="no turn"):
        await page.thumbs.tell(theirs, turned_down.id, "It is wrong", "mine")
    assert desk.journal.feedback.entry(turned_down.id).feedback.comment == f"look: {EVIL}"


async def test_a_lead_sees_the_reason_and_what_answered(tab: FeedbackTab, turned_down: TurnRecord) -> None:
    shown = await opened(tab)
    assert shown[tab.entries]["value"] == turned_down.id
    assert shown[tab.state]["choices"][0] == ("Open (1)", "open")
    html = shown[tab.entry]
    for text in ("It is wrong", "look: &lt;script&gt;", "How do I return a gift?", turned_down.prompt, "How it was made"):
        assert text in html
    assert EVIL not in html
    assert shown[tab.customer] == f"I am [EMAIL_1]. {EVIL}"
    assert "e-mail address" in shown[tab.replaced]
    assert "Production stays on version 1." in shown[tab.target]
    assert "It is wrong" in shown[tab.note]


async def test_it_becomes_an_example(tab: FeedbackTab, desk: Desk, turned_down: TurnRecord) -> None:
    shown = await opened(tab)
    kept = shown[tab.opened]
    same = await tab.example(LEAD, "open", kept, "support", shown[tab.customer], shown[tab.agent], "x")
    assert "still the one that was turned down" in same[tab.notice]
    given = ("support", "I am [EMAIL_1].", "Write to bob@example.com.", "Adds one")
    first = await tab.example(LEAD, "open", kept, *given)
    assert desk.prompts.versions("support") == [1]
    assert first[tab.agent] == "Write to [EMAIL_2]."
    assert "e-mail address (1)" in first[tab.notice]
    texts = (first[tab.customer], first[tab.agent])
    done = await tab.example(LEAD, "open", first[tab.opened], "support", *texts, "Adds one")
    assert "support@2 holds the example now" in done[tab.notice]
    assert done[tab.form] == gr.update(visible=False)
    assert done[tab.entries]["choices"] == []
    assert "Done by mika" in done[tab.entry]
    saved = desk.prompts.get("support@2").prompt
    assert (saved.author, saved.note, saved.examples[-1].agent) == ("mika", "Adds one", "Write to [EMAIL_2].")
    again = await tab.example(LEAD, "open", first[tab.opened], "support", *texts, "Adds one")
    assert "done by now, by mika" in again[tab.notice]


async def test_personal_data_in_what_a_lead_adds_is_told_before_it_is_saved(
    tab: FeedbackTab, desk: Desk, turned_down: TurnRecord
) -> None:
    kept = (await opened(tab))[tab.opened]
    first = await tab.example(LEAD, "open", kept, "support", "Hello?", "Hello.", "for ada@example.com")
    assert first[tab.note] == "for [EMAIL_1]"
    assert "e-mail address (1)" in first[tab.notice]
    given = ("open", kept, "support", "Hello?", "Hello.", "of ada@example.com", 0.0, "x\nada@example.com", "")
    first = await tab.case(LEAD, *given)
    assert (first[tab.name], first[tab.contains]) == ("of [EMAIL_1]", "x\n[EMAIL_1]")
    assert desk.prompts.versions("support") == [1]
    given = ("open", first[tab.opened], "support", "Hello?", "Hello.", first[tab.name], 0.0, first[tab.contains], "")
    assert "is a case of support now" in (await tab.case(LEAD, *given))[tab.notice]


async def test_advice_is_sought_where_no_chat_waits_for_it(
    tab: FeedbackTab, turned_down: TurnRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[int] = []

    async def look(*_: Any) -> list[Any]:
        threads.append(threading.get_ident())
        return []

    monkeypatch.setattr(corrections, "lint", look)
    kept = (await opened(tab))[tab.opened]
    await tab.example(LEAD, "open", kept, "support", "Hello?", "Hello.", "x")
    assert threads
    assert threading.get_ident() not in threads


async def test_a_version_saved_meanwhile_is_told_and_the_next_press_goes_on_top(
    tab: FeedbackTab, desk: Desk, turned_down: TurnRecord
) -> None:
    kept = (await opened(tab))[tab.opened]
    theirs = desk.prompts.get("support@1").prompt.model_copy(
        update={"role": "Theirs", "author": "robin", "note": "Shorter."}
    )
    desk.prompts.save("support", theirs, 1)
    told = await tab.example(LEAD, "open", kept, "support", "Hello?", "Hello.", "x")
    assert "robin: Shorter." in told[tab.notice]
    assert tab.agent not in told
    done = await tab.example(LEAD, "open", told[tab.opened], "support", "Hello?", "Hello.", "x")
    assert "support@3" in done[tab.notice]
    assert desk.prompts.get("support@3").prompt.role == "Theirs"


async def test_it_becomes_a_case(tab: FeedbackTab, desk: Desk, turned_down: TurnRecord) -> None:
    kept = (await opened(tab))[tab.opened]
    given = ("open", kept, "support", "Hello?", "Hello.", "greeting", 0.5)
    done = await tab.case(LEAD, *given, "Hello\n\n you \n", "")
    assert "“greeting” is a case of support now" in done[tab.notice]
    made = desk.prompts.cases("support").cases[-1]
    assert [assertion.kind for assertion in made.expect] == ["contains", "contains", "similar"]
    assert [said.customer for said in made.history] == ["How do I return a gift?"]


async def test_what_a_lead_typed_is_kept_while_another_entry_is_looked_at(
    tab: FeedbackTab, page: CustomerPage, turned_down: TurnRecord
) -> None:
    other = asked_by("customer")
    conversation = (await last(page.send(other, "Where is it?", "")))[page.conversation]
    turn = (await page.thumbs.thumb(other, pressed(1, False), conversation))[page.thumbs.turn]
    shown = await opened(tab)
    assert shown[tab.opened]["turn"] == turn
    typed = ("Where is it?", "On its way.", "Says where", "on the way", "way\nMonday", "I do not know")
    away = await tab.pick(LEAD, turned_down.id, shown[tab.opened], *typed)
    assert away[tab.customer].startswith("I am")
    assert [away[field] for field in (tab.name, tab.contains, tab.lacks)] == ["", "", ""]
    back = await tab.pick(LEAD, turn, away[tab.opened], *(away[field] for field in tab.typed))
    assert tuple(back[field] for field in tab.typed) == typed


async def test_an_entry_is_dismissed_and_opened_again(tab: FeedbackTab, desk: Desk, turned_down: TurnRecord) -> None:
    kept = (await opened(tab))[tab.opened]
    done = await tab.dismiss(LEAD, "open", kept)
    assert "dismissed now" in done[tab.notice]
    assert "no longer open" in (await tab.dismiss(LEAD, "open", kept))[tab.notice]
    assert desk.journal.feedback.counts()["dismissed"] == 1
    again = await tab.reopen(LEAD, "open", done[tab.opened])
    assert again[tab.form] == gr.update(visible=True)
    assert again[tab.entries]["value"] == turned_down.id


async def test_what_was_typed_for_an_entry_is_there_when_it_is_opened_again(
    tab: FeedbackTab, turned_down: TurnRecord
) -> None:
    typed = ("Where is it?", "On its way.", "Says where", "on the way", "way", "I do not know")
    done = await tab.dismiss(LEAD, "all", (await opened(tab))[tab.opened], *typed)
    again = await tab.reopen(LEAD, "all", done[tab.opened], *(done[field] for field in tab.typed))
    assert tuple(again[field] for field in tab.typed) == typed
    made = await tab.case(LEAD, "all", again[tab.opened], "support", *typed[:2], "", 0.5, "way", "")
    assert "is a case of support now" in made[tab.notice]
    assert made[tab.agent] != typed[1], "what became something is done with"


def test_of_several_quick_choices_the_last_one_counts(tab: FeedbackTab) -> None:
    modes = {fn.fn: fn.trigger_mode for fn in page_of(tab.entries).fns.values()}
    assert modes[tab.pick] == modes[tab.pick_prompt] == "always_last"


async def test_without_an_entry_or_a_prompt_it_is_told(tab: FeedbackTab, turned_down: TurnRecord) -> None:
    assert "No entry" in (await tab.example(LEAD, "open", {}, "support", "a", "b", "x"))[tab.notice]
    kept = (await opened(tab))[tab.opened]
    assert "no prompt is chosen" in (await tab.case(LEAD, "open", kept, "", "a", "b", "", 0.5, "", ""))[tab.notice]
    assert "There is no prompt" in (await tab.example(LEAD, "open", kept, "other", "a", "b", "x"))[tab.notice]
