"""The studio without a browser: what is found, previewed, compared, tried, judged, saved, published and taken back, and that
nothing a lead typed is lost on the way."""

from __future__ import annotations

import asyncio
import datetime
import shutil
import threading
from collections.abc import AsyncGenerator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from bot.desk import Desk
from bot.engine.scripted import ScriptedEngine
from bot.errors import PromptError
from bot.prompts.cases import FILE, Cases
from bot.prompts.library import DRAFT
from bot.prompts.schema import Prompt
from bot.publishing.labelling import Wish, put_label
from bot.types import AgentSpec, Message, Turn
from bot.web.auth import Person
from bot.web.pages.chat import Chats
from bot.web.pages.studio.answering import Answering, Row
from bot.web.pages.studio.form import Fields, Opened, draft_of, edited, is_edited
from bot.web.pages.studio.results_html import cases_html, history_html, results_html
from bot.web.pages.studio.shelf import matching
from bot.web.pages.studio.tab import Studio
from bot.web.pages.studio.texts_html import changes_html, draft_places, places, preview_html, variables_html

EVIL = "<script>alert(1)</script>"


def by(name: str) -> Any:
    """A request of a lead who is signed in."""
    return SimpleNamespace(state=SimpleNamespace(person=Person(name, "lead", name)))


ADA, BEN = by("ada"), by("ben")


def fields(desk: Desk, version: int = 1, **changes: Any) -> list[Any]:
    """The form's boxes over a version of support, some of them changed."""
    kept = Fields.of(desk.prompts.get(f"support@{version}").prompt)
    answers = {name: changes.pop(name) for name in set(changes) & set(Answering.__dataclass_fields__)}
    return replace(kept, **changes, answering=replace(kept.answering, **answers)).values()


def opened(version: int = 1, latest: int = 1) -> Opened:
    return Opened(name="support", version=version, latest=latest)


def page_of(part: Any) -> Any:
    """The page that a component, or the studio, stands on, with all its listeners."""
    page = part.editor.role if isinstance(part, Studio) else part
    while page.parent:
        page = page.parent
    return page


async def load(studio: Studio, at: Any = None, stored: Any = None, who: Any = ADA) -> dict[Any, Any]:
    """The tab opened by ada, who has version `at` open, or none yet, and whose browser kept `stored`."""
    return await studio.load(who, at or {}, "production", "", None, stored or {}, *[""] * len(studio.editor.fields))


async def all_of(updates: AsyncGenerator[dict[Any, Any], None]) -> dict[Any, Any]:
    """What the page shows after all updates."""
    shown: dict[Any, Any] = {}
    async for update in updates:
        shown |= update
    return shown


async def save(
    studio: Studio, who: Any, at: Opened, note: str, values: list[str], by_then: Opened | None = None
) -> dict[Any, Any]:
    """What the page shows of it, where `by_then` is open once it is over."""
    over = await studio.save(who, "", at, "", note, *values)
    assert set(over) == {studio.result}
    return await studio.settle(who, over[studio.result], by_then or at)


def replies(desk: Desk, *texts: str) -> None:
    assert isinstance(desk.engine, ScriptedEngine)
    desk.engine.enqueue(*texts)


async def test_it_opens_what_customers_meet_and_marks_labels(studio: Studio) -> None:
    shown = await load(studio)
    assert shown[studio.editor.opened] == opened()
    assert shown[studio.shelf.name] == gr.update(choices=[("support · production 1", "support")], value="support")
    assert shown[studio.shelf.version]["choices"] == [("Version 1 · production: A first version to start from.", 1)]
    assert shown[studio.editor.author] == gr.update(value="", visible=False), "who is signed in is the author"


async def test_opened_again_it_shows_what_others_did_and_leaves_the_form(studio: Studio, desk: Desk) -> None:
    first = desk.prompts.get("support@1").prompt
    saved = desk.prompts.save("support", first.model_copy(update={"role": "Answer in verse."}), 1)
    put_label(desk.journal, saved, Wish("production", "ben", "For fun", 1), [])
    again = await load(studio, opened())
    assert not {studio.editor.opened, studio.editor.notice, *studio.editor.fields} & set(again)
    assert again[studio.shelf.name]["choices"] == [("support · production 2", "support")]
    assert [number for _, number in again[studio.shelf.version]["choices"]] == [2, 1]
    assert [number for _, number in again[studio.changes.before]["choices"]] == [DRAFT, 2, 1]
    assert not any("value" in again[box] for box in (studio.shelf.version, studio.changes.before, studio.changes.after))
    assert "version 2" in again[studio.publishing.labels]
    assert again[studio.publishing.seen]["ref"] == "support@1"


