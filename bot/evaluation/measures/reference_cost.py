"""What the agent's own reply costs under each arm: the one measure that needs no reply."""

from __future__ import annotations

from collections.abc import Sequence

from bot.evaluation.items import Item
from bot.evaluation.measured import REFERENCE_COST, Measured
from bot.evaluation.measures.per_item import Values, conversations
from bot.evaluation.replies import ReferenceCost

UNIT = "nats a token"


def reference_cost(costs: Sequence[ReferenceCost], items: Sequence[Item]) -> Measured:
    """Weighted by tokens, so that an arm's figure is that of all its items' tokens together."""
    return Measured(
        REFERENCE_COST,
        UNIT,
        "lower",
        conversations(items),
        per_token(costs, items),
        weights(costs, items),
        "Negative log-likelihood of what the agent really wrote, its end token included, in nats a token, over the tokens"
        " of all turns together.",
    )


def per_token(costs: Sequence[ReferenceCost], items: Sequence[Item]) -> Values:
    found = {(cost.arm, cost.item): cost.nats / cost.tokens for cost in costs if cost.tokens}
    arms = dict.fromkeys(cost.arm for cost in costs)
    return {arm: tuple(found.get((arm, item.id)) for item in items) for arm in arms}


def weights(costs: Sequence[ReferenceCost], items: Sequence[Item]) -> tuple[float, ...]:
    """Tokens of each item's reference. All arms stand on one base, so they count the same ones."""
    tokens = {cost.item: float(cost.tokens) for cost in costs}
    return tuple(tokens.get(item.id, 0.0) for item in items)
