"""Means of items, weighted, with intervals over conversations: the one bootstrap of gates and evaluation.

Items of one conversation hang together, so conversations are drawn anew, never items. What a conversation adds to a mean,
less what it was expected to add, is its influence; a difference of two means has the difference of their influences, so one
set of draws serves every arm and every pair.

Percentiles of drawn means are too narrow where conversations are few or uneven. So each draw is measured in standard errors
of its own (the bootstrap-t), and the interval reaches as many of the sample's standard errors to both sides. Pure; knows
nothing of models.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

CONFIDENCE = 0.95
DRAWS = 2000
_LEAST_SPREAD = 0.5
"""Share of the sample's standard error below which a draw's own is not believed: a draw without the few conversations that
differ has almost none, and would stretch every interval."""
_NOTHING = 1e-12
"""Below this a spread is rounding."""


def ratio_means(numerators: Array, denominators: Array) -> tuple[Array, Array]:
    """Sums of each conversation, both (conversations, columns) → the ratios of their totals (columns), and each
    conversation's influence on them (conversations, columns). A conversation without anything to count has none."""
    totals = denominators.sum(0)
    means = numerators.sum(0) / totals
    return means, (numerators - means * denominators) / totals


def standard_errors(influences: Array, counts: Array | int) -> Array:
    """Of each column, by how far its conversations lie apart; `counts` are how many of them count, at least 2."""
    counted = np.asarray(counts, float)
    return np.asarray(np.sqrt(counted / (counted - 1) * np.square(influences).sum(0)))


def deviations(influences: Array, seed: int) -> Array:
    """How many standard errors of its own each draw of the conversations lies from the sample, (draws, columns), never
    negative. A column without spread has none."""
    size = len(influences)
    times = _times(size, seed)
    spread = np.sqrt(np.square(influences).sum(0))
    scaled = np.where(spread > _NOTHING, influences / np.maximum(spread, _NOTHING), 0.0)
    moved = times @ scaled
    own = np.sqrt(np.maximum(times @ np.square(scaled) - np.square(moved) / size, 0))
    return np.asarray(np.abs(moved) / np.maximum(own, _LEAST_SPREAD))


@lru_cache(maxsize=4)
def _times(size: int, seed: int) -> Array:
    """How often each conversation is in each draw, (draws, conversations): the same for every measure of an evaluation."""
    times = np.random.default_rng(seed).multinomial(size, np.full(size, 1 / size), DRAWS).astype(float)
    times.setflags(write=False)
    return times