async def test_a_broken_scenario_does_not_close_it(studio: Studio, desk: Desk) -> None:
    opening = (await load(studio))[studio.preview.question]
    (desk.prompts.root / "scenarios" / "broken.yaml").write_text("{ broken")
    shown = await load(studio)
    assert shown[studio.editor.opened] == opened()
    assert shown[studio.preview.question] == opening != "How can I reach you?"
    assert opening in shown[studio.sides.questions]["value"]


async def test_search_looks_at_names_notes_and_texts_of_all_versions(studio: Studio, desk: Desk, steps: str) -> None:
    first = desk.prompts.get("support@1").prompt
    desk.prompts.save("support", first.model_copy(update={"role": "Answer in verse.", "note": "For fun."}), 1)
    (desk.prompts.root / "steps" / "v2.yaml").write_text("{ broken")
    library = desk.prompts
    assert matching(library, "") == ["steps", "support"]
    assert matching(library, "VERSE fun") == ["support"]
    assert matching(library, "step") == ["steps"]
    assert matching(library, "connect a person") == ["steps", "support"], "also where a newer version says otherwise"
    found = await studio.shelf.find(ADA, "verse", "steps", Opened(name="steps", version=1, latest=2))
    assert found["choices"] == [("support · production 1", "support")]
    assert found["value"] is None
    for chosen, marked in ((None, "support"), ("steps", "steps")):
        again = await studio.shelf.find(ADA, "", chosen, opened())
        assert again["value"] == marked, "what is open, unless another was chosen a moment ago"


async def test_the_preview_shows_messages_tokens_and_advice(studio: Studio, desk: Desk) -> None:
    look = studio.preview.look
    shown = await look(ADA, opened(), "where is it?", *fields(desk))
    assert "where is it?" in shown[studio.preview.preview]
    assert "that the base reads" in shown[studio.preview.preview]
    assert "Nothing to advise" in shown[studio.preview.findings]
    shown = await look(ADA, opened(), "", *fields(desk, role="Be nice if possible. <think>"))
    for word in ("no goal", "vague"):
        assert word not in shown[studio.preview.findings], "the rule's name is for the terminal"
    for word in ("says nothing that can be checked", "does not say what the agent is to do", "&lt;think&gt;", "mark-error"):
        assert word in shown[studio.preview.findings]
    shown = await look(ADA, opened(), "", *fields(desk, role="Answer {who}."))
    assert "line 1, column 8" in shown[studio.preview.preview]
    assert not shown[studio.preview.findings]


async def test_without_a_sample_question_the_preview_shows_what_a_customer_gets_where_nothing_is_found(
    studio: Studio, desk: Desk
) -> None:
    values = fields(desk, found="Read:\n{passages}", nothing="Nothing was found here.")
    for collection, shows in (("articles", True), ("", False)):
        desk.settings = desk.settings.model_copy(update={"agent": AgentSpec("", "support@production", collection)})
        shown = (await studio.preview.look(ADA, opened(), " ", *values))[studio.preview.preview]
        assert ("Nothing was found here." in shown) == shows


def test_more_than_half_of_the_context_is_marked() -> None:
    message = (Message("user", "x"),)
    assert " over" not in preview_html(message, 50, 100)
    assert " over" in preview_html(message, 51, 100)
    assert "more than half" in preview_html(message, 51, 100)
    assert "not counted" in preview_html(message, 0, 100)


async def test_any_two_versions_and_the_draft_are_compared(studio: Studio, desk: Desk) -> None:
    first = desk.prompts.get("support@1").prompt
    hotter = first.decoding.model_copy(update={"temperature": 0.5})
    desk.prompts.save("support", first.model_copy(update={"decoding": hotter}), 1)
    values = fields(desk, 2, role="Answer {company}'s customers.", examples=(("a?", "b."),))
    look = studio.changes.look
    changed = await look(ADA, opened(2, 2), 2, DRAFT, *values)
    assert "<ins>" in changed
    assert "Example 1, agent" in changed
    assert "<del>zero</del><ins>few</ins>-shot" in changed
    assert "temperature" not in changed
    assert "Freedom of wording (temperature)" in await look(ADA, opened(2, 2), 1, 2, *values)
    assert "say the same" in await look(ADA, opened(2, 2), 2, 2, *values)


