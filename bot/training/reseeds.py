"""How much chance alone changes a result: the same run again under other seeds. Knows nothing of models."""

from __future__ import annotations

import statistics
from collections.abc import Callable

from bot.runs.progress import Progress, Step
from bot.training.recipe import Recipe

SPREAD = "held_out_spread"
"""Key of a card's metrics: standard deviation of held-out loss over runs that differ by their seed alone."""


def spread_of(
    recipe: Recipe, own: Callable[[], float], again: Callable[[Recipe], float], progress: Progress
) -> float | None:
    """That standard deviation, over the recipe's further seeds and its own; None where it has no further ones.

    `own` gives the held-out loss of what its own seed made; `again` trains by another recipe and gives the loss of that.
    """
    if not recipe.reseeds:
        return None
    losses = [own()]
    for number in range(1, recipe.reseeds + 1):
        progress.step(Step("reseeds", number - 1, recipe.reseeds))
        losses.append(again(recipe.model_copy(update={"seed": (recipe.seed + number) % 2**32})))
    progress.step(Step("reseeds", recipe.reseeds, recipe.reseeds))
    return statistics.stdev(losses)
