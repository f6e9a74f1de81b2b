"""What is wrong with the studio's form is told with the box, line and column where it stands."""

from __future__ import annotations

import re

import pytest

from bot.desk import Desk
from bot.errors import PromptError
from bot.web.pages.studio.answering import Row
from bot.web.pages.studio.form import EXAMPLES, Fields, edited
from bot.web.pages.studio.tab import Studio
from tests.prompts.test_hostile import TEMPLATES
from tests.web.test_studio import ADA, fields, opened, save


@pytest.mark.parametrize("place", ["role", "template", "agent"])
def test_hostile_templates_are_refused_with_their_place(desk: Desk, place: str) -> None:
    parent = desk.prompts.get("support@1").prompt
    for text in TEMPLATES:
        if place == "template" and text == "{message}":
            continue
        change = {"examples": (("hi", text),)} if place == "agent" else {place: "{message}" * (place == "template") + text}
        with pytest.raises(PromptError) as caught:
            edited(parent, Fields.read(fields(desk, **change)), "ada", "n")
        assert re.search(r"\w, line \d+, column \d+: ", str(caught.value)), text
        assert len(str(caught.value)) < 20_000


@pytest.mark.parametrize(
    ("agents", "told"),
    [
        (("a.", "b.", "c {who}"), "examples[3].agent, line 1, column 3"),
        (("a.", "b.", ""), "examples[3].agent, line 1, column 1: it is empty"),
        (("a.", *["b."] * EXAMPLES, "{who}"), f"examples[{EXAMPLES + 2}].agent"),
    ],
)
async def test_an_example_goes_by_its_boxs_number(studio: Studio, desk: Desk, agents: tuple[str, ...], told: str) -> None:
    boxes = dict(zip(studio.editor.fields, fields(desk, examples=tuple(("q?", agent) for agent in agents)), strict=True))
    boxes[studio.editor.customers[0]] = boxes[studio.editor.agents[0]] = ""
    assert told in (await save(studio, ADA, opened(), "Mine.", list(boxes.values())))[studio.editor.notice]


async def test_a_variable_goes_by_its_boxs_number(studio: Studio, desk: Desk) -> None:
    rows = (Row("a", "the a"), Row("b", "the b"), Row("", "the c"))
    boxes = dict(zip(studio.editor.fields, fields(desk, variables=rows), strict=True))
    answering = studio.editor.answering
    boxes[answering.names[0]] = boxes[answering.descriptions[0]] = ""
    shown = await save(studio, ADA, opened(), "Mine.", list(boxes.values()))
    assert "Variable 3 has no name" in shown[studio.editor.notice]


def test_an_empty_row_is_no_edit(studio: Studio, desk: Desk) -> None:
    rows = (("q?", "a."), ("r?", "b."))
    kept = Fields.read(fields(desk, examples=rows))
    boxes = dict(zip(studio.editor.fields, fields(desk, examples=(("", ""), *rows)), strict=True))
    assert Fields.read(list(boxes.values())) == kept
