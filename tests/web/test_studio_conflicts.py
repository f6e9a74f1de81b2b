"""Two leads who edit one version: what each of them did is in the version that the second saves, whatever row, text or setting it
was, and what neither touched stays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.desk import Desk
from bot.prompts.library import DRAFT
from bot.prompts.schema import Example, Prompt, Variable
from bot.web.pages.studio.answering import VARIABLES, Answering, Row, merged
from bot.web.pages.studio.form import EXAMPLES, Aside, Fields, Opened, shown_fields
from bot.web.pages.studio.tab import Studio
from tests.web.test_studio import ADA, BEN, fields, opened, page_of, save


def variables(*names: str) -> dict[str, Variable]:
    return {name: Variable(description=f"the {name}", default=name) for name in names}


def start(desk: Desk, **changes: Any) -> Prompt:
    """Version 2, which both have open."""
    first = desk.prompts.get("support@1").prompt
    return desk.prompts.save(
        "support", Prompt.model_validate({**first.model_dump(), "role": "Answer.", **changes}), 1
    ).prompt


class Page:
    """The boxes of one lead's page, filled from a version."""

    def __init__(self, studio: Studio, who: Any, values: list[Any], version: int = 2) -> None:
        self.studio, self.who, self.editor = studio, who, studio.editor
        self.boxes = dict(zip(self.editor.fields, values, strict=True))
        self.visible: dict[Any, Any] = {}
        self.opened, self.told = opened(version, 2), ""

    def clear(self, number: int) -> None:
        """The documented way to take a variable out."""
        rows = self.editor.answering
        for column in (rows.names, rows.descriptions, rows.defaults):
            self.boxes[column[number]] = ""
        self.boxes[rows.required[number]] = False

    async def save(self) -> None:
        shown = await save(self.studio, self.who, self.opened, "Mine.", list(self.boxes.values()))
        self.boxes |= {box: value for box, value in shown.items() if box in self.boxes}
        self.visible |= {row: shown[row]["visible"] for row in self.editor.answering.rows if row in shown}
        self.opened, self.told = shown.get(self.editor.opened, self.opened), shown[self.editor.notice]

    @property
    def names(self) -> list[str]:
        return [str(self.boxes[box]) for box in self.editor.answering.names]

    async def save_on_top(self) -> None:
        """What is in the boxes shows, and after a conflict it is saved."""
        await self.save()
        assert "is saved" not in self.told
        for name, row in zip(self.names, self.editor.answering.rows, strict=True):
            assert not name or self.visible.get(row, True)
        await self.save()
        assert "support@4 is saved" in self.told, self.told


def told(found: Mapping[str, Variable]) -> dict[str, str | None]:
    return {name: variable.default for name, variable in found.items()}


@pytest.mark.parametrize(
    ("cleared", "theirs", "both"),
    [
        (0, {"d": "d"}, {"b": "b", "c": "c", "d": "d"}),
        (1, {"c": "theirs"}, {"a": "a", "c": "theirs"}),
        (1, {}, {"a": "a", "c": "c"}),
    ],
)
async def test_a_cleared_row_is_out_and_all_others_stay(
    studio: Studio, desk: Desk, cleared: int, theirs: dict[str, str], both: dict[str, str]
) -> None:
    base = start(desk, variables=variables("a", "b", "c"))
    rows = {row.name: row for row in Answering.of(base).variables}
    rows |= {name: Row(name, f"the {name}", default) for name, default in theirs.items()}
    other = fields(desk, 2, variables=tuple(rows.values()), temperature="0.5")
    mine = Page(studio, ADA, fields(desk, 2))
    mine.clear(cleared)
    assert "support@3 is saved" in (await save(studio, BEN, opened(2, 2), "Theirs.", other))[studio.editor.notice]
    await mine.save_on_top()
    saved = desk.prompts.get("support@4").prompt
    assert told(saved.variables) == both
    assert saved.decoding.temperature == 0.5


