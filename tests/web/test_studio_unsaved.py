"""What a lead typed and did not save is kept in the browser: it comes back after a reload, to the same person alone, and a browser
that sends nonsense closes nothing."""

from __future__ import annotations

import json
from typing import Any

import gradio as gr
import pytest

from bot.desk import Desk
from bot.web.pages.staff import StaffPage
from bot.web.pages.studio import unsaved
from bot.web.pages.studio.form import Aside, Fields, Opened
from bot.web.pages.studio.tab import Studio
from bot.web.pages.studio.unsaved import Stored, checked, edits_of, with_edits
from tests.web.test_studio import ADA, BEN, fields, load, opened, page_of, save

VARIABLE = {"name": "shop", "description": "d", "default": "", "required": True}


def edits(desk: Desk, role: str = "Answer.", note: str = "why", at: Opened | None = None) -> Aside:
    return Aside(at or opened(), Fields.read(fields(desk, role=role)), note)


async def keep(studio: Studio, values: list[Any], stored: Stored, who: Any = ADA, aside: Any = ()) -> dict[Any, Any]:
    return await studio.keeping.keep(who, opened(), list(aside), "why", stored, *values)


async def fetched(studio: Studio, kept: Any, who: Any = ADA) -> Stored:
    """What the browser kept, by way of the wire."""
    return await studio.keeping.fetch(who, json.loads(json.dumps(kept)))


async def test_what_was_typed_comes_back_after_a_reload(studio: Studio, desk: Desk) -> None:
    editor, keeping = studio.editor, studio.keeping
    put = edits(desk, "Put aside.")
    shown = await keep(studio, fields(desk, role="Answer."), {}, aside=[put])
    stored = await fetched(studio, shown[keeping.store])
    assert stored == shown[keeping.stored]
    again = await load(studio, stored=stored)
    assert again[editor.aside] == [put, edits(desk)]
    assert again[editor.back_button] == gr.update(value="Bring my edits of support@1 back", visible=True)
    assert "not saved" in again[editor.notice]
    back = await studio.bring_back(ADA, "", again[editor.opened], again[editor.aside], "", *fields(desk))
    assert (back[editor.role], back[editor.note], back[editor.opened]) == ("Answer.", "why", opened())
    assert back[editor.aside] == [put]
    assert editor.aside not in await load(studio, opened(), stored), "while something is open nothing comes on top"


async def test_it_is_written_while_there_is_something_that_is_not_saved(studio: Studio, desk: Desk) -> None:
    store, values = studio.keeping.store, fields(desk, role="Answer and greet.")
    assert store not in await keep(studio, fields(desk), {}), "another page of this browser may have written"
    first = (await keep(studio, values, {}))[store]
    assert store not in await keep(studio, values, first)
    await save(studio, ADA, opened(), "Greets.", values)
    after = await studio.keeping.keep(ADA, opened(2, 2), [], "", first, *values)
    assert after[store] == {}


async def test_each_person_gets_their_own_alone(studio: Studio, desk: Desk) -> None:
    editor = studio.editor
    adas = (await keep(studio, fields(desk, role="As ada."), {}))[studio.keeping.store]
    assert editor.back_button not in await load(studio, stored=adas, who=BEN)
    both = (await keep(studio, fields(desk, role="As ben."), adas, BEN))[studio.keeping.store]
    for who, role in ((ADA, "As ada."), (BEN, "As ben.")):
        assert [aside.fields.role for aside in (await load(studio, stored=both, who=who))[editor.aside]] == [role]
    assert (await keep(studio, fields(desk), both, BEN))[studio.keeping.store] == adas, "who saved empties their own"


async def test_edits_of_a_prompt_that_is_gone_are_left_out(studio: Studio, desk: Desk) -> None:
    gone = edits(desk, at=Opened(name="gone", version=1, latest=1))
    again = await load(studio, stored=with_edits({}, "ada", [gone, edits(desk)]))
    assert again[studio.editor.aside] == [edits(desk)]


def changed(desk: Desk, **changes: Any) -> dict[str, Any]:
    """One edit as the browser sends it, with something in place of what it was: a__b is b of a."""
    plain: dict[str, Any] = json.loads(json.dumps(with_edits({}, "ada", [edits(desk)])))["ada"][0]
    for path, value in changes.items():
        *above, last = path.split("__")
        place = plain
        for key in above:
            place = place[key]
        place[last] = value
    return plain


@pytest.mark.parametrize(
    "changes",
    [
        {"opened": None}, {"opened__version": "x"}, {"opened__version": 0}, {"opened__version": 10**30}, {"opened__latest": []},
        {"opened__name": "x" * 101}, {"opened__before": "1"}, {"note": 3}, {"fields": []}, {"fields__role": None},
        {"fields__examples": [["a"]]}, {"fields__examples": [["a", {}]]}, {"fields__answering": {"technique": []}},
        {"fields__answering__technique": "prayer"}, {"fields__answering__shown": ""}, {"fields__answering__tokens": 7},
        {"fields__answering__variables": [{**VARIABLE, "required": "perhaps"}]}, {"fields__answering__variables": [{"a": 1}]},
    ],
    ids=str,
)  # fmt: skip
async def test_a_broken_edit_is_left_out_and_the_tab_opens(studio: Studio, desk: Desk, changes: dict[str, Any]) -> None:
    stored = await fetched(studio, {"ada": [changed(desk, **changes), changed(desk), None, "x", []]})
    assert edits_of(stored, "ada") == [edits(desk)], "the whole one among them stays"
    again = await load(studio, stored=stored)
    assert again[studio.editor.opened] == opened()
    assert again[studio.editor.aside] == [edits(desk)]


