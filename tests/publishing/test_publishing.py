"""Cases on an agent, and what a label asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bot.desk import Desk
from bot.engine.scripted import ScriptedEngine
from bot.errors import Conflict, NotFound, PromptError
from bot.prompts.schema import Variable
from bot.prompts.version import PromptVersion
from bot.publishing.labelling import Wish, put_label, told, undo, way_back
from bot.publishing.trial import Outcome, run_cases
from bot.refs import BadName

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


def second(desk: Desk, **changes: Any) -> PromptVersion:
    """Another version of the prompt that is in production."""
    prompt = desk.prompts.get("support@1").prompt.model_copy(update={"role": "Two", **changes})
    return desk.prompts.save("support", prompt, parent=1)


async def test_cases_say_what_fails_in_words(outcomes: list[Outcome]) -> None:
    assert [outcome.passed for outcome in outcomes] == [True, False, False]
    assert "nowhere" in outcomes[1].failures[0]
    assert "shop" in outcomes[2].failures[0]


async def test_production_asks_for_the_cases_or_is_forced_and_that_is_kept(desk: Desk, outcomes: list[Outcome]) -> None:
    version = second(desk)
    with pytest.raises(PromptError, match="second; third"):
        put_label(desk.journal, version, Wish("production", "lead", "a try", expected=1), outcomes)
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


async def test_an_agent_that_cannot_answer_says_so_itself(desk: Desk, workspace: Path) -> None:
    (workspace / "prompts" / "support" / "cases.yaml").write_text(CASES)
    with pytest.raises(NotFound, match="nosuch"):
        await run_cases(
            desk.agent, desk.prompts.get("support@1"), desk.prompts.cases("support"), "nosuch", "", desk.embedder
        )


def test_a_label_is_not_put_where_it_is_so_that_undo_finds_where_it_was(desk: Desk, workspace: Path) -> None:
    put_label(desk.journal, second(desk), Wish("production", "lead", "better", 1), [])
    again = Wish("production", "lead", "once more", 2)
    with pytest.raises(PromptError, match="support@production is on version 2 already"):
        put_label(desk.journal, desk.prompts.get("support@2"), again, [])
    path = workspace / "prompts" / "support" / "v2.yaml"
    path.write_text(path.read_text().replace("Two", "Another two"))
    put_label(desk.journal, desk.prompts.get("support@2"), again, [])
    assert desk.prompts.get("support").prompt.role == "Another two"
    way = way_back(desk.journal.label_moves("support"), "production")
    assert way
    assert undo(desk.journal, desk.prompts, "support", "production", "lead", way[0].id) == (2, 1), "2 as it was is gone"
    assert desk.prompts.get("support").version == 1


def test_what_was_on_one_version_alone_cannot_be_taken_back(desk: Desk) -> None:
    moves = desk.journal.label_moves("support")
    assert way_back(moves, "production") is None
    assert way_back(moves, "staging") is None
    with pytest.raises(PromptError, match="nowhere before"):
        undo(desk.journal, desk.prompts, "support", "production", "lead", moves[0].id)


async def test_the_label_that_customers_meet_asks_for_the_cases_too(desk: Desk, outcomes: list[Outcome]) -> None:
    version, live = second(desk), Wish("live", "lead", "a try", None)
    for label, customers in (("live", "support@live"), ("production", "support@live")):
        wish = Wish(label, "lead", "a try", desk.journal.labels("support").get(label))
        with pytest.raises(PromptError, match="second; third"):
            put_label(desk.journal, version, wish, outcomes, customers)
    assert not put_label(desk.journal, version, live, outcomes, "support@production")


@pytest.mark.parametrize(
    ("label", "expected", "customers", "says"),
    [
        ("production", 1, "support", ", before on version 1. support has no cases: nothing was tried."),
        ("production", 1, "support@live", " nothing was tried. Customers meet support@live."),
        ("production", None, "support@2", " nothing was tried. Customers meet support@2."),
        ("production", None, "other", " nothing was tried. Customers meet other."),
        ("live", None, "support@live", " now. support has no cases: nothing was tried. It is a new label."),
        ("productoin", None, "support@production", " now. It is a new label. Customers meet support@production."),
        ("productoin", 1, "", ", before on version 1. Customers meet no prompt."),
        ("staging", None, "support@production", " now. Customers meet support@production."),
    ],
)
def test_what_is_told_says_what_customers_meet(
    desk: Desk, label: str, expected: int | None, customers: str, says: str
) -> None:
    said = told(desk.prompts.get("support@1"), Wish(label, "lead", "a try", expected), [], False, customers)
    assert said.startswith(f"{label} is on version 1 now")
    assert said.endswith(says)


@pytest.mark.parametrize("label", ["7", "07", "Production", ""])
def test_a_label_that_no_reference_finds_is_refused(desk: Desk, label: str) -> None:
    with pytest.raises(BadName):
        put_label(desk.journal, desk.prompts.get("support@1"), Wish(label, "lead", "a try", None), [])
    (desk.prompts.root / "labels.yaml").write_text(f"support: {{'{label}': 1}}\n")
    with pytest.raises(BadName):
        desk.prompts.seed_labels()


@pytest.mark.parametrize(
    ("customers", "label", "forced"),
    [
        ("support", "production", True),
        ("support@production", "production", True),
        ("support@live", "live", True),
        ("support@live", "production", False),
        ("support@2", "production", False),
        ("other", "production", False),
        ("", "production", False),
    ],
)
def test_what_customers_meet_must_be_what_they_can_be_answered_under(
    desk: Desk, customers: str, label: str, forced: bool
) -> None:
    name = Variable(description="d", default="x", required=True)
    version = second(desk, role="Hello {name}", variables={"name": name})
    standing = desk.journal.labels("support").get(label)
    if forced:
        with pytest.raises(PromptError, match=r"no customer would be answered: .*missing: name"):
            put_label(desk.journal, version, Wish(label, "lead", "a try", standing), [], customers)
    put = Wish(label, "lead", "a try", standing, force=True)
    assert put_label(desk.journal, version, put, [], customers) == forced
    assert desk.journal.label_moves("support")[0].forced == forced