def test_an_example_that_is_corrected_keeps_where_it_came_from(desk: Desk) -> None:
    first = desk.prompts.get("support@1").prompt
    known = {"customer": "where is it?", "agent": "Soon.", "source": "conversation r-12"}
    parent = first.model_validate({**first.model_dump(), "technique": "few-shot", "examples": [known]})
    kept = Fields.of(parent)
    for pair, source in (
        (("where is it?", "It comes on Monday."), "conversation r-12"),
        (("where is my lamp?", "Soon."), "conversation r-12"),
        (("something else", "entirely"), "written on the page"),
    ):
        changed = replace(kept, examples=(pair,))
        assert edited(parent, changed, "ada", "n").examples[0].source == source


async def test_old_and_new_answer_customers_questions_and_nothing_is_saved(studio: Studio, desk: Desk) -> None:
    asked = [f"question {n}?" for n in range(4)]
    for place in ("", "console"):
        for text in asked if not place else ["from the console"]:
            chats = Chats(desk, place)
            turn = Turn((Message("user", text),), AgentSpec(), conversation=await chats.begin(Person(text, "customer")))
            await desk.agent.ainvoke(turn)
    offered = studio.sides.shown(desk.prompts.get("support@1"))[studio.sides.questions]
    assert [value for _, value in offered["choices"]] == asked[::-1], "staff's own are left out"
    assert offered["value"] == asked[:0:-1]
    values = fields(desk, role="Answer with a rhyme.")
    shown = await all_of(studio.sides.ask(ADA, opened(), offered["value"], 1, *values))
    html = shown[studio.sides.replies]
    for text in (*asked[1:], "support@1", "The draft"):
        assert text in html
    assert desk.prompts.versions("support") == [1]
    assert isinstance(desk.engine, ScriptedEngine)
    roles = [call.messages[0].content.startswith("Answer with a rhyme") for call in list(desk.engine.calls)[-6:]]
    assert sorted(roles) == [False] * 3 + [True] * 3
    assert desk.journal.questions(10) == asked[::-1], "a trial asks nothing in a customer's name"


async def test_one_side_that_fails_says_so_in_its_place(studio: Studio, desk: Desk) -> None:
    first = desk.prompts.get("support@1").prompt.model_dump()
    first["variables"] = {"shop": {"description": "the shop", "required": True}}
    desk.prompts.save("support", Prompt.model_validate({**first, "role": "Answer for {shop}."}), 1)
    replies(desk, "Hello there.")
    shown = await all_of(studio.sides.ask(ADA, opened(2, 2), ["hello?"], 1, *fields(desk, 2)))
    assert "Hello there." in shown[studio.sides.replies]
    assert "missing: shop" in shown[studio.sides.replies]
    none = await all_of(studio.sides.ask(ADA, opened(), [], 1, *fields(desk)))
    assert "No question is chosen" in none[studio.sides.notice]


async def test_cases_run_with_progress_on_what_stands_in_the_form_beside_production(studio: Studio, desk: Desk) -> None:
    values = fields(desk, role="Answer and greet.")
    updates = [update async for update in studio.cases.run(ADA, opened(), *values)]
    told = "".join(str(update.get(studio.cases.results, "")) for update in updates)
    for done in range(5):
        assert f"{done} of 4 cases" in told
    table = updates[-2][studio.cases.results]
    assert "support@1" in table
    assert "The draft" in table
    assert "“hello?”" in table, "a case's name need not tell what it asks"
    assert "The draft passes 1 of 2 cases." in updates[-2][studio.cases.notice]
    (desk.prompts.root / "support" / "cases.yaml").unlink()
    shown = await all_of(studio.cases.run(ADA, opened(), *values))
    assert "has no cases" in shown[studio.cases.notice]


