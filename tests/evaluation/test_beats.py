"""From how many transcripts on an adapter beats the prompt, on figures made by hand."""

from __future__ import annotations

import math
import random

import pytest

from bot.evaluation.beats import Scores, beats_from, comparable, interval, scores_of
from bot.evaluation.measured import Better, Measured

NAMES = [f"c{number}" for number in range(30)]


def made(mean: float, spread: float = 0.1, seed: int = 0, better: Better = "lower") -> Scores:
    """Thirty conversations of ten tokens around that mean."""
    chance = random.Random(seed)
    return Scores(better=better, sums={name: (10 * (mean + chance.gauss(0, spread)), 10) for name in NAMES})


def test_it_is_the_smallest_size_from_which_on_all_are_better() -> None:
    prompt = made(2.0)
    points = {
        10: [made(2.3, seed=1), made(2.1, seed=2)],
        25: [made(1.8, seed=3), made(1.7, seed=4)],
        50: [made(1.5, seed=5), made(1.4, seed=6)],
    }
    assert beats_from(points, prompt) == 25
    assert beats_from({10: points[25], 25: points[10], 50: points[50]}, prompt) == 50
    assert beats_from({10: points[50], 25: points[50], 50: points[10]}, prompt) is None
    assert beats_from({}, prompt) is None


def test_a_difference_within_the_noise_is_none() -> None:
    prompt = made(2.0, 0.5)
    assert beats_from({10: [made(1.98, 0.5, seed=1), made(1.99, 0.5, seed=2)]}, prompt) is None


def test_draws_that_disagree_are_not_sure_however_sure_each_one_is() -> None:
    prompt = made(2.0, 0.01)
    apart = [made(1.0, 0.01, seed=1), made(1.2, 0.01, seed=2), made(2.6, 0.01, seed=3)]
    assert sum(scores.mean for scores in apart) / 3 < prompt.mean
    assert beats_from({10: apart}, prompt) is None
    assert beats_from({10: apart[:2]}, prompt) == 10


def test_conversations_are_paired() -> None:
    """What is common to both sides is no noise."""
    prompt = made(2.0, 1.0)
    slightly = Scores(better="lower", sums={name: (total - 0.5, 10) for name, (total, _) in prompt.sums.items()})
    assert interval([slightly], prompt, NAMES) == pytest.approx((-0.05, -0.05))
    assert beats_from({10: [slightly]}, prompt) == 10


def test_higher_may_be_better() -> None:
    prompt = made(0.5, better="higher")
    assert beats_from({10: [made(0.9, seed=1, better="higher")]}, prompt) == 10
    assert beats_from({10: [made(0.1, seed=1, better="higher")]}, prompt) is None


def test_only_conversations_that_both_measured_alike_are_compared() -> None:
    prompt = made(2.0)
    other = Scores(better="lower", sums={**made(1.0, seed=1).sums, "c0": (5, 5), "new": (1, 1)})
    assert comparable({10: [other]}, prompt) == sorted(NAMES[1:])
    alone = Scores(better="lower", sums={"c1": (1, 10)})
    assert beats_from({10: [alone]}, prompt) is None


def test_scores_are_weighted_sums_by_conversation() -> None:
    measured = Measured("nll", "nats", "lower", ("a", "b", "a", "b"), {"arm": (1.0, 2.0, 3.0, None)}, (2, 1, 4, 9))
    scores = scores_of(measured, "arm")
    assert scores.sums == {"a": (14, 6), "b": (2, 1)}
    assert scores.mean == pytest.approx(16 / 7)
    unweighted = Measured("facts", "share", "higher", ("a", "b"), {"arm": (1.0, 0.0)})
    assert scores_of(unweighted, "arm").mean == 0.5
    assert math.isnan(scores_of(Measured("facts", "share", "higher", ("a",), {"arm": (None,)}), "arm").mean)


def test_a_true_tie_is_seldom_called_better() -> None:
    """At most one in twenty reseeds should be; conversations and draws both differ by chance."""
    wrong = 0
    for trial in range(200):
        chance = random.Random(trial)
        prompt = {name: chance.gauss(2, 0.3) for name in NAMES}
        draws = []
        for _ in range(3):
            shift = chance.gauss(0, 0.03)
            draws.append(
                Scores(better="lower", sums={n: (10 * (v + shift + chance.gauss(0, 0.1)), 10) for n, v in prompt.items()})
            )
        theirs = Scores(better="lower", sums={name: (10 * value, 10) for name, value in prompt.items()})
        wrong += beats_from({10: draws}, theirs) is not None
    assert wrong <= 20