async def test_more_variables_than_boxes_are_all_saved_and_told_of(studio: Studio, desk: Desk) -> None:
    base = start(desk, variables=variables(*"abcdefgh"))
    rows = Answering.of(base).variables
    changed = (replace(rows[0], default="theirs"), *rows[1:], Row("x", "the x", "x"), Row("y", "the y", "y"))
    mine = Page(studio, ADA, fields(desk, 2, variables=(*rows, Row("k", "the k", "k"), Row("l", "the l", "l"))))
    await save(studio, BEN, opened(2, 2), "Theirs.", fields(desk, 2, variables=changed))
    await mine.save()
    assert mine.names == list("abcdefghkl"), "what I wrote stays in reach"
    assert "Variable a, Variable x, Variable y" in mine.told
    assert "saved too: x, y." in mine.told
    await mine.save()
    saved = desk.prompts.get("support@4").prompt
    assert told(saved.variables) == {**told(variables(*"abcdefghklxy")), "a": "theirs"}
    mine.clear(2)
    for version in (5, 6):
        mine.boxes[studio.editor.role] = f"Answer {version}."
        await mine.save()
        assert list(desk.prompts.get(f"support@{version}").prompt.variables) == list("abdefghklxy")


async def test_a_row_that_they_moved_past_the_last_box_is_there_once(studio: Studio, desk: Desk) -> None:
    base = start(desk, variables=variables(*"abc"))
    rows = Answering.of(base).variables
    mine = Page(studio, ADA, fields(desk, 2, variables=(replace(rows[0], default="mine"), *rows[1:])))
    theirs = (*rows[1:], *Answering(variables=tuple(Row(f"n{n}", "new", "x") for n in range(VARIABLES))).variables, rows[0])
    await save(studio, BEN, opened(2, 2), "Theirs.", fields(desk, 2, variables=theirs))
    await mine.save_on_top()
    saved = desk.prompts.get("support@4").prompt
    assert told(saved.variables) == {"a": "mine", "b": "b", "c": "c"} | {f"n{n}": "x" for n in range(VARIABLES)}


async def test_texts_that_i_did_not_touch_are_theirs_like_the_settings_that_go_with_them(studio: Studio, desk: Desk) -> None:
    start(desk, role="Answer for {shop}.", variables=variables("shop"), examples=[], technique="zero-shot")
    thinking = "Answer for {store}. Think inside <think> and </think> first."
    pairs = tuple((f"q{n}?", f"a{n} of {{store}}.") for n in range(EXAMPLES + 2))
    theirs = fields(desk, 2, role=thinking, technique="chain-of-thought", examples=pairs,
        variables=(Row("store", "the store", "Larkmoor"),), template="{message} ({store})", nothing="Nothing.")  # fmt: skip
    mine = Page(studio, ADA, fields(desk, 2, temperature="0.5", found="Read:\n{passages}"))
    await save(studio, BEN, opened(2, 2), "Theirs.", theirs)
    await mine.save()
    for part in ("Role", "Nothing found", "Template", "Examples", "Technique", "Variable store"):
        assert part in mine.told.partition("<table")[0]
    assert "Knowledge found" not in mine.told.partition("<table")[0]
    await mine.save()
    saved = desk.prompts.get("support@4").prompt
    assert (saved.role, saved.technique, saved.template) == (thinking, "chain-of-thought", "{message} ({store})")
    assert saved.knowledge is not None
    assert (saved.knowledge.found, saved.knowledge.nothing) == ("Read:\n{passages}", "Nothing.")
    assert tuple((e.customer, e.agent) for e in saved.examples) == pairs
    assert (list(saved.variables), saved.decoding.temperature) == (["store"], 0.5)