async def test_what_was_tried_is_marked_once_the_form_holds_something_else(studio: Studio, desk: Desk) -> None:
    values, other = fields(desk, role="Answer and greet."), fields(desk, role="Answer and thank.")
    asked = (await all_of(studio.sides.ask(ADA, opened(), ["hello?"], 1, *values)))[studio.sides.tried]
    run = (await all_of(studio.cases.run(ADA, opened(), *values)))[studio.cases.tried]

    async def marked(at: Opened, values: list[Any], asked: Any, run: Any) -> list[bool]:
        shown = await studio.look(ADA, at, "", 1, DRAFT, asked, run, *values)
        return ["edited the form since" in shown[part.since] for part in (studio.sides, studio.cases)]

    assert await marked(opened(), values, asked, run) == [False, False]
    assert await marked(opened(), other, asked, run) == [True, True]
    assert await marked(opened(), other, None, run) == [False, True], "nothing was asked"
    await save(studio, ADA, opened(), "Thanks.", other)
    assert await marked(opened(2, 2), other, asked, run) == [False, False], "no result stays there"
    for part in (studio.sides, studio.cases):
        cleared = await part.clear(ADA)
        assert (cleared[part.tried], cleared[part.since]) == (None, "")
    looks = [fn for fn in page_of(studio).fns.values() if fn.fn == studio.look]
    runs = {fn._id for fn in page_of(studio).fns.values() if fn.fn in (studio.sides.ask, studio.cases.run)}
    assert runs <= {look.trigger_after for look in looks}, "a look that was under way is made up for"
    for look in looks:
        tried = [box for box in look.inputs if box in (studio.sides.tried, studio.cases.tried)]
        assert tried == [studio.sides.tried, studio.cases.tried], "in the order of look's arguments"


async def test_questions_that_were_typed_stay_while_the_prompt_does(studio: Studio, desk: Desk) -> None:
    sides, edits = studio.sides, fields(desk, role="Answer and greet.")
    kept = [
        await save(studio, ADA, opened(), "Greets.", edits),
        conflict := await save(studio, BEN, opened(), "Mine.", fields(desk, role="Answer as ben.")),
        away := await studio.pick_version(ADA, 1, "", opened(2, 2), [], "", *edits),
        await studio.bring_back(ADA, "", opened(1, 2), away[studio.editor.aside], "", *fields(desk)),
    ]
    assert "was saved since" in conflict[studio.editor.notice]
    assert not any(sides.questions in shown for shown in kept)
    begun = await studio.begin(ADA, "order-status", "apologise", "", opened(), [], "", *edits)
    assert begun[sides.questions]["value"]


async def test_what_the_cases_ask_is_shown_as_it_is_now(studio: Studio, desk: Desk) -> None:
    file = desk.prompts.root / "support" / "cases.yaml"
    told = (await load(studio))[studio.cases.asked]
    for text in ("Every reply", "max sentences: 2", "greets", "“hello?”", "contains: Hello"):
        assert text in told
    file.write_text(
        "cases: [{message: and now?, history: [{customer: Hi., agent: Yes?}], variables: {company: Wren}, knowledge: '',"
        " expect: [{not_contains: nope}]}]"
    )
    told = (await load(studio, opened()))[studio.cases.asked]
    for text in (
        "and now?",
        "Customer: Hi.",
        "Agent: Yes?",
        "with {company}: Wren",
        "with knowledge: none",
        "not contains: nope",
    ):
        assert text in told
    assert told.count("and now?") == 1, "a case without a name goes by its message"
    for text, says in (("{ broken", "not valid YAML"), ("cases: []", "has no cases")):
        file.write_text(text)
        shown = await studio.pick_name(ADA, "support", "", opened(), [], "", *fields(desk))
        assert says in shown[studio.cases.asked], "and the prompt opens"


