"""Publishing in the studio, without a browser: cases first, forcing that is kept, undo, and two leads who move one label."""

from __future__ import annotations

import asyncio
from typing import Any

import gradio as gr
import pytest

from bot.desk import Desk
from bot.errors import EngineError
from bot.prompts.cases import Cases
from bot.prompts.schema import Variable
from bot.prompts.version import PromptVersion
from bot.publishing.labelling import Wish, put_label
from bot.publishing.trial import Outcome
from bot.types import AgentSpec
from bot.web.pages.studio.form import Opened
from bot.web.pages.studio.running import try_versions
from bot.web.pages.studio.tab import Studio
from tests.web.test_studio import ADA, BEN, all_of, fields, opened, page_of, replies, save

PASSING = "Hello, you are welcome."
"""Passes each case, for either may ask first."""


@pytest.fixture
async def second(studio: Studio, desk: Desk) -> dict[Any, Any]:
    """A second version, opened: what the page shows of its labels."""
    await save(studio, ADA, opened(), "Greets.", fields(desk, role="Answer and greet."))
    return studio.publishing.shown(desk.prompts.get("support@2"))


async def then(studio: Studio, who: Any, label: str, shown: dict[Any, Any], at: Opened | None = None) -> dict[Any, Any]:
    """What the page shows once it has asked for the labels, too, with version 2 open where nothing else is said."""
    part = studio.publishing
    return shown | await part.refresh(who, at or opened(2, 2), label, "", shown.get(part.tried))


async def publish(studio: Studio, desk: Desk, who: Any, label: str, why: str, seen: Any) -> dict[Any, Any]:
    shown = await all_of(studio.publishing.publish(who, opened(2, 2), label, why, seen, None, *fields(desk, 2)))
    return await then(studio, who, label, shown)


async def take_back(studio: Studio, who: Any, label: str, seen: Any) -> dict[Any, Any]:
    return await then(studio, who, label, await studio.publishing.take_back(who, opened(2, 2), label, seen))


async def test_production_asks_for_the_cases_and_undo_takes_one_click(
    studio: Studio, desk: Desk, second: dict[Any, Any]
) -> None:
    part = studio.publishing
    assert second[part.undo_button] == gr.update(visible=False), "it was nowhere before"
    replies(desk, PASSING, PASSING)
    shown = await publish(studio, desk, ADA, "production", "It greets", second[part.seen])
    assert "support: production is on version 2 now, before on version 1." in shown[part.notice]
    assert desk.journal.labels("support") == {"production": 2}
    assert shown[part.undo_button] == gr.update(value="Undo: back to version 1", visible=True)
    assert "support · production 2" in str(shown[studio.shelf.name])
    assert shown[part.why] == ""
    back = await take_back(studio, BEN, "production", shown[part.seen])
    assert "back on version 1" in back[part.notice]
    assert part.why not in back, "a reason that was typed is not for this"
    move = desk.journal.label_moves("support")[0]
    assert (move.version, move.previous, move.who, move.why, move.forced) == (1, 2, "ben", "Undone: It greets", False)
    for text in ("ben", "Undone: It greets", "2 → 1"):
        assert text in back[part.history]


async def test_a_version_that_no_customer_would_be_answered_under_is_refused_before_its_cases_run(
    studio: Studio, desk: Desk
) -> None:
    who = Variable(description="d", default="x", required=True)
    needs = desk.prompts.get("support@1").prompt.model_copy(update={"role": "Hello {who}", "variables": {"who": who}})
    seen = studio.publishing.shown(desk.prompts.save("support", needs, 1))[studio.publishing.seen]
    shown = await publish(studio, desk, ADA, "production", "It greets", seen)
    assert "missing: who" in shown[studio.publishing.notice]
    assert not desk.engine.calls  # type: ignore[attr-defined]
    assert desk.journal.labels("support") == {"production": 1}


async def test_edits_are_told_to_be_no_part_of_it_before_anything_is_run(
    studio: Studio, desk: Desk, second: dict[Any, Any]
) -> None:
    part, at, edits = studio.publishing, opened(2, 2), fields(desk, 2, role="Answer, greet and thank.")

    async def press(warned: Any, values: list[Any]) -> dict[Any, Any]:
        return await all_of(part.publish(ADA, at, "production", "It greets", second[part.seen], warned, *values))

    first = await press(None, edits)
    assert "Version 2, by ada, holds none of your edits." in first[part.notice]
    assert first[part.send_button] == gr.update(visible=True)
    assert part.why not in first, "the reason that was typed stays"
    typed_on = await press(first[part.warned], fields(desk, 2, role="Answer in verse."))
    assert "holds none of your edits" in typed_on[part.notice], "it was told of other edits"
    assert not desk.engine.calls  # type: ignore[attr-defined]
    assert desk.journal.labels("support") == {"production": 1}
    replies(desk, PASSING, PASSING)
    assert "production is on version 2 now" in (await press(first[part.warned], edits))[part.notice]