async def test_my_examples_stay_mine_as_a_whole(studio: Studio, desk: Desk) -> None:
    pairs = [Example(customer=f"q{n}?", agent=f"a{n}.", source="s") for n in range(EXAMPLES + 3)]
    start(desk, examples=pairs, technique="few-shot")
    mine = Page(studio, ADA, fields(desk, 2))
    mine.boxes[studio.editor.customers[1]] = mine.boxes[studio.editor.agents[1]] = ""
    await save(studio, BEN, opened(2, 2), "Theirs.", fields(desk, 2, role="Answer as ben.", examples=(("x?", "y."),)))
    await mine.save_on_top()
    saved = desk.prompts.get("support@4").prompt
    assert saved.role == "Answer as ben."
    assert saved.examples == [e for n, e in enumerate(pairs) if n != 1], "and where they came from is not forgotten"


async def test_theirs_cannot_be_read_is_told_and_the_form_stays(studio: Studio, desk: Desk) -> None:
    mine = Page(studio, ADA, fields(desk, 1, role="Answer as ada."), version=1)
    mine.opened = opened(1, 1)
    (desk.prompts.root / "support" / "v2.yaml").write_text("{ broken")
    boxes = dict(mine.boxes)
    await mine.save()
    assert "support@2 is not valid YAML" in mine.told
    assert (mine.boxes, mine.opened) == (boxes, opened(1, 1))


async def test_who_goes_back_to_an_older_version_still_does_after_a_conflict(studio: Studio, desk: Desk) -> None:
    start(desk, role="Answer in verse.")
    first = desk.prompts.get("support@1").prompt
    mine = Page(studio, ADA, fields(desk, 1), version=1)
    mine.boxes[studio.editor.answering.figures["temperature"]] = "0.5"
    await save(studio, BEN, opened(2, 2), "Theirs.", fields(desk, 2, max_tokens="33"))
    await mine.save_on_top()
    saved = desk.prompts.get("support@4").prompt
    assert (saved.role, saved.decoding.temperature, saved.decoding.max_tokens) == (first.role, 0.5, 33)


async def test_another_version_that_was_opened_meanwhile_is_not_taken_for_the_one_that_was_saved(
    studio: Studio, desk: Desk
) -> None:
    start(desk)
    for role, told in (("Mine.", "support@3 is saved"), ("Late.", "bring your edits back")):
        values = fields(desk, 2, role=role)
        shown = await save(studio, ADA, opened(2, 2), "Mine.", values, by_then=opened(1, 2))
        assert told in shown[studio.editor.notice]
        assert set(shown) == {studio.editor.notice}, "the form holds version 1"
    settling = next(fn for fn in page_of(studio).fns.values() if fn.fn == studio.settle)
    assert page_of(studio).fns[settling.trigger_after].fn == studio.save
    assert settling.trigger_only_on_success, "what came of another save is not shown once more"


async def test_the_same_from_somebody_else_is_no_save_of_mine(studio: Studio, desk: Desk) -> None:
    same = fields(desk, role="Answer.")
    for who, note, kept in ((BEN, "Theirs.", "Theirs."), (ADA, "Mine.", ""), (BEN, " Theirs. ", " Theirs. ")):
        shown = await save(studio, who, opened(), note, same)
        assert ("is saved" in shown[studio.editor.notice]) == bool(kept)
        assert ("saved by ben meanwhile: Theirs." in shown[studio.editor.notice]) == (not kept)
        assert shown[studio.editor.saved_note] == kept, "which is cleared"
        assert shown[studio.editor.opened] == opened(2, 2)
    assert desk.prompts.versions("support") == [1, 2]