async def test_a_case_that_was_a_mistake_is_taken_out(studio: Studio, desk: Desk) -> None:
    part = studio.cases
    assert (await load(studio))[part.chosen]["choices"] == ["greets", "thanks"]
    shown = await part.take_out(ADA, opened(), "greets")
    assert "“greets” is no case of support any more" in shown[part.notice]
    assert "name: greets" in shown[part.notice], "what was taken can be written again"
    assert shown[part.chosen] == gr.update(choices=["thanks"], value=None)
    assert "greets" not in shown[part.asked]
    assert [case.title for case in desk.prompts.cases("support").cases] == ["thanks"]
    assert f"# Taken out by ada on {datetime.date.today()}: 'greets'" in (desk.prompts.root / "support" / FILE).read_text()
    for at, title, says in (
        (opened(), "greets", "no case “greets” any more"),
        (opened(), None, "No case is chosen"),
        ({}, "x", "No"),
    ):
        refused = await part.take_out(ADA, at, title)  # type: ignore[arg-type]
        assert says in refused[part.notice]
        assert set(refused) == {part.notice}
    last = await part.take_out(ADA, opened(), "thanks")
    assert last[part.chosen] == gr.update(choices=[], value=None)
    assert desk.prompts.cases("support").every_reply, "what every reply must hold stays"


async def test_closing_a_run_ends_its_cases(studio: Studio, desk: Desk) -> None:
    desk.engine = ScriptedEngine(delay=5.0)
    before = asyncio.all_tasks()
    run = studio.cases.run(ADA, opened(), *fields(desk))
    for _ in range(2):
        await anext(run)
    await asyncio.wait_for(run.aclose(), 5)
    assert asyncio.all_tasks() == before


async def test_who_is_signed_in_is_the_author_and_a_name_cannot_be_borrowed(studio: Studio, desk: Desk) -> None:
    over = await studio.save(ADA, "", opened(), "ben", "Greets.", *fields(desk, role="Answer and greet."))
    assert "support@2 is saved" in over[studio.result].told
    saved = desk.prompts.get("support@2").prompt
    assert (saved.author, saved.note) == ("ada", "Greets.")
    again = await save(studio, ADA, opened(2, 2), "Again.", fields(desk, 2))
    assert "Nothing to save: support@2 holds all of this already" in again[studio.editor.notice]
    for note, role, says in (("", "Answer.", "note is empty"), ("x", "Answer {who}.", "not declared")):
        kept = await save(studio, ADA, opened(2, 2), note, fields(desk, 2, role=role))
        assert says in kept[studio.editor.notice]
        assert not set(kept) & set(studio.editor.fields), "the form stays as it is"


async def test_of_two_who_save_at_once_one_wins_and_the_other_sees_both(studio: Studio, desk: Desk) -> None:
    texts = {"Answer as ada.": ADA, "Answer as ben.": BEN}
    start = threading.Barrier(2)

    def race(role: str, who: Any) -> dict[Any, Any]:
        start.wait()
        return asyncio.run(save(studio, who, opened(), "Mine.", fields(desk, role=role)))

    both = await asyncio.gather(*(asyncio.to_thread(race, role, who) for role, who in texts.items()))
    lost = next(shown for shown in both if "is saved" not in shown[studio.editor.notice])
    assert desk.prompts.versions("support") == [1, 2]
    winner = desk.prompts.get("support@2").prompt
    mine = next(role for role in texts if role != winner.role)
    assert not set(lost) & {*studio.editor.fields, studio.editor.note}, "nothing that was typed is touched"
    for text in (winner.author, "Version 2", "Yours"):
        assert text in lost[studio.editor.notice]
    assert lost[studio.editor.save_button] == "Save mine on top of version 2"
    assert lost[studio.changes.before]["value"] == 2
    on_top = await save(studio, texts[mine], lost[studio.editor.opened], "Mine.", fields(desk, role=mine))
    assert "support@3 is saved" in on_top[studio.editor.notice]
    assert desk.prompts.get("support@3").prompt.role == mine


async def test_a_prompt_is_begun_from_a_template_with_its_cases(studio: Studio, desk: Desk) -> None:
    values = fields(desk, role="Answer. Not saved")
    begun = await studio.begin(ADA, "order-status", "apologise", "", opened(), [], "n", *values)
    assert begun[studio.editor.opened] == Opened(name="order-status", version=1, latest=1)
    assert begun[studio.editor.aside][0].fields.role == "Answer. Not saved"
    assert desk.prompts.get("order-status@1").prompt.author == "ada"
    assert desk.prompts.cases("order-status").cases
    for name, source, says in (
        ("order-status", "apologise", "already"),
        ("../x", "apologise", "not valid"),
        ("x", "nothing", "no template"),
    ):
        refused = await studio.begin(ADA, name, source, "", opened(), [], "", *values)
        assert says in refused[studio.shelf.notice]
        assert set(refused) == {studio.shelf.notice}


