"""Thumbs belong to whose turn it is; the queue is in order, and an entry is handled once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bot.errors import Conflict, InvalidMessage, JournalError, NotFound
from bot.journal.feedback import MAX_REASON, Feedback
from bot.journal.journal import Exchange, Journal


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(f"sqlite:///{tmp_path / 'test.db'}")


@pytest.fixture
def feedback(journal: Journal) -> Feedback:
    return journal.feedback


@pytest.fixture
def turns(journal: Journal) -> list[int]:
    conversation = journal.start("someone")
    return [journal.record(Exchange(conversation, f"q{n}", reply=f"r{n}", finish_reason="stop")) for n in range(4)]


def test_the_latest_thumb_counts_and_can_be_taken_back(feedback: Feedback, turns: list[int]) -> None:
    feedback.give(turns[0], "someone", "up")
    feedback.give(turns[1], "someone", "down", "It is wrong", "5 days\ud800")
    assert feedback.thumbs(turns) == {turns[0]: "up", turns[1]: "down"}
    feedback.give(turns[0], "someone", "down")
    feedback.give(turns[1], "someone", None)
    feedback.give(turns[2], "someone", None)
    assert feedback.thumbs(turns) == {turns[0]: "down"}


def test_another_owners_turn_is_not_found(journal: Journal, feedback: Feedback, turns: list[int]) -> None:
    nobodys = journal.record(Exchange("", "asked by a program"))
    for turn, owner in ((turns[0], "someone else"), (turns[0], ""), (nobodys, ""), (999, "someone")):
        with pytest.raises(NotFound):
            feedback.give(turn, owner, "down")
    assert feedback.thumbs([*turns, nobodys]) == {}


def test_what_is_no_thumb_or_too_long_is_refused(feedback: Feedback, turns: list[int]) -> None:
    with pytest.raises(JournalError, match="up, down"):
        feedback.give(turns[0], "someone", "sideways")  # type: ignore[arg-type]
    with pytest.raises(InvalidMessage, match="1,000"):
        feedback.give(turns[0], "someone", "down", "", "x" * (MAX_REASON + 1))


def test_the_queue_holds_those_that_point_down_newest_first(feedback: Feedback, turns: list[int]) -> None:
    for turn, thumb in zip(turns, ("down", "up", "down", "down"), strict=True):
        feedback.give(turn, "someone", thumb)  # type: ignore[arg-type]
    feedback.move(turns[3], "open", "dismissed", "lead")
    assert [entry.turn.id for entry in feedback.queue("open", 10)] == [turns[2], turns[0]]
    assert [entry.turn.id for entry in feedback.queue(None, 2)] == [turns[3], turns[2]]
    assert feedback.counts() == {"open": 2, "done": 0, "dismissed": 1}
    assert [turn.question for turn in feedback.entry(turns[2]).earlier] == ["q0", "q1"]
    with pytest.raises(NotFound):
        feedback.entry(turns[1])


def test_an_entry_is_handled_by_one_person_and_says_by_whom(feedback: Feedback, turns: list[int]) -> None:
    feedback.give(turns[0], "someone", "down")

    def handle(number: int) -> bool:
        try:
            feedback.move(turns[0], "open", "done", f"lead-{number}", "an example")
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(handle, range(16)))
    assert sum(won) == 1
    found = feedback.entry(turns[0]).feedback
    assert (found.state, found.handled_by, found.became) == ("done", f"lead-{won.index(True)}", "an example")
    assert found.handled_at
    with pytest.raises(Conflict, match=rf"done by now by lead-{won.index(True)}"):
        feedback.move(turns[0], "open", "dismissed", "late")


def test_a_reason_keeps_the_state_and_a_new_thumb_down_is_open(feedback: Feedback, turns: list[int]) -> None:
    feedback.give(turns[0], "someone", "down")
    feedback.move(turns[0], "open", "done", "lead")
    feedback.give(turns[0], "someone", "down", "It is wrong")
    assert (feedback.entry(turns[0]).feedback.state, feedback.entry(turns[0]).feedback.reason) == ("done", "It is wrong")
    feedback.give(turns[0], "someone", "up")
    feedback.give(turns[0], "someone", "down")
    assert (feedback.entry(turns[0]).feedback.state, feedback.entry(turns[0]).feedback.handled_by) == ("open", "")
    feedback.give(turns[0], "someone", "up")
    with pytest.raises(NotFound):
        feedback.move(turns[0], "open", "done", "lead")


def test_many_presses_at_once_leave_one_thumb(feedback: Feedback, turns: list[int]) -> None:
    with ThreadPoolExecutor(8) as pool:
        for turn in turns:
            thumbs = ["up", "down", None, "down", "up", "down"] * 2
            list(pool.map(lambda thumb, turn=turn: feedback.give(turn, "someone", thumb, "It is wrong"), thumbs))  # type: ignore[misc]
            feedback.give(turn, "someone", "down", "the last")
            assert feedback.entry(turn).feedback.reason == "the last"