async def test_after_a_conflict_theirs_is_not_published_under_my_texts_unsaid(
    studio: Studio, desk: Desk, second: dict[Any, Any]
) -> None:
    part, mine = studio.publishing, fields(desk, role="Answer as ben.")
    shown = await save(studio, BEN, opened(), "Mine.", mine)
    mine = [shown.get(box, value) for box, value in zip(studio.editor.fields, mine, strict=True)]
    given = (shown[studio.editor.opened], "staging", "Mine", shown[part.seen])
    first = await all_of(part.publish(BEN, *given, None, *mine))
    assert "Version 2, by ada, holds none of your edits." in first[part.notice]
    assert desk.journal.labels("support") == {"production": 1}
    again = await all_of(part.publish(BEN, *given, first[part.warned], *mine))
    assert "staging is on version 2 now." in again[part.notice]


async def test_the_label_that_customers_meet_asks_for_the_cases_too(
    studio: Studio, desk: Desk, second: dict[Any, Any]
) -> None:
    part = studio.publishing
    desk.settings = desk.settings.model_copy(update={"agent": AgentSpec("", "support@live")})
    replies(desk, "Hello.", "Hello.")
    refused = await publish(studio, desk, ADA, "live", "Urgent", second[part.seen])
    assert "passes 1 of 2 cases" in refused[part.notice]
    assert refused[part.force] == gr.update(visible=True)
    assert desk.journal.labels("support") == {"production": 1}
    forced = await part.publish_anyway(ADA, opened(2, 2), "live", "Urgent", second[part.seen], refused[part.tried])
    assert "live is on version 2 now, forced. It is a new label." in forced[part.notice]


async def test_undo_leads_past_a_version_that_was_put_anew(studio: Studio, desk: Desk, second: dict[Any, Any]) -> None:
    for role in ("Answer and greet.", "Answer and greet warmly."):
        file = desk.prompts.root / "support" / "v2.yaml"
        file.write_text(file.read_text().replace("Answer and greet.", role))
        expected = desk.journal.labels("support")["production"]
        put_label(desk.journal, desk.prompts.get("support@2"), Wish("production", "ada", "It greets", expected), [])
    shown = await then(studio, ADA, "production", second)
    assert shown[studio.publishing.undo_button] == gr.update(value="Undo: back to version 1", visible=True)
    back = await take_back(studio, ADA, "production", shown[studio.publishing.seen])
    assert "production is back on version 1." in back[studio.publishing.notice]
    assert desk.prompts.get("support").version == 1


async def test_the_old_versions_to_ask_are_as_the_labels_are(studio: Studio, desk: Desk, second: dict[Any, Any]) -> None:
    replies(desk, PASSING, PASSING)
    shown = await publish(studio, desk, ADA, "production", "It greets", second[studio.publishing.seen])
    choices = [("Version 2, production", 2), ("Version 1", 1)]
    assert shown[studio.sides.against] == gr.update(choices=choices), "what is chosen stays"
    values = [""] * len(studio.editor.fields)
    again = await studio.load(ADA, opened(2, 2), "production", "", None, {}, *values)
    assert again[studio.sides.against] == gr.update(choices=choices)
    page = page_of(studio)
    asked = [fn for fn in page.fns.values() if fn.fn == studio.publishing.refresh]
    assert all(studio.sides.against in fn.outputs for fn in asked)


