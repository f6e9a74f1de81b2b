"""Cases on an agent, and what a label asks for."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.desk import Desk
from bot.engine.scripted import ScriptedEngine
from bot.errors import Conflict, PromptError
from bot.publishing.labelling import Wish, put_label
from bot.publishing.trial import Outcome, run_cases

CASES = """
every_reply: [{max_sentences: 2}]
cases:
  - {message: "one?", expect: [{contains: "first"}]}
  - {name: second, message: "two?", expect: [{contains: "nowhere"}]}
  - {name: third, message: "three?", variables: {shop: "x"}}
"""


@pytest.fixture
async def outcomes(desk: Desk, workspace: Path) -> list[Outcome]:
    (workspace / "prompts" / "support" / "cases.yaml").write_text(CASES)
    assert isinstance(desk.engine, ScriptedEngine)
    desk.engine.enqueue("The first.", "The first.")
    seen: list[tuple[int, int]] = []
    version = desk.prompts.get("support@1")
    cases = desk.prompts.cases("support")
    found = await run_cases(desk.agent, version, cases, "", "", desk.embedder, lambda n, of: seen.append((n, of)))
    assert seen[-1] == (3, 3)
    return found


async def test_cases_say_what_fails_in_words(outcomes: list[Outcome]) -> None:
    assert [outcome.passed for outcome in outcomes] == [True, False, False]
    assert "nowhere" in outcomes[1].failures[0]
    assert "shop" in outcomes[2].failures[0]


async def test_production_asks_for_the_cases_or_is_forced_and_that_is_kept(desk: Desk, outcomes: list[Outcome]) -> None:
    version = desk.prompts.get("support@1")
    wish = Wish("production", "lead", "a try", expected=1)
    with pytest.raises(PromptError, match="second; third"):
        put_label(desk.journal, version, wish, outcomes)
    assert put_label(desk.journal, version, Wish("production", "lead", "urgent", 1, force=True), outcomes)
    assert not put_label(desk.journal, version, Wish("staging", "lead", "a try", None), outcomes)
    moves = desk.journal.label_moves("support")
    assert [(m.label, m.previous, m.who, m.why, m.forced) for m in moves[:2]] == [
        ("staging", None, "lead", "a try", False),
        ("production", 1, "lead", "urgent", True),
    ]
    assert moves[-1].who == "labels.yaml"
    with pytest.raises(Conflict):
        put_label(desk.journal, version, Wish("staging", "lead", "late", None), [])
    with pytest.raises(PromptError, match="reason"):
        put_label(desk.journal, version, Wish("staging", "lead", " ", 1), [])
    assert len(desk.journal.label_moves("support")) == len(moves)