@pytest.mark.parametrize(
    "kept",
    [None, "", [], 7, {"ada": None}, {"ada": {}}, {"__type__": ["update"]}, {"ada": ["\ud800"]}, {"ada": ["x" * 600_000]}],
    ids=lambda kept: str(kept)[:20].encode("ascii", "replace").decode(),
)
async def test_nonsense_is_nothing(studio: Studio, kept: Any) -> None:
    stored = await fetched(studio, kept)
    assert stored == {}
    assert (await load(studio, stored=stored))[studio.editor.opened] == opened()


def test_a_deep_one_is_nothing() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert checked({"ada": deep}) == {}


def test_where_there_is_too_much_others_go_first_and_then_the_oldest(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = edits(desk, "1" * 1000), edits(desk, "2" * 1000)
    bens = with_edits({}, "ben", [first])
    for most, kept in ((9_000, {"ada": 2, "ben": 1}), (5_000, {"ada": 2}), (3_000, {"ada": 1}), (1_000, {})):
        monkeypatch.setattr(unsaved, "MAX_KEPT", most)
        stored = with_edits(bens, "ada", [first, second])
        assert {who: len(found) for who, found in stored.items()} == kept
        assert edits_of(stored, "ada") == [first, second][2 - kept.get("ada", 0) :], most
    unwritable = edits(desk, "\ud800")
    assert edits_of(with_edits({}, "ada", [unwritable]), "ada") == []


def test_what_the_form_was_filled_from_comes_from_the_browser_with_its_texts(studio: Studio) -> None:
    """A server that has opened another version already must not take the old texts for its own."""
    assert not studio.editor.opened.stateful, "held by the browser, like the boxes"


@pytest.mark.parametrize(
    "wrong",
    [
        "support@2",
        {"name": "support"},
        {"name": 1, "version": 1, "latest": 1},
        {"name": "support", "version": "two", "latest": 3},
        {"name": "support", "version": 0, "latest": 3},
        {"name": "support", "version": 1, "latest": 3, "before": ["x"]},
    ],
)
async def test_a_browser_that_says_its_form_was_filled_from_nonsense_is_refused(
    studio: Studio, desk: Desk, wrong: Any
) -> None:
    with pytest.raises(gr.Error, match="names no version"):
        await studio.pick_name(ADA, "support", "", wrong, [], "", *fields(desk, role="Typed."))
    saved = await studio.save(ADA, "", wrong, "Ada", "why", *fields(desk, role="Typed."))
    assert "names no version" in saved[studio.result].told
    assert desk.prompts.versions("support") == [1]


async def test_a_form_whose_version_nobody_knows_is_not_filled_over(studio: Studio, desk: Desk) -> None:
    values, forgotten = fields(desk, role="Typed since."), Opened()  # type: ignore[typeddict-item]
    for handler in (
        studio.load(ADA, forgotten, "production", "", None, {}, *values),
        studio.pick_name(ADA, "support", "", forgotten, [], "", *values),
        studio.pick_version(ADA, 1, "", forgotten, [], "", *values),
        studio.bring_back(ADA, "", forgotten, [edits(desk)], "", *values),
    ):
        with pytest.raises(gr.Error, match="no longer knows which version"):
            await handler
    refused = await studio.begin(ADA, "order-status", "apologise", "", forgotten, [], "", *values)
    assert "no longer knows" in refused[studio.shelf.notice]
    assert desk.prompts.names() == ["support"]
    stored = with_edits({}, "ada", [edits(desk)])
    shown = await studio.keeping.keep(ADA, forgotten, [], "", stored, *values)
    assert "Copy what you typed since" in shown[studio.editor.notice]
    assert shown[studio.keeping.stored] == stored
    assert studio.keeping.store not in shown, "what the browser kept stays"
    empty = await studio.keeping.keep(ADA, forgotten, [], "", {}, *[""] * len(values))
    assert studio.editor.notice not in empty, "a page that is not filled yet"


async def test_the_store_is_read_before_the_tab_is_filled_and_starts_nothing(desk: Desk) -> None:
    with gr.Blocks() as page:
        studio = StaffPage(desk).studio
    keeping, store = studio.keeping, studio.keeping.store
    assert store.parent is page, "in a tab it would have no value when that is first opened"
    assert (store.storage_key, store.secret) == ("switchboard-unsaved-prompts",) * 2, "as it was before a restart"
    listeners = {fn._id: fn for fn in page_of(studio).fns.values()}
    [loading] = [fn for fn in listeners.values() if fn.fn == studio.load]
    assert listeners[loading.trigger_after].fn == keeping.fetch
    keeps, looks = ([fn for fn in listeners.values() if fn.fn == handler] for handler in (keeping.keep, studio.look))
    assert {fn.trigger_after for fn in keeps} == {fn._id for fn in looks}, "after every look, and at no other time"
    started = {box for fn in listeners.values() for box, _ in fn.targets}
    assert not started & {store._id, keeping.stored._id}