async def test_an_error_under_one_version_ends_the_cases_of_the_other(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []

    async def run_cases(agent: Any, version: PromptVersion, *rest: Any) -> list[Outcome]:
        if version.version == 2:
            raise EngineError("The engine is gone.")
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(version.version)
        return []

    monkeypatch.setattr("bot.web.pages.studio.running.run_cases", run_cases)
    first = desk.prompts.get("support@1")
    with pytest.raises(EngineError):
        [step async for step in try_versions(desk, [first, PromptVersion("support", 2, first.prompt)], Cases())]
    assert ended == [1]


async def test_failing_cases_refuse_until_forced_and_that_is_kept(
    studio: Studio, desk: Desk, second: dict[Any, Any]
) -> None:
    part = studio.publishing
    early = await part.publish_anyway(ADA, opened(2, 2), "production", "Urgent", second[part.seen], None)
    assert "Press Publish first" in early[part.notice]
    replies(desk, "Hello.", "Hello.")
    refused = await publish(studio, desk, ADA, "production", "Urgent", second[part.seen])
    assert "passes 1 of 2 cases" in refused[part.notice]
    assert "thanks" in refused[part.results]
    assert "greets" not in refused[part.results], "what passes needs no look"
    assert refused[part.force] == gr.update(visible=True)
    assert desk.journal.labels("support") == {"production": 1}
    forced = await part.publish_anyway(ADA, opened(2, 2), "production", "Urgent", second[part.seen], refused[part.tried])
    shown = await then(studio, ADA, "production", forced)
    assert "forced" in shown[part.notice]
    assert "forced" in shown[part.history]
    again = await take_back(studio, ADA, "production", shown[part.seen])
    onward = await take_back(studio, ADA, "production", again[part.seen])
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
    undone = await take_back(studio, ADA, "staging", now[part.seen])
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
    replies(desk, PASSING, PASSING)
    shown = await publish(studio, desk, ADA, "production", "It greets", second[studio.publishing.seen])
    file = desk.prompts.root / "support" / "v1.yaml"
    file.write_text(file.read_text().replace("two short", "three"))
    back = await take_back(studio, ADA, "production", shown[studio.publishing.seen])
    assert "its content changed" in back[studio.publishing.notice]
    assert desk.journal.labels("support") == {"production": 2}


async def test_after_a_long_run_the_page_shows_what_is_open_by_then(
    studio: Studio, desk: Desk, second: dict[Any, Any]
) -> None:
    part = studio.publishing
    replies(desk, PASSING, PASSING)
    run = part.publish(ADA, opened(2, 2), "production", "It greets", second[part.seen], None, *fields(desk, 2))
    shown = await anext(run)
    meanwhile = await save(studio, ADA, opened(2, 2), "Thanks.", fields(desk, 2, role="Answer, greet and thank."))
    ended = await all_of(run)
    assert not {part.seen, part.labels, part.undo_button, studio.shelf.version} & set(ended)
    shown |= meanwhile | ended
    assert shown[part.send_button] == gr.update(visible=True), "its text is the opened version's"
    assert shown[part.seen]["ref"] == "support@3"
    assert desk.journal.labels("support") == {"production": 2}
    shown = await then(studio, ADA, "production", shown, meanwhile[studio.editor.opened])
    assert shown[part.send_button] == gr.update(value="Publish version 3")
    assert shown[part.seen] == {"ref": "support@3", "labels": {"production": 2}, "back": shown[part.seen]["back"]}
    assert shown[part.undo_button] == gr.update(value="Undo: back to version 1", visible=True)
    assert ("support · production 2", "support") in shown[studio.shelf.name]["choices"]
    assert "value" not in shown[studio.shelf.version], "another one may just have been chosen"


async def test_cases_that_failed_can_be_passed_over_for_their_own_version_alone(
    studio: Studio, desk: Desk, second: dict[Any, Any]
) -> None:
    part = studio.publishing
    replies(desk, "Hello.", "Hello.")
    shown = await publish(studio, desk, ADA, "production", "Urgent", second[part.seen])
    for label, at, offered in (
        ("production", opened(2, 2), True),
        ("production", opened(1, 2), False),
        ("staging", opened(2, 2), False),
    ):
        assert (await then(studio, ADA, label, shown, at))[part.force] == gr.update(visible=offered)


async def test_labels_that_were_shown_for_another_version_move_nothing(
    studio: Studio, desk: Desk, second: dict[Any, Any]
) -> None:
    part, seen = studio.publishing, studio.publishing.shown(desk.prompts.get("support@1"))[studio.publishing.seen]
    tried = (desk.prompts.get("support@2"), [])
    for shown in (
        await publish(studio, desk, ADA, "staging", "mine", seen),
        await part.publish_anyway(ADA, opened(2, 2), "production", "mine", seen, tried),
        await part.take_back(ADA, opened(2, 2), "production", seen),
    ):
        assert "support@2 is open, and the labels were shown for support@1" in shown[part.notice]
    assert desk.journal.labels("support") == {"production": 1}


async def test_stopping_says_no_more_than_that(studio: Studio, desk: Desk, second: dict[Any, Any]) -> None:
    """The label may have been put a moment before."""
    put_label(desk.journal, desk.prompts.get("support@2"), Wish("production", "ada", "It greets", 1), [])
    shown = await then(studio, ADA, "production", await studio.publishing.stopped(ADA))
    assert shown[studio.publishing.notice].count("Stopped.") == 1
    assert "published" not in shown[studio.publishing.notice]
    assert "version 2" in shown[studio.publishing.labels]


def test_the_labels_are_asked_for_after_every_move_and_opening(studio: Studio) -> None:
    part, page = studio.publishing, page_of(studio)
    moves = {fn._id for fn in page.fns.values() if fn.fn in (part.publish, part.publish_anyway, part.take_back)}
    asked = [fn for fn in page.fns.values() if fn.fn == part.refresh]
    assert {fn.trigger_after for fn in asked} == {*moves, None}
    assert [(studio.editor.opened._id, "change")] in [fn.targets for fn in asked]


@pytest.mark.parametrize("name", ["cases", "sides"])
async def test_a_run_and_its_results_end_where_another_version_is_opened(studio: Studio, name: str) -> None:
    part, page = getattr(studio, name), page_of(studio)
    run = next(
        fn._id
        for fn in page.fns.values()
        if fn.fn in (studio.cases.run, studio.sides.ask) and part.send_button in fn.outputs
    )
    opening = [fn for fn in page.fns.values() if (studio.editor.opened._id, "change") in fn.targets]
    assert any(run in fn.cancels for fn in opening)
    assert [fn.fn == part.clear for fn in opening].count(True) == 1
    shown = await part.clear(ADA)
    assert shown[part.notice] == ""
    assert (shown[part.send_button], shown[part.stop_button]) == (gr.update(visible=True), gr.update(visible=False))
