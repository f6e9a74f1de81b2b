"""Hand-off: the threshold from training messages, recall and false alarms on known numbers, too few positives told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.base import Base
from bot.desk import Desk
from bot.errors import DataError
from bot.evaluation import hand_off
from bot.evaluation.hand_off import RATE, hand_off_task, threshold, too_few
from bot.evaluation.label_ways import Known
from bot.evaluation.labellers import Labeller
from bot.training.labelled import Labelled, Parts
from tests.evaluation.test_labels import make_desk
from tests.training.test_train import Ear


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=60), st.floats(0, 0.9))
def test_at_most_the_rate_lies_above_the_threshold_and_no_lower_one_would_do(margins: list[float], rate: float) -> None:
    found, limit = np.array(margins), threshold(np.array(margins), rate)
    assert (found > limit).mean() <= rate
    lower = found[found < limit]
    if len(lower):
        assert (found > lower.max()).mean() > rate


class Told:
    """A labeller whose margin is the number in the message."""

    async def scores(self, messages: Sequence[Labelled]) -> np.ndarray:
        return np.array([[0.0, float(message.text)] for message in messages])


def known(should: Sequence[float], others: Sequence[float]) -> Known:
    """Training messages whose margins are 0 … 99: the threshold for a tenth is 89."""
    training = [Labelled(f"t{n}", str(n), "false") for n in range(100)] + [Labelled("t", "500", "true")]
    held_out = [Labelled(f"p{n}", str(margin), "true") for n, margin in enumerate(should)]
    held_out += [Labelled(f"n{n}", str(margin), "false") for n, margin in enumerate(others)]
    return Known("shop", "handoff", Parts(("false", "true"), tuple(training), tuple(held_out), ()), 0.2, "bot train …")


async def make() -> Labeller:
    return Told()


async def missing() -> Labeller:
    raise DataError("There is none.", "Train it.")


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hand_off, "ways", lambda *_: [("told", make), ("missing", missing)])


@pytest.mark.usefixtures("ways")
async def test_recall_and_false_alarms_are_those_above_the_threshold(monkeypatch: pytest.MonkeyPatch, desk: Desk) -> None:
    given_ = known([95, 90, 89, 10] * 5, [89.5, 88, 1, 2, 3])
    monkeypatch.setattr(hand_off, "known_messages", lambda *_: given_)
    ear = Ear()
    task = await hand_off_task("shop", desk, ear)
    assert task is not None
    assert (task.messages, task.should, task.false_alarm_rate) == (25, 20, RATE)
    told, failed = task.arms
    assert (told.recall, told.false_alarms) == (0.5, 0.2)
    assert told.low is not None
    assert told.high is not None
    assert told.low < 0.5 < told.high
    assert failed.failure == "There is none. Train it."
    assert failed.recall is None
    assert not ear.notes


@pytest.mark.usefixtures("ways")
async def test_too_few_positives_have_no_interval_and_are_told(monkeypatch: pytest.MonkeyPatch, desk: Desk) -> None:
    monkeypatch.setattr(hand_off, "known_messages", lambda *_: known([95, 10], [1] * 30))
    ear = Ear()
    task = await hand_off_task("shop", desk, ear)
    assert task is not None
    assert (task.arms[0].recall, task.arms[0].low, task.arms[0].high) == (0.5, None, None)
    (note,) = ear.notes
    assert note == too_few(2, 32)
    assert "Only 2 held-out conversations, of 32 messages" in note
    assert "about 5 times as many" in note
    assert too_few(10, 100) == ""


async def test_transcripts_that_say_nothing_of_it_are_told(desk: Desk, workspace: Path) -> None:
    ear = Ear()
    assert await hand_off_task("nowhere", desk, ear) is None
    assert ear.notes[0].startswith("Hand-off is left out: ")


async def test_prompts_and_baselines_of_a_whole_domain(tmp_path: Path, tiny_base: Base, tiny_encoder: Base) -> None:
    desk, _ = make_desk(tmp_path, tiny_base, tiny_encoder)
    task = await hand_off_task("returns", desk, Ear())
    await desk.close()
    assert task is not None
    assert "--set task=handoff" in task.arms[0].failure
    assert [bool(arm.failure) for arm in task.arms] == [True, False, False, False, False]
    assert all(0 <= arm.recall <= 1 for arm in task.arms if arm.recall is not None)
    assert task.arms[-1].recall == 1.0
