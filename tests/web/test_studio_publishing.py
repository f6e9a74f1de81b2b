"""Publishing in the studio, without a browser: cases first, forcing that is kept, undo, and two leads who move one label."""

from __future__ import annotations

from typing import Any

import gradio as gr
import pytest

from bot.desk import Desk
from bot.publishing.labelling import Wish, put_label
from bot.web.pages.studio.tab import Studio
from tests.web.test_studio import ADA, BEN, all_of, fields, opened, replies, save


@pytest.fixture
async def second(studio: Studio, desk: Desk) -> dict[Any, Any]:
    """A second version, opened: what the page shows of its labels."""
    await save(studio, ADA, opened(), "Greets.", fields(desk, role="Answer and greet."))
    return studio.publishing.shown(desk.prompts.get("support@2"))


async def publish(studio: Studio, desk: Desk, who: Any, label: str, why: str, seen: Any) -> dict[Any, Any]:
    return await all_of(studio.publishing.publish(who, opened(2, 2), label, why, seen, "", *fields(desk, 2)))


async def test_production_asks_for_the_cases_and_undo_takes_one_click(
    studio: Studio, desk: Desk, second: dict[Any, Any]
) -> None:
    part = studio.publishing
    assert second[part.undo_button] == gr.update(visible=False), "it was nowhere before"
    replies(desk, "Hello.", "You are welcome.")
    shown = await publish(studio, desk, ADA, "production", "It greets", second[part.seen])
    assert "production is on version 2 now, before on version 1." in shown[part.notice]
    assert desk.journal.labels("support") == {"production": 2}
    assert shown[part.undo_button] == gr.update(value="Undo: back to version 1", visible=True)
    assert "support · production 2" in str(shown[studio.shelf.name])
    back = await part.take_back(BEN, opened(2, 2), "production", "", shown[part.seen], "")
    assert "back on version 1" in back[part.notice]
    move = desk.journal.label_moves("support")[0]
    assert (move.version, move.previous, move.who, move.why, move.forced) == (1, 2, "ben", "Undone: It greets", False)
    for text in ("ben", "Undone: It greets", "2 → 1"):
        assert text in back[part.history]


async def test_failing_cases_refuse_until_forced_and_that_is_kept(
    studio: Studio, desk: Desk, second: dict[Any, Any]
) -> None:
    part = studio.publishing
    early = await part.publish_anyway(ADA, opened(2, 2), "production", "Urgent", second[part.seen], "", None)
    assert "Press Publish first" in early[part.notice]
    replies(desk, "Hello.", "Bye.")
    refused = await publish(studio, desk, ADA, "production", "Urgent", second[part.seen])
    assert "passes 1 of 2 cases" in refused[part.notice]
    assert "thanks" in refused[part.results]
    assert "greets" not in refused[part.results], "what passes needs no look"
    assert refused[part.force] == gr.update(visible=True)
    assert desk.journal.labels("support") == {"production": 1}
    shown = await part.publish_anyway(ADA, opened(2, 2), "production", "Urgent", second[part.seen], "", refused[part.tried])
    assert "forced" in shown[part.notice]
    assert "forced" in shown[part.history]
    again = await part.take_back(ADA, opened(2, 2), "production", "", shown[part.seen], "")
    onward = await part.take_back(ADA, opened(2, 2), "production", "", again[part.seen], "")
    assert desk.journal.labels("support") == {"production": 2}
    assert desk.journal.label_moves("support")[0].forced, "what was forced stays marked"
    assert "version 1" in str(onward[part.undo_button])


async def test_whoever_moves_a_label_second_is_told_and_moves_nothing(
    studio: Studio, desk: Desk, second: dict[Any, Any]
) -> None:
    part, seen = studio.publishing, second[studio.publishing.seen]
    first = desk.prompts.get("support@1")
    put_label(desk.journal, first, Wish("staging", "ben", "a look", None), [])
    late = await publish(studio, desk, ADA, "staging", "mine", seen)
    assert "points at version 1" in late[part.notice]
    assert "ben" in late[part.history], "who was first"
    assert part.why not in late, "the reason that was typed stays"
    assert desk.journal.labels("support")["staging"] == 1
    now = await publish(studio, desk, ADA, "staging", "mine", late[part.seen])
    assert "staging is on version 2 now, before on version 1." in now[part.notice]
    put_label(desk.journal, first, Wish("staging", "ben", "no", 2), [])
    undone = await part.take_back(ADA, opened(2, 2), "staging", "", now[part.seen], "")
    assert "ben moved support@staging to version 1 meanwhile" in undone[part.notice]
    assert desk.journal.labels("support")["staging"] == 1


@pytest.mark.parametrize(
    ("label", "why", "says"), [("staging", " ", "reason is empty"), ("No Name", "x", "not valid"), ("", "x", "not valid")]
)
async def test_a_wish_that_will_not_do_is_told(
    studio: Studio, desk: Desk, second: dict[Any, Any], label: str, why: str, says: str
) -> None:
    shown = await publish(studio, desk, ADA, label, why, second[studio.publishing.seen])
    assert says in shown[studio.publishing.notice]
    assert desk.journal.labels("support") == {"production": 1}


async def test_undo_refuses_a_version_whose_file_was_changed(studio: Studio, desk: Desk, second: dict[Any, Any]) -> None:
    replies(desk, "Hello.", "You are welcome.")
    shown = await publish(studio, desk, ADA, "production", "It greets", second[studio.publishing.seen])
    file = desk.prompts.root / "support" / "v1.yaml"
    file.write_text(file.read_text().replace("two short", "three"))
    back = await studio.publishing.take_back(ADA, opened(2, 2), "production", "", shown[studio.publishing.seen], "")
    assert "its content changed" in back[studio.publishing.notice]
    assert desk.journal.labels("support") == {"production": 2}
