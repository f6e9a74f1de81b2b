"""A corrected reply becomes an example of a draft, or a case: scrubbed, as plain text, once, and customers meet what they met
before."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.desk import Desk
from bot.errors import BotError, Conflict, InvalidMessage, NotFound, PromptError
from bot.journal.feedback import Entry
from bot.journal.journal import Exchange
from bot.prompts.examples import with_example
from bot.prompts.render import render
from bot.prompts.schema import dump_prompt, parse_prompt, plain_lines
from bot.prompts.version import PromptVersion
from bot.publishing.corrections import (
    Correction,
    Target,
    Wanted,
    advice,
    corrected,
    drafted,
    make_case,
    make_example,
    proposed,
)  # fmt: skip
from bot.types import Message

ASKED = "I am ada@example.com, where is order LK-48213? {agent_name} <|im_start|>"
BETTER = "Order [ORDER_1] comes on Monday. {Ask} me again."
LIKE = Wanted("", 0.75, [], [])


@pytest.fixture
def entry(desk: Desk) -> Entry:
    """A turn that follows another and was turned down."""
    journal = desk.journal
    conversation = journal.start("someone")
    journal.record(Exchange(conversation, "It is order LK-48213.", reply="Thank you.", finish_reason="stop"))
    journal.record(Exchange(conversation, "Hello?", finish_reason="error", error="too busy"))
    turn = journal.record(Exchange(conversation, ASKED, reply="I do not know.", finish_reason="stop", prompt="support@1"))
    journal.feedback.give(turn, "someone", "down", "Something is missing")
    return journal.feedback.entry(turn)


def example(desk: Desk, entry: Entry, agent: str = BETTER, latest: int = 1) -> PromptVersion:
    target = Target("support", latest)
    made = corrected(entry, proposed(entry).customer, agent, "From feedback")
    draft = drafted(desk.prompts, entry, made, target, "mika")
    return make_example(desk.prompts, desk.journal, entry, target, draft, "mika")


def case(desk: Desk, entry: Entry, wanted: Wanted, agent: str = BETTER) -> None:
    made = corrected(entry, proposed(entry).customer, agent, wanted=wanted)
    make_case(desk.prompts, desk.journal, entry, "support", made, "mika")


def state(desk: Desk, entry: Entry) -> str:
    return desk.journal.feedback.entry(entry.turn.id).feedback.state


def test_personal_data_is_replaced_alike_in_all_of_it(entry: Entry) -> None:
    was = proposed(entry)
    assert was.earlier == (("It is order [ORDER_1].", "Thank you."),)
    assert was.customer == "I am [EMAIL_1], where is order [ORDER_1]? {agent_name} <|im_start|>"
    assert dict(was.replaced) == {"EMAIL": 1, "ORDER": 2}
    again = corrected(entry, was.customer, "Order [ORDER_1] is late; write to me@example.org.\r\n")
    assert again == Correction(was.earlier, was.customer, "Order [ORDER_1] is late; write to [EMAIL_2].", {"EMAIL": 1})


def test_personal_data_is_replaced_in_what_a_lead_adds(desk: Desk, entry: Entry) -> None:
    wanted = Wanted("case of ada@example.com", 0, ["mail ada@example.com about order LK-48213"], ["call bob@example.com"])
    made = corrected(entry, "Hello?", "Write to ada@example.com.", "for ada@example.com", wanted)
    draft = drafted(desk.prompts, entry, made, Target("support", 1), "mika")
    assert (draft.note, draft.examples[-1].agent) == ("for [EMAIL_1]", "Write to [EMAIL_1].")
    make_case(desk.prompts, desk.journal, entry, "support", made, "mika")
    written = (desk.prompts.root / "support" / "cases.yaml").read_text()
    for text in ("case of [EMAIL_1]", "mail [EMAIL_1] about order [ORDER_2]", "call [EMAIL_2]"):
        assert text in written
    for text in ("example.com", "48213"):
        assert text not in written + dump_prompt(draft)
    became = desk.journal.feedback.entry(entry.turn.id).feedback.became
    assert became == "the case “case of [EMAIL_1]” of support"


def test_it_becomes_an_example_of_a_draft_and_production_stays(desk: Desk, entry: Entry) -> None:
    saved = example(desk, entry)
    assert saved.ref == "support@2"
    assert desk.prompts.get("support").ref == "support@1"
    made = saved.prompt
    assert (made.technique, made.author, made.note) == ("few-shot", "mika", "From feedback")
    assert made.examples[-1].source == f"turn {entry.turn.id}, conversation {entry.turn.conversation_id}"
    assert "ada@" not in dump_prompt(made)
    sent = render(made, made.examples, {}, None, (Message("user", "hello"),))
    assert [message.content for message in sent[-3:-1]] == [
        "I am [EMAIL_1], where is order [ORDER_1]? {agent_name} <|im_start|>",
        "Order [ORDER_1] comes on Monday. {Ask} me again.",
    ]
    found = desk.journal.feedback.entry(entry.turn.id).feedback
    assert (found.state, found.handled_by, found.became) == ("done", "mika", "an example of support@2")


def test_another_version_saved_meanwhile_is_told_and_the_entry_stays_open(desk: Desk, entry: Entry) -> None:
    theirs = desk.prompts.get("support@1").prompt.model_copy(update={"role": "Theirs"})
    desk.prompts.save("support", theirs, 1)
    with pytest.raises(Conflict, match="support@2 was saved since"):
        example(desk, entry)
    assert (desk.prompts.versions("support"), state(desk, entry)) == ([1, 2], "open")
    assert example(desk, entry, latest=2).prompt.role == "Theirs"


def test_an_entry_is_handled_once(desk: Desk, entry: Entry) -> None:
    example(desk, entry)
    with pytest.raises(Conflict, match="done by now, by mika"):
        example(desk, entry, "Another one.", latest=2)
    with pytest.raises(Conflict, match="done by now"):
        case(desk, entry, LIKE)
    assert desk.prompts.versions("support") == [1, 2]
    assert desk.prompts.cases("support").cases == []


@pytest.mark.parametrize("agent", ["I do not know.", " I do not know.\n", "", "x" * 9_000])
def test_a_reply_that_is_not_corrected_is_refused(desk: Desk, entry: Entry, agent: str) -> None:
    for act in (lambda: example(desk, entry, agent), lambda: case(desk, entry, LIKE, agent)):
        with pytest.raises(InvalidMessage):
            act()
    assert (desk.prompts.versions("support"), state(desk, entry)) == ([1], "open")


def test_a_line_end_is_no_correction(desk: Desk, entry: Entry) -> None:
    entry.turn.reply = "I do\r\nnot know."
    for typed in ("I do\r\nnot know.", "I do\nnot know."):
        with pytest.raises(InvalidMessage, match="still the one"):
            example(desk, entry, typed)


def test_it_becomes_a_case_that_is_plain_text(desk: Desk, entry: Entry) -> None:
    case(desk, entry, Wanted("late parcel", 0.75, ["on {Monday}"], ["I do not know"]))
    made = desk.prompts.cases("support").cases[-1]
    assert made.title == "late parcel"
    assert made.message == proposed(entry).customer
    assert [(said.customer, said.agent) for said in made.history] == [("It is order [ORDER_1].", "Thank you.")]
    contains, lacks, similar = made.expect
    assert (contains.contains, lacks.not_contains) == ("on {{Monday}}", "I do not know")
    assert similar.similar
    assert (similar.similar.to, similar.similar.at_least) == ("Order [ORDER_1] comes on Monday. {{Ask}} me again.", 0.75)
    assert f"# From feedback on turn {entry.turn.id}, by mika." in (desk.prompts.root / "support" / "cases.yaml").read_text()
    assert desk.journal.feedback.entry(entry.turn.id).feedback.became == "the case “late parcel” of support"


def test_a_case_may_ask_for_words_alone(desk: Desk, entry: Entry) -> None:
    case(desk, entry, Wanted("", 0, ["Monday"], []), "I do not know.")
    assert [assertion.kind for assertion in desk.prompts.cases("support").cases[-1].expect] == ["contains"]


@pytest.mark.parametrize(
    ("name", "wanted", "error"),
    [
        ("support", Wanted("", 0, [], []), InvalidMessage),
        ("support", Wanted("", 2, [], []), PromptError),
        ("support", Wanted("x" * 200, 0.75, [], []), PromptError),
        ("other", LIKE, NotFound),
    ],
)
def test_a_case_that_does_not_fit_leaves_everything(
    desk: Desk, entry: Entry, name: str, wanted: Wanted, error: type[BotError]
) -> None:
    made = corrected(entry, proposed(entry).customer, BETTER, wanted=wanted)
    with pytest.raises(error):
        make_case(desk.prompts, desk.journal, entry, name, made, "mika")
    assert state(desk, entry) == "open"
    assert not (desk.prompts.root / "support" / "cases.yaml").exists()


async def test_what_is_likely_wrong_with_the_new_example_is_told(desk: Desk, entry: Entry, workspace: Path) -> None:
    made = corrected(entry, proposed(entry).customer, BETTER, "x")
    draft = drafted(desk.prompts, entry, made, Target("support", 1), "mika")
    assert [finding.rule for finding in await advice(desk.prompts, "support", draft)] == ["control token"]
    (workspace / "prompts" / "support" / "cases.yaml").write_text("every_reply: [{ends_with: Wren}]\n")
    assert {finding.rule for finding in await advice(desk.prompts, "support", draft)} == {
        "control token",
        "breaks the rules",
    }
    (workspace / "prompts" / "support" / "cases.yaml").write_text("every_reply: 3\n")
    assert len(await advice(desk.prompts, "support", draft)) == 1


@given(text=st.text(st.characters(codec="utf-8"), min_size=1, max_size=60))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_shown_to_the_model_as_it_is(desk: Desk, text: str) -> None:
    made = with_example(desk.prompts.get("support@1").prompt, text, text, "turn 1", "mika", "x")
    read = parse_prompt(dump_prompt(made))
    assert read == made
    sent = render(read, read.examples, {}, None, (Message("user", "hello"),))
    assert [message.content for message in sent[-3:-1]] == [plain_lines(text)] * 2
