"""Measured → figures with intervals, and every pair of arms compared: better, worse, a tie, or too few to tell.

Intervals are over conversations, by the bootstrap of `bot/training/bootstrap.py`; all arms and pairs of a measure stand on
the same draws. A figure's interval holds at 95 % by itself. Those of the pairs hold at 95 % all together, since the best arm
is known only afterwards and the verdict asks about any two that are left: they reach as far as the largest deviation among
all pairs, which allows for how many there are and, unlike Bonferroni, for how much they have in common. A difference whose
interval holds 0 is a tie.

Fewer conversations than FEWEST give no interval. `needed` is how many would find a difference in four of five cases, with
the spread seen here: one of the size seen, or, where that is smaller, the smallest that matters (`measured.MATTERS`). A tie
without it has conversations enough to have found that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from statistics import NormalDist

import numpy as np

from bot.evaluation.measured import COUNT, MATTERS, SHARE, Measured
from bot.evaluation.results import Comparison, Figure, MeasureResult, Verdict
from bot.training.bootstrap import CONFIDENCE, Array, deviations, ratio_means, standard_errors

FEWEST = 10
"""Conversations. With fewer, an interval says more about the method than about the arms."""
_FOUND = NormalDist().inv_cdf(0.8)
_ROUNDING = 1e-12


def compare(measured: Sequence[Measured], reference: str, seed: int = 0) -> list[MeasureResult]:
    """One result a measure. Comparisons come as each arm minus `reference`, then each arm minus the best one, then the rest;
    every pair once, over the items that both have a value for. An arm without any value has no figure and no comparison."""
    return [_Sample(found).result(reference, seed) for found in measured]


def worth_telling(name: str, difference: float) -> float:
    """The size that `needed` is about, for a difference seen in the measure of that name."""
    return max(abs(difference), MATTERS.get(name, 0.0))


class _Sample:
    """A measure as arrays: values (items, arms), NaN where an arm has none, and the items' weights and conversations."""

    def __init__(self, measured: Measured) -> None:
        self.measured = measured
        self.conversations, self.places = np.unique(measured.conversations, return_inverse=True)
        self.weights = np.array(measured.weights or [1.0] * len(self.places), float)
        columns = {arm: np.array(values, float) for arm, values in measured.values.items()}
        self.values = {arm: column for arm, column in columns.items() if (~np.isnan(column) @ self.weights) > 0}

    def result(self, reference: str, seed: int) -> MeasureResult:
        measured = self.measured
        figures = self._figures(seed)
        best = (max if measured.better == "higher" else min)(figures, key=lambda f: f.mean, default=None)
        pairs = _pairs(list(self.values), reference, best.arm if best else "")
        return MeasureResult(
            name=measured.name,
            unit=measured.unit,
            better=measured.better,
            about=measured.about,
            figures=tuple(figures),
            comparisons=tuple(self._comparisons(pairs, seed)),
            per_item=dict(measured.values),
            conversations=measured.conversations,
            weights=measured.weights,
        )

    def _sums(self, columns: Sequence[Array]) -> tuple[Array, Array, Array]:
        """Columns of values with NaN (items each) → means (columns), influences (conversations, columns), and how many
        conversations each has."""
        values = np.stack(columns, axis=1)
        there = ~np.isnan(values)
        weights = self.weights[:, None] * there
        both = np.zeros((2, len(self.conversations), values.shape[1]))
        np.add.at(both[0], self.places, weights * np.where(there, values, 0.0))
        np.add.at(both[1], self.places, weights)
        means, influences = ratio_means(both[0], both[1])
        return means, influences, (both[1] > 0).sum(0)

    def _figures(self, seed: int) -> list[Figure]:
        if not self.values:
            return []
        means, influences, counts = self._sums(list(self.values.values()))
        reach = np.quantile(deviations(influences, seed), CONFIDENCE, axis=0)
        reach *= standard_errors(influences, np.maximum(counts, 2))
        figures = []
        for arm, mean, ends, count in zip(self.values, means, reach, counts, strict=True):
            low, high = self._ends(float(mean), float(ends), int(count))
            items = int((~np.isnan(self.values[arm])).sum())
            figures.append(Figure(arm=arm, mean=float(mean), low=low, high=high, count=items))
        return figures

    def _ends(self, mean: float, reach: float, count: int) -> tuple[float | None, float | None]:
        if count < FEWEST:
            return None, None
        if self.measured.unit != SHARE:
            low = mean - reach
            return max(0.0, low) if self.measured.unit == COUNT else low, mean + reach
        # None of n conversations says only that fewer than about 3 in n do (the rule of three).
        unseen = 1 - (1 - CONFIDENCE) ** (1 / count) if reach <= _ROUNDING else 0.0
        return max(0.0, mean - max(reach, unseen)), min(1.0, mean + max(reach, unseen))

    def _comparisons(self, pairs: Sequence[tuple[str, str]], seed: int) -> list[Comparison]:
        columns = {pair: self.values[pair[0]] - self.values[pair[1]] for pair in pairs}
        columns = {pair: column for pair, column in columns.items() if (~np.isnan(column) @ self.weights) > 0}
        if not columns:
            return []
        means, influences, counts = self._sums(list(columns.values()))
        errors = standard_errors(influences, np.maximum(counts, 2))
        enough = counts >= FEWEST
        together = -NormalDist().inv_cdf((1 - CONFIDENCE) / 2 / len(columns))
        if enough.any():
            together = float(np.quantile(deviations(influences[:, enough], seed).max(1), CONFIDENCE))
        return [
            self._comparison(pair, float(mean), float(error), int(count), together)
            for pair, mean, error, count in zip(columns, means, errors, counts, strict=True)
        ]

    def _comparison(self, pair: tuple[str, str], mean: float, error: float, count: int, reach: float) -> Comparison:
        low, high = mean - reach * error, mean + reach * error
        verdict: Verdict = "tie"
        if count < FEWEST:
            verdict = "too few"
        elif low > _ROUNDING or high < -_ROUNDING:
            verdict = "better" if (low > 0) == (self.measured.better == "higher") else "worse"
        size = worth_telling(self.measured.name, mean)
        needed = math.ceil(count * ((reach + _FOUND) * error / size) ** 2) if size > _ROUNDING else 0
        if verdict == "too few":
            needed = max(needed, FEWEST)
        return Comparison(
            arm=pair[0],
            other=pair[1],
            mean=mean,
            low=None if verdict == "too few" else low,
            high=None if verdict == "too few" else high,
            verdict=verdict,
            needed=needed if verdict == "too few" or (verdict == "tie" and needed > count) else None,
        )


def _pairs(arms: Sequence[str], reference: str, best: str) -> list[tuple[str, str]]:
    """Every two arms once: those with the reference first, then those with the best one."""
    first = [(arm, other) for other in (reference, best) if other in arms for arm in arms if arm != other]
    found: dict[frozenset[str], tuple[str, str]] = {}
    for pair in (*first, *combinations(arms, 2)):
        found.setdefault(frozenset(pair), pair)
    return list(found.values())