async def test_where_there_is_no_prompt_one_is_begun(studio: Studio, desk: Desk) -> None:
    shutil.rmtree(desk.prompts.root / "support")
    empty = await load(studio)
    assert "no prompt yet" in empty[studio.editor.notice]
    source = empty[studio.shelf.source]["value"]
    begun = await studio.begin(ADA, "first", source, "", {}, [], "", *[""] * len(studio.editor.fields))  # type: ignore[typeddict-item]
    assert begun[studio.editor.opened]["name"] == "first"
    assert begun[studio.editor.aside] == []


async def test_edits_are_put_aside_and_brought_back(studio: Studio, desk: Desk) -> None:
    desk.prompts.save("support", desk.prompts.get("support@1").prompt.model_copy(update={"role": "Answer."}), 1)
    editor, first, second = studio.editor, fields(desk, 1, role="First."), fields(desk, 2, role="Second.")
    shown = await studio.pick_version(ADA, 1, "", opened(2, 2), [], "why", *second)
    assert "put aside" in shown[editor.notice]
    assert shown[editor.back_button] == gr.update(value="Bring my edits of support@2 back", visible=True)
    shown = await studio.pick_version(ADA, 2, "", opened(1, 2), shown[editor.aside], "", *first)
    assert len(shown[editor.aside]) == 2, "both are kept"
    third = fields(desk, 2, role="Third.")
    back = await studio.bring_back(ADA, "", opened(2, 2), shown[editor.aside], "", *third)
    assert (back[editor.role], back[editor.opened]) == ("First.", opened(1, 2))
    back = await studio.bring_back(ADA, "", back[editor.opened], back[editor.aside], "", *first)
    assert (back[editor.role], back[editor.note], back[editor.opened]) == ("Second.", "why", opened(2, 2))
    back = await studio.bring_back(ADA, "", back[editor.opened], back[editor.aside], "why", *second)
    assert back[editor.role] == "Third.", "what stood in the form was put aside too"
    untouched = await studio.pick_name(ADA, "support", "", opened(2, 2), [], "", *fields(desk, 2))
    assert untouched[editor.aside] == []


async def test_saving_fills_no_text_and_clears_only_the_note_that_was_saved(studio: Studio, desk: Desk) -> None:
    editor = studio.editor
    saved = await save(studio, ADA, opened(), "Greets.", fields(desk, role="Answer and greet."))
    assert not set(saved) & {*editor.fields, editor.note}, "keys typed meanwhile stay"
    assert saved[editor.opened] == opened(2, 2)
    assert (await editor.clear_note(ADA, saved[editor.saved_note], "Greets."))[editor.note] == ""
    for before, note in (("Greets.", "Greets. And"), ("", "Typed")):
        assert (await editor.clear_note(ADA, before, note))[editor.note] == gr.skip()


async def test_mine_on_top_takes_what_was_not_touched_of_how_it_answers_from_theirs(studio: Studio, desk: Desk) -> None:
    first = desk.prompts.get("support@1").prompt
    hotter = first.decoding.model_copy(update={"temperature": 0.5})
    desk.prompts.save("support", first.model_copy(update={"decoding": hotter}), 1)
    mine = fields(desk, role="Answer as ada.")
    lost = await save(studio, ADA, opened(), "Mine.", mine)
    assert lost[studio.publishing.send_button] == gr.update(value="Publish version 2")
    mine = [lost.get(box, value) for box, value in zip(studio.editor.fields, mine, strict=True)]
    await save(studio, ADA, lost[studio.editor.opened], "Mine.", mine)
    saved = desk.prompts.get("support@3").prompt
    assert (saved.role, saved.decoding.temperature) == ("Answer as ada.", 0.5)


async def test_a_broken_newest_version_is_told_and_the_one_before_opens(studio: Studio, desk: Desk) -> None:
    (desk.prompts.root / "support" / "v2.yaml").write_text("{ broken")
    (desk.prompts.root / "support" / "v3.yaml").mkdir()
    for shown in (
        await load(studio),
        await studio.pick_name(ADA, "support", "", {}, [], "", *[""] * len(studio.editor.fields)),
    ):  # type: ignore[typeddict-item]
        assert shown[studio.editor.opened] == opened(1, 3)
        assert "Version 1 is open instead" in shown[studio.editor.notice]
        assert "cannot be read" in str(shown[studio.shelf.version])


