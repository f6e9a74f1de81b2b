"""How a prompt answers, in the studio's form: technique, examples shown, decoding and variables, there and back, in words where
they are wrong, and theirs where somebody else saved and I had not touched them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bot.desk import Desk
from bot.errors import PromptError
from bot.prompts.library import DRAFT
from bot.prompts.schema import Decoding, Example, Prompt, Select, Variable
from bot.prompts.version import PromptVersion
from bot.web.pages.html import escape
from bot.web.pages.studio.answering import (
    ALL,
    BOXES,
    DECODING,
    FIGURES,
    SELECT,
    TEXTS,
    VARIABLES,
    Answering,
    Row,
    label,
    merged,
    settings,
    words,
)
from bot.web.pages.studio.form import Fields, is_edited
from bot.web.pages.studio.tab import Studio
from bot.web.pages.studio.texts_html import about_html
from tests.web.test_studio import ADA, BEN, fields, opened, page_of, save

EXAMPLES = [Example(customer="a?", agent="b.", source="s")]


def prompt(desk: Desk, **changes: Any) -> Prompt:
    return desk.prompts.get("support@1").prompt.model_copy(update=changes)


FULL = {
    "technique": "chain-of-thought",
    "role": "Answer.",
    "examples": EXAMPLES,
    "select": Select(by="similarity", count=4, tokens=300),
    "decoding": Decoding(
        temperature=0.1 + 0.2, top_p=0.9, max_tokens=80, stop=["\n\n", "a\\nb", " x"], no_repeat_ngram_size=5
    ),
    "variables": {
        "shop": Variable(description="the shop", default=""),
        "who": Variable(description="who asks", required=True, default="Wren"),
        "place": Variable(description="where"),
    },
}


@pytest.mark.parametrize("changes", [FULL, {}, {"technique": "classify"}, {"decoding": Decoding(stop=[])}])
def test_what_a_prompt_holds_goes_into_the_boxes_and_back(desk: Desk, changes: dict[str, Any]) -> None:
    parent = prompt(desk, **changes)
    values = Answering.of(parent).values()
    assert len(values) == BOXES
    read = Answering.read(values)
    assert read == Answering.of(parent)
    again = parent.model_copy(update={"technique": "x"}).model_dump() | settings(read, parent, bool(parent.examples))
    assert Prompt.model_validate(again).hash == parent.hash


async def test_all_of_it_is_edited_saved_and_shown_as_a_change(studio: Studio, desk: Desk) -> None:
    shop = Row("shop", "The shop", "Larkmoor's")
    values = fields(
        desk, role="Answer for {shop}, {who}.", examples=(("a?", "b."), ("c?", "d.")), technique="chain-of-thought",
        shown="similarity", count="1", tokens="", temperature="0.70", top_p="", max_tokens=" 90 ", stop="\\n\nBye",
        variables=(shop, Row("{who}", "Who asks", "", True)),
    )  # fmt: skip
    changed = await studio.changes.look(ADA, opened(), 1, DRAFT, *values)
    for place in (
        "Technique",
        "Variable shop",
        "Variable who",
        "Examples shown",
        "temperature",
        "Longest reply",
        "Stop before",
    ):
        assert place in changed
    assert "at most 1" in changed
    assert "support@2 is saved" in (await save(studio, ADA, opened(), "All.", values))[studio.editor.notice]
    saved = desk.prompts.get("support@2").prompt
    assert (saved.technique, saved.select) == ("chain-of-thought", Select(by="similarity", count=1))
    assert saved.decoding.model_dump(exclude_none=True) == {
        **desk.prompts.get("support@1").prompt.decoding.model_dump(exclude_none=True, exclude={"top_p"}),
        "temperature": 0.7, "max_tokens": 90, "stop": ["\n", "Bye"],
    }  # fmt: skip
    assert saved.variables["shop"] == Variable(description="The shop", default="Larkmoor's")
    assert saved.variables["who"] == Variable(description="Who asks", required=True)
    assert not is_edited(desk.prompts, opened(2, 2), Fields.read(values)), "other ways to write it are no edit"
    back = await studio.pick_version(ADA, 2, "", opened(1, 2), [], "", *fields(desk))
    assert [back[box] for box in studio.editor.answering.fields] == Answering.of(saved).values()
    assert back[studio.editor.answering.most]["visible"]
    assert [back[row]["visible"] for row in studio.editor.answering.rows] == [True] * 2 + [False] * (VARIABLES - 2)


async def test_a_stop_word_with_a_lone_backslash_is_no_edit_once_saved(studio: Studio, desk: Desk) -> None:
    values = fields(desk, stop="C:\\temp\n\\\nx\\n")
    assert "support@2 is saved" in (await save(studio, ADA, opened(), "Stops.", values))[studio.editor.notice]
    assert desk.prompts.get("support@2").prompt.decoding.stop == ["C:\\temp", "\\", "x\n"]
    assert not is_edited(desk.prompts, opened(2, 2), Fields.read(values))
    again = await studio.pick_version(ADA, 1, "", opened(2, 2), [], "", *values)
    assert again[studio.editor.aside] == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"temperature": "warm"}, "Freedom of wording (temperature) is “warm”; it is a number from 0 to 2"),
        ({"temperature": "nan", "max_tokens": "1.5"}, "Longest reply, in tokens is “1.5”; it is a whole number"),
        ({"max_tokens": "1_000"}, "Longest reply, in tokens is “1_000”; it is a whole number"),
        ({"max_tokens": "９０"}, "Longest reply, in tokens is “９０”; it is a whole number"),
        ({"temperature": "0_1.0"}, "Freedom of wording (temperature) is “0_1.0”"),
        ({"shown": "order"}, "there is no example to choose from"),
        ({"shown": "order", "examples": (("a?", "b."),)}, "say how many at most"),
        ({"shown": "order", "examples": (("a?", "b."),), "count": "101"}, "How many examples at most is “101”"),
        ({"stop": "\n".join("abcdefghi")}, "there are 9; 8 are the most"),
        ({"variables": (Row("", "the shop"),)}, "Variable 1 has no name"),
        ({"variables": (Row("shop", " ", "x"),)}, "Variable shop: what it stands for is not said"),
        ({"variables": (Row("shop", "a"), Row("shop", "b"))}, "Two variables are called shop"),
        ({"variables": (Row("9 lives", "a"),)}, "cannot be a variable"),
    ],
)
async def test_what_is_wrong_is_told_in_words_and_nothing_is_saved(
    studio: Studio, desk: Desk, changes: dict[str, Any], says: str
) -> None:
    values = fields(desk, **changes)
    assert says in (await studio.preview.look(ADA, opened(), "", *values))[studio.preview.preview]
    kept = await save(studio, ADA, opened(), "Mine.", values)
    assert says in kept[studio.editor.notice]
    assert not set(kept) & set(studio.editor.fields), "the form stays as it is"
    assert desk.prompts.versions("support") == [1]
    assert await studio.changes.look(ADA, opened(), 1, DRAFT, *values), "what is no prompt yet is compared too"


@pytest.mark.parametrize("key", FIGURES)
def test_the_rule_that_is_told_is_the_schemas(desk: Desk, key: str) -> None:
    """The figures in a rule are taken, and what lies past them is not."""
    rule = words()["figures"][key]["rule"]
    low, high = {"top_p": (0.01, 1)}.get(key, (0, 2) if key == "temperature" else (None, None))
    if low is None:
        low, high = (int(word) for word in rule.split() if word.isdecimal())
    parent = prompt(desk, examples=EXAMPLES, technique="few-shot")
    base = replace(Answering.of(parent), **({"shown": "order"} if key in SELECT else {}))
    kind = FIGURES[key]

    def accepted(value: float) -> bool:
        try:
            settings(replace(base, **{key: str(kind(value))}), parent, True)
        except PromptError:
            return False
        return True

    assert [accepted(low), accepted(high), accepted(low - 1), accepted(high + 1)] == [True, True, False, False]


def test_a_version_with_more_variables_keeps_the_rest(desk: Desk) -> None:
    many = {f"v{number}": Variable(description="d", default=str(number)) for number in range(VARIABLES + 2)}
    parent = prompt(desk, variables=many)
    values = Answering.of(parent).values()
    assert list(settings(Answering.read(values), parent, False)["variables"]) == list(many)
    for column in range(4):
        values[len(TEXTS) + VARIABLES * column] = False if column == 3 else ""
    without = Answering.read(values)
    assert list(settings(without, parent, False)["variables"]) == list(many)[1:]
    saved = parent.model_copy(update={"variables": dict(list(parent.variables.items())[1:])})
    assert list(settings(without, saved, False)["variables"]) == list(many)[1:], "no more go when it is saved once more"


BASE = Answering(
    "straight", ALL, temperature="0.0", max_tokens="80", variables=(Row("a", "A"), Row("b", "B"), Row("c", "C"))
)


@pytest.mark.parametrize(
    ("mine", "theirs", "both"),
    [
        ({"temperature": "1.0"}, {"max_tokens": "90"}, {"temperature": "1.0", "max_tokens": "90"}),
        ({"temperature": "1.0"}, {"temperature": "2.0"}, {"temperature": "1.0"}),
        ({"shown": "order", "count": "3"}, {"shown": "similarity", "tokens": "9"}, {"shown": "order", "count": "3"}),
        ({"variables": (Row("a", "A"), Row("c", "Mine"))}, {"variables": (*BASE.variables, Row("d", "D"))},
         {"variables": (Row("a", "A"), Row("c", "Mine"), Row("d", "D"))}),
        ({"variables": (*BASE.variables, Row("", "no name yet"))}, {"variables": (Row("a", "Theirs"),)},
         {"variables": (Row("a", "Theirs"), Row("", "no name yet"))}),
    ],
)  # fmt: skip
def test_two_edits_of_one_version_are_put_together(
    mine: dict[str, Any], theirs: dict[str, Any], both: dict[str, Any]
) -> None:
    assert merged(replace(BASE, **mine), BASE, replace(BASE, **theirs)) == replace(BASE, **both)


async def test_another_who_saved_meanwhile_loses_nothing_of_how_it_answers(studio: Studio, desk: Desk) -> None:
    theirs = fields(desk, role="Answer.", technique="classify", max_tokens="33", variables=(Row("shop", "The shop", "x"),))
    await save(studio, BEN, opened(), "Theirs.", theirs)
    mine = fields(desk, role="Answer as ada.", temperature="0.5")
    lost = await save(studio, ADA, opened(), "Mine.", mine)
    assert "is theirs now, from version 2" in lost[studio.editor.notice]
    assert lost[studio.editor.answering.technique] == "classify"
    assert studio.editor.answering.figures["temperature"] not in lost, "what was typed is not touched"
    assert "{shop}" in lost[studio.editor.variables]
    values = [lost.get(box, value) for box, value in zip(studio.editor.fields, mine, strict=True)]
    await save(studio, ADA, lost[studio.editor.opened], "Mine.", values)
    saved = desk.prompts.get("support@3").prompt
    assert (saved.role, saved.technique, list(saved.variables)) == ("Answer as ada.", "classify", ["shop"])
    assert (saved.decoding.temperature, saved.decoding.max_tokens) == (0.5, 33)


async def test_a_variable_can_be_put_into_texts_as_soon_as_it_is_named(studio: Studio, desk: Desk) -> None:
    values = fields(desk, variables=(Row("shop", "The shop", "x"),))
    looked = await studio.look(ADA, opened(), "", 1, DRAFT, None, None, *values)
    assert 'data-insert="{shop}"' in looked[studio.editor.variables]
    assert "Variable shop" in looked[studio.changes.changes]


def test_a_setting_has_one_name_wherever_it_is_shown(desk: Desk) -> None:
    known = prompt(desk, **FULL)
    about = about_html(PromptVersion("support", 1, known))
    named = Answering.of(known).named()
    for key in (*DECODING, "stop", "shown"):
        assert f"<th scope='row'>{escape(label(key))}</th>" in about
        assert escape(named[label(key)]) in about
    assert "ngram" not in about
    plain = about_html(PromptVersion("support", 1, prompt(desk, decoding=Decoding(max_tokens=7))))
    assert (label("max_tokens") in plain, label("top_p") in plain, label("shown") in plain) == (True, False, False)


def test_no_box_has_two_listeners_that_wait_for_the_end(studio: Studio) -> None:
    """Gradio would let them start each other without end."""
    # What only ends other listeners is over at once.
    waiting = [set(fn.targets) for fn in page_of(studio).fns.values() if fn.fn and fn.trigger_mode == "always_last"]
    assert any((studio.editor.role._id, "change") in targets for targets in waiting)
    for number, targets in enumerate(waiting):
        assert not any(targets & others for others in waiting[number + 1 :])


async def test_the_limits_show_with_a_choice_of_examples_and_variables_one_by_one(studio: Studio, desk: Desk) -> None:
    values = fields(desk, variables=(Row("shop", "The shop", "x"),))
    boxes = studio.editor.answering
    assert [(await boxes.limit(ADA, shown))["visible"] for shown in ("order", ALL)] == [True, False]
    by_box = dict(zip(studio.editor.fields, values, strict=True))
    rows = await boxes.add(ADA, *(by_box[box] for box in boxes.variables))
    assert [row.get("visible") for row in rows[:3]] == [True, True, None], "one more"
    by_box |= {boxes.names[2]: "who", boxes.names[0]: "", boxes.descriptions[0]: "", boxes.defaults[0]: ""}
    rows = await boxes.add(ADA, *(by_box[box] for box in boxes.variables))
    assert [row.get("visible") for row in rows[:5]] == [True] * 4 + [None], "one more, also after a cleared one"
