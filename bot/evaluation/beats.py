"""From how many transcripts on an adapter is better than the best prompt, by the figures of a learning curve.

Pure; knows nothing of models and files.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

from bot.evaluation.measured import Better, Measured
from bot.training.bootstrap import CONFIDENCE, DRAWS


class Scores(BaseModel):
    """One arm's figures in one measure: by conversation, the sum of its items' weighted values and that of their weights.
    Negative log-likelihood, for one, has nats and tokens."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    better: Better
    sums: dict[str, tuple[float, float]]

    @property
    def mean(self) -> float:
        """Weighted over all items. NaN where the measure applies to none."""
        weight = sum(weight for _, weight in self.sums.values())
        return sum(total for total, _ in self.sums.values()) / weight if weight else math.nan


def scores_of(measured: Measured, arm: str) -> Scores:
    """An arm's figures by conversation; items that the measure does not apply to count nothing."""
    values = measured.values[arm]
    sums: dict[str, tuple[float, float]] = {}
    for conversation, value, weight in zip(
        measured.conversations, values, measured.weights or (1.0,) * len(values), strict=True
    ):
        if value is not None:
            total, before = sums.get(conversation, (0.0, 0.0))
            sums[conversation] = (total + weight * value, before + weight)
    return Scores(better=measured.better, sums=sums)


def comparable(points: Mapping[int, Sequence[Scores]], prompt: Scores) -> list[str]:
    """The conversations of which all points and the prompt measured the same: with equal weights, so that no turn is missing
    on one side."""
    everyone = [prompt, *(scores for draws in points.values() for scores in draws)]

    def weights(name: str) -> list[float]:
        return [scores.sums.get(name, (0.0, 0.0))[1] for scores in everyone]

    return sorted(name for name in prompt.sums if min(weights(name)) > 0 and np.ptp(weights(name)) < 1e-6)


def beats_from(points: Mapping[int, Sequence[Scores]], prompt: Scores, seed: int = 0) -> int | None:
    """The smallest number of transcripts at which, and at every larger one measured, the adapter is better than the prompt;
    None where it is not within the data, or where there are fewer than two conversations to tell it by.

    `points` are, by number of transcripts, the scores of each draw. Better at a size is: the mean over its draws, minus the
    prompt's, lies on the better side of nothing with the whole of its two-sided 95 % interval. That interval is of a seeded
    bootstrap that draws conversations anew, the same for both sides, and draws of transcripts anew, both at once. With one
    draw it says nothing of other selections. Sizes are looked at from the largest down and the first that is not better ends
    it, so no correction for their number is needed: a wrong claim needs a wrong first step.
    """
    names = comparable(points, prompt)
    if len(names) < 2:
        return None
    found = None
    for size in sorted(points, reverse=True):
        low, high = interval(points[size], prompt, names, seed)
        if not (low > 0 if prompt.better == "higher" else high < 0):
            break
        found = size
    return found


def interval(draws: Sequence[Scores], prompt: Scores, names: Sequence[str], seed: int = 0) -> tuple[float, float]:
    """The ends of the 95 % interval of the draws' mean minus the prompt's, over the conversations `names`."""
    random = np.random.default_rng(seed)
    # How often each conversation, and each draw, is there: (DRAWS, conversations) and (DRAWS, draws).
    times = random.multinomial(len(names), np.full(len(names), 1 / len(names)), size=DRAWS)
    chosen = random.multinomial(len(draws), np.full(len(draws), 1 / len(draws)), size=DRAWS) / len(draws)
    theirs = _means(times, prompt, names)
    ours = np.stack([_means(times, scores, names) for scores in draws], axis=1)
    low, high = np.quantile((ours * chosen).sum(1) - theirs, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def _means(times: np.ndarray, scores: Scores, names: Sequence[str]) -> np.ndarray:
    """The weighted mean under each way to draw the conversations, (DRAWS,)."""
    totals = times @ np.array([scores.sums[name] for name in names])
    means: np.ndarray = totals[:, 0] / totals[:, 1]
    return means