async def test_nothing_chosen_is_told(studio: Studio, desk: Desk) -> None:
    with pytest.raises(gr.Error, match="No prompt is chosen"):
        await studio.pick_name(ADA, None, "", opened(), [], "", *fields(desk))
    assert await studio.changes.look(ADA, opened(), None, DRAFT, *fields(desk)) == ""
    seen = studio.publishing.shown(desk.prompts.get("support@1"))[studio.publishing.seen]
    told = await studio.publishing.take_back(ADA, opened(), None, seen)
    assert "was nowhere before" in told[studio.publishing.notice]


async def test_more_than_eight_examples_are_shown(studio: Studio, desk: Desk) -> None:
    pairs = tuple((f"question {n}?", f"answer {n}.") for n in range(12))
    await save(studio, ADA, opened(), "Many.", fields(desk, examples=pairs))
    shown = await studio.pick_version(ADA, 2, "", opened(1, 2), [], "", *fields(desk))
    assert shown[studio.editor.agents[11]] == "answer 11."
    assert shown[studio.editor.pairs[11]] == gr.update(visible=True)


async def test_no_text_becomes_html(desk: Desk) -> None:
    first = desk.prompts.get("support@1").prompt.model_dump()
    variables = {"shop": {"description": EVIL, "default": EVIL}}
    prompt = type(desk.prompts.get("support@1").prompt).model_validate({**first, "role": EVIL, "variables": variables,
        "knowledge": None})  # fmt: skip
    move = SimpleNamespace(at=desk.journal.label_moves("support")[0].at, label=EVIL, previous=1, version=2, forced=True,
        who=EVIL, why=EVIL)  # fmt: skip
    outcome: Any = SimpleNamespace(case=EVIL, message=EVIL + EVIL, passed=False, failures=(EVIL,), reply=EVIL)
    case = {"name": EVIL, "message": EVIL, "history": [{"customer": EVIL, "agent": EVIL}], "variables": {EVIL: EVIL},
        "knowledge": EVIL, "expect": [{"similar": {"to": EVIL, "at_least": 0.5}}]}  # fmt: skip
    cases = Cases.model_validate({"every_reply": [{"contains": EVIL}], "cases": [case]})
    row = Row(EVIL, EVIL, EVIL)
    mine = Fields(EVIL, "", "", "{message}", ((EVIL, EVIL),), Answering(EVIL, EVIL, temperature=EVIL, variables=(row,)))
    for html in (
        variables_html((row,)), changes_html(places(prompt), draft_places(mine)),
        history_html([move]), results_html(EVIL, [outcome]), cases_html(cases),  # type: ignore[list-item]
    ):  # fmt: skip
        assert "<script" not in html
        assert "&lt;" in html


def test_a_draft_is_no_version_on_disk(desk: Desk) -> None:
    values = Fields.read(fields(desk, role="Answer."))
    draft = draft_of(desk.prompts, opened(), values)
    assert draft.ref == "support@0"
    assert desk.prompts.trying(draft).get("support@0") is draft
    with pytest.raises(PromptError, match="not declared"):
        draft_of(desk.prompts, opened(), Fields.read(fields(desk, role="{who}")))
    assert draft_of(desk.prompts, opened(), Fields.read(fields(desk))).ref == "support@1"


def test_line_ends_are_no_edit(desk: Desk) -> None:
    role = {"role": "Answer.\r\nBriefly.", "author": "ada", "note": "From another editor."}
    desk.prompts.save("support", desk.prompts.get("support@1").prompt.model_copy(update=role), 1)
    for ends in ("\n", "\r\n"):
        boxes = [box.replace("\r\n", ends) if isinstance(box, str) else box for box in fields(desk, 2)]
        assert not is_edited(desk.prompts, opened(2, 2), Fields.read(boxes))
        assert draft_of(desk.prompts, opened(2, 2), Fields.read(boxes)).ref == "support@2"
    typed = Fields.read(fields(desk, role="Answer.\r\nKindly."))
    assert draft_of(desk.prompts, opened(), typed).prompt.role == "Answer.\nKindly."
