"""Losses of rows, compared in pairs: how far two models lie apart on the same conversations, and how sure that is.

Knows nothing of models, and nothing of intervals but where to have them made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bot.training.bootstrap import CONFIDENCE, deviations, ratio_means, standard_errors


@dataclass(frozen=True, slots=True)
class RowLoss:
    """Negative log-likelihood of a row's supervised tokens, in nats, summed over `tokens` of them."""

    conversation: str
    nats: float
    tokens: int


@dataclass(frozen=True, slots=True)
class Difference:
    """Mean loss of the one minus that of the other, in nats a token, with the ends of its interval."""

    mean: float
    low: float
    high: float


def mean_loss(rows: Sequence[RowLoss]) -> float:
    """Nats a token, over all rows' tokens."""
    return sum(row.nats for row in rows) / sum(row.tokens for row in rows)


def difference(one: Sequence[RowLoss], other: Sequence[RowLoss], seed: int = 0) -> Difference:
    """`one` − `other` with the interval of a seeded bootstrap over conversations, two-sided at 95 %.

    The rows must be of the same conversations in the same order. Where both read the same tokens the difference is paired
    row by row; replies that differ in length are compared by each side's own mean. One conversation alone has the interval
    from minus to plus infinity: nothing can be said of others.
    """
    names = [row.conversation for row in one]
    if names != [row.conversation for row in other]:
        raise ValueError("the losses are of other conversations")
    _, places = np.unique(names, return_inverse=True)
    count = int(places.max()) + 1
    mean = mean_loss(one) - mean_loss(other)
    if count == 1:
        return Difference(mean, -np.inf, np.inf)
    nats, tokens = (
        np.stack(
            [np.bincount(places, weights=[float(getattr(row, column)) for row in rows]) for rows in (one, other)], axis=1
        )
        for column in ("nats", "tokens")
    )
    influences = ratio_means(nats.astype(float), tokens.astype(float))[1] @ np.array([[1.0], [-1.0]])
    reach = float(np.quantile(deviations(influences, seed), CONFIDENCE) * standard_errors(influences, count)[0])
    return Difference(mean, mean - reach, mean + reach)