@pytest.mark.parametrize("is_there", [True, False])
async def test_edits_of_a_version_that_cannot_be_read_any_more_are_saved_over_another(
    studio: Studio, desk: Desk, is_there: bool
) -> None:
    start(desk)
    editor, file, mine = studio.editor, desk.prompts.root / "support" / "v2.yaml", fields(desk, 2, role="Mine.")
    file.write_text("{ broken")
    if not is_there:
        file.unlink()
    looked = await studio.look(ADA, opened(2, 2), "", 2, DRAFT, None, None, *mine)
    assert "notice-bad" in looked[studio.changes.changes]
    shown = await studio.pick_version(ADA, 1, "", opened(2, 2), [], "Why.", *mine)
    back = await studio.bring_back(ADA, "", opened(1, 2), shown[editor.aside], "", *fields(desk))
    assert "support@2" in back[editor.notice]
    assert "Your edits are over version 1 now." in back[editor.notice]
    assert (back[editor.role], back[editor.note], back[editor.opened]) == ("Mine.", "Why.", opened(1, 2))
    at: Opened = {**opened(1, 2), "before": (2,)}
    shown = await save(studio, ADA, at, "Why.", mine)
    if not is_there:
        assert "since you began from version 2" in shown[editor.notice]
        shown = await save(studio, ADA, shown[editor.opened], "Why.", mine)
    assert desk.prompts.get(f"support@{shown[editor.opened]['version']}").prompt.role == "Mine."


async def test_edits_of_a_prompt_that_is_gone_keep_no_others_from_coming_back(studio: Studio, desk: Desk) -> None:
    one, gone = (
        Aside(Opened(name=name, version=1, latest=1), Fields.read(fields(desk, role=name)), "")
        for name in ("support", "gone")
    )
    shown = await studio.bring_back(ADA, "", opened(), [one, gone], "", *fields(desk))
    assert "There is no prompt 'gone'" in shown[studio.editor.notice].replace("&#x27;", "'")
    assert shown[studio.editor.aside] == [gone, one]
    assert set(shown) == {studio.editor.aside, studio.editor.notice, studio.editor.back_button}, "the form stays"
    back = await studio.bring_back(ADA, "", opened(), shown[studio.editor.aside], "", *fields(desk))
    assert (back[studio.editor.role], back[studio.editor.aside]) == ("support", [gone])


ROWS = st.dictionaries(st.sampled_from("abcdefghijklmnop"), st.sampled_from("123"), max_size=14)


@given(ROWS, st.data())
def test_every_variable_that_one_of_us_touched_is_as_they_left_it(base: dict[str, str], data: st.DataObject) -> None:
    """Through the boxes, gaps and what has none included; where both touched one it is mine."""

    def answering(rows: Mapping[str, str]) -> Answering:
        return Answering("straight", "all", variables=tuple(Row(name, "d", text) for name, text in rows.items()))

    theirs = data.draw(ROWS)
    boxes, mine = answering(base).values(), dict(base)
    for number, name in enumerate(list(base)[:VARIABLES]):
        if (text := data.draw(st.sampled_from(("", "", "4", base[name])))) != base[name]:
            start = len(boxes) - 1 - 4 * VARIABLES + number
            boxes[start : start + 2 * VARIABLES + 1 : VARIABLES] = (name, "d", text) if text else ("", "", "")
            mine = {**mine, name: text} if text else {key: mine[key] for key in mine if key != name}
    both = merged(Answering.read(boxes), answering(base), answering(theirs))
    assert Answering.read(both.values()) == both
    expected = {name: (mine if mine.get(name) != base.get(name) else theirs).get(name) for name in {*base, *mine, *theirs}}
    assert {row.name: row.default for row in both.variables} == {n: text for n, text in expected.items() if text}
    assert len({row.name for row in both.variables}) == len(both.variables)
    touched = {name for name in mine if mine[name] != base.get(name)}
    assert touched <= {row.name for row in both.variables[:VARIABLES]}


def test_a_name_given_twice_loses_neither_row() -> None:
    base = Answering(variables=(Row("a", "A"),))
    twice = Answering(variables=(Row("a", "mine"), Row("a", "A")))
    assert merged(twice, base, Answering(variables=(Row("a", "theirs"),))) == twice


def test_a_page_that_was_filled_and_not_touched_holds_the_version(desk: Desk) -> None:
    parent = SimpleNamespace(**dict(desk.prompts.get("support@1").prompt))
    parent.examples = [Example(customer=f"q{n}?", agent="a.", source="s") for n in range(EXAMPLES + 2)]
    parent.variables = variables(*"abcdefghijkl")
    assert shown_fields(parent) == Fields.of(parent)  # type: ignore[arg-type]
