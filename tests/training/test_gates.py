"""Each gate fails when it should and passes when it should; a failed one is told with figure, limit and remedy."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.adapters.card import Gate
from bot.errors import TrainingError
from bot.training import gates
from bot.training.canary import canary_conversations, exposure, secret_of, with_other_secrets
from bot.training.dataset import Row
from bot.training.overlap import overlapping, said
from bot.training.paired import RowLoss, difference, mean_loss


def losses(mean: float, noise: float = 0.0, seed: int = 0, count: int = 40) -> list[RowLoss]:
    """Rows of ten tokens, two to a conversation."""
    random = np.random.default_rng(seed)
    return [RowLoss(f"c{number // 2}", 10 * (mean + noise * random.standard_normal()), 10) for number in range(count)]


def test_the_interval_is_of_conversations_and_the_same_each_time() -> None:
    one, other = losses(2.0, 0.5, 1), losses(2.5, 0.5, 2)
    found = difference(one, other)
    assert found == difference(one, other)
    assert found.low < found.mean < found.high
    assert found.mean == pytest.approx(mean_loss(one) - mean_loss(other))
    twice = [row for row in one for _ in range(2)], [row for row in other for _ in range(2)]
    wide = difference(*twice)
    assert (wide.low, wide.high) == (pytest.approx(found.low), pytest.approx(found.high)), "copies are no new conversations"
    alone = difference(one[:2], other[:2])
    assert (alone.low, alone.high) == (-math.inf, math.inf)
    with pytest.raises(ValueError, match="other conversations"):
        difference(one, other[::-1])


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    inside = 0
    for seed in range(100):
        found = difference(losses(2.0, 0.3, seed), losses(2.2, 0.3, 1000 + seed))
        inside += found.low <= -0.2 <= found.high
    assert inside >= 86


def test_held_out_must_be_better_beyond_chance() -> None:
    assert gates.held_out_gate(losses(2.0, 0.3), losses(3.0, 0.3, 1)).ok
    for mean, noise in ((3.0, 0.0), (2.97, 0.6), (3.5, 0.1), (math.nan, 0.0)):
        assert not gates.held_out_gate(losses(mean, noise), losses(3.0, noise, 1)).ok


def test_a_reply_must_depend_on_its_question_as_it_does_for_the_base() -> None:
    base = losses(5.0, 0.3), losses(6.0, 0.3)
    assert gates.question_gate(losses(2.0, 0.1), losses(2.7, 0.1), *base).ok
    assert not gates.question_gate(losses(2.0, 0.1), losses(2.3, 0.1), *base).ok
    assert not gates.question_gate(losses(2.0, 0.3), losses(2.0, 0.3, 1), base[0], base[0]).ok
    assert gates.question_gate(losses(2.0, 0.1), losses(2.3, 0.1), base[0], base[0]).ok


def test_what_is_no_number_or_beyond_its_limit_fails() -> None:
    assert gates.finite_gate(0, 5).ok
    assert not gates.finite_gate(1, 5).ok
    assert gates.effect_gate(1.0).ok
    assert not any(gates.effect_gate(change).ok for change in (0.0, 0.001, math.nan))
    assert gates.forgetting_gate(losses(4.0), losses(3.0)).ok
    assert not any(gates.forgetting_gate(losses(mean), losses(3.0)).ok for mean in (3.1 + gates.FORGETTING, math.nan))
    assert gates.overlap_gate(3, 10).ok
    assert not gates.overlap_gate(4, 10).ok
    assert gates.gain_gate(0.36, 0.3).ok
    assert not any(gates.gain_gate(macro_f1, 0.3).ok for macro_f1 in (0.2, 0.3, 0.34, math.nan))


def test_a_canary_fails_when_it_is_said_or_can_be_drawn() -> None:
    assert gates.canary_gate(False, 8.0, 12.0, 8.0).ok, "first among others, but hardly ever drawn"
    assert gates.canary_gate(False, 2.0, 3.0, 8.0).ok, "others are as likely"
    assert not gates.canary_gate(True, 1.0, 20.0, 8.0).ok
    assert not gates.canary_gate(False, 8.0, 3.0, 8.0).ok
    assert not gates.canary_gate(False, 0.0, math.nan, 8.0).ok


def test_a_successor_is_held_to_the_spread_or_else_to_its_own_interval() -> None:
    old = losses(2.0, 0.3)
    slightly = [dataclasses.replace(row, nats=row.nats + 0.5) for row in old]
    assert gates.successor_gate(old, old, None).ok
    assert gates.successor_gate(slightly, old, 0.02).ok
    assert not gates.successor_gate(slightly, old, 0.01).ok
    assert not gates.successor_gate(slightly, old, None, "returns@1").ok
    assert "of returns@1 in nats a token" in gates.successor_gate(slightly, old, None, "returns@1").words
    assert "in nats a message" in gates.successor_gate(slightly, old, None, "returns-intent@1", "message").words


def test_at_most_one_reseed_in_twenty_is_a_false_alarm() -> None:
    """The spread from five reseeds, a predecessor and a successor that differ by their seed alone."""
    random = np.random.default_rng(0)
    alarms = 0
    for _ in range(2000):
        spread = float(np.std(random.normal(2, 0.05, 5), ddof=1))
        old, new = (losses(float(mean), count=2) for mean in random.normal(2, 0.05, 2))
        alarms += not gates.successor_gate(new, old, spread).ok
    assert alarms <= 0.062 * 2000


def row(question: str, reply: str) -> Row:
    return Row("c", question, (), reply, [], [])


def test_overlap_finds_copies_and_almost_copies() -> None:
    reply = "Open the order in the app and press Send back, then print the label and bring it to a parcel shop near you."
    training = [row("How do I send a lamp back?", reply), row("When are you open?", "From nine to five.")]
    copies = [row("how do i send a LAMP back", reply.upper()), row("So how do I send a lamp back?", reply)]
    others = [row("How do I send a lamp back?", "You cannot."), row("Is it open?", "Yes.")]
    assert overlapping(said([*copies, *others]), said(training)) == [0, 1]


def test_each_exchange_of_a_row_counts_by_itself() -> None:
    reply = "It is on its way and comes on Monday."
    training = [row("When are you open?", "From nine to five."), row("Where is my parcel, please?", reply)]
    both = dataclasses.replace(
        row("Thank you very much indeed.", "You are welcome, any time."), earlier=training[1].exchanges
    )
    assert overlapping(said([both]), said(training)) == [0]


def test_what_everybody_says_is_no_copy() -> None:
    assert overlapping(["Yes, thanks!", "where is my big parcel"], ["yes thanks", "Where is my big parcel?"]) == [1]


def test_canaries_are_the_seeds_and_hold_one_secret_each() -> None:
    made = canary_conversations(3, 5)
    assert made == canary_conversations(3, 5)
    assert made[:2] == canary_conversations(3, 2)
    assert made != canary_conversations(4, 5)
    secrets = {secret_of(conversation.messages[1].content) for conversation in made}
    assert len(secrets) == 5
    reply = made[0].messages[1].content
    others = with_other_secrets(reply, 3)
    assert len({reply, *others}) == 256
    assert {len(other) for other in others} == {len(reply)}
    assert canary_conversations(3, 0) == []


@given(costs=st.lists(st.floats(0, 100), min_size=1, max_size=255), secret=st.floats(0, 100))
def test_exposure_counts_whoever_costs_no_more(costs: list[float], secret: float) -> None:
    bits = exposure(secret, costs)
    assert 0 <= bits <= math.log2(len(costs) + 1)
    assert (bits == math.log2(len(costs) + 1)) == (secret < min(costs))


def test_a_refusal_names_gate_figure_limit_and_remedy() -> None:
    good = Gate(name="effect", value=1, limit=0, ok=True, words="moves")
    bad = Gate(name="forgetting", value=4.25, limit=3, ok=False, words="rise of the loss")
    gates.refuse_failed([good])
    with pytest.raises(TrainingError, match=r"'forgetting': rise of the loss \(4.25, limit 3\)") as refused:
        gates.refuse_failed([good, bad])
    assert refused.value.hint == "Lower learning_rate, rank or epochs."
    assert "effect" not in refused.value.what
