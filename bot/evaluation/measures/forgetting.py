"""What an arm's adapters make the base forget: what a fixed general set costs under them, above what it costs the base.

The set is that of training's gate, so that a card and a report speak of the same texts. No prompt and no knowledge: it is
the weights that forget.
"""

from __future__ import annotations

from collections.abc import Sequence

from bot.evaluation.arms import Arm
from bot.evaluation.items import Item
from bot.evaluation.measured import FORGETTING, Measured
from bot.evaluation.measures.per_item import Values, conversations
from bot.evaluation.measures.reference_cost import UNIT, per_token, weights
from bot.evaluation.replies import ReferenceCost
from bot.training.canary import gate_texts
from bot.types import AgentSpec, Message


def general_items() -> list[Item]:
    """The general set as items."""
    return [
        Item(f"general-{number}", f"general-{number}", (Message("user", question),), reply)
        for number, (question, reply) in enumerate(gate_texts()["general"], 1)
    ]


def bare_arms(arms: Sequence[Arm]) -> list[Arm]:
    """Under which the general set is asked: the base, and each mix of adapters once. Their names are the mixes."""
    mixes = dict.fromkeys(arm.spec.adapters for arm in arms if arm.spec.adapters)
    return [Arm("", "base", AgentSpec()), *(Arm(mix, "adapter", AgentSpec(mix)) for mix in mixes)]


def forgetting(arms: Sequence[Arm], costs: Sequence[ReferenceCost]) -> Measured:
    """`costs` are the general items' under the bare arms. An arm whose adapters could not be asked is not there."""
    items = general_items()
    found = per_token(costs, items)
    values: Values = {
        arm.name: tuple(
            None if own is None or base is None else own - base
            for own, base in zip(found[arm.spec.adapters], found[""], strict=True)
        )
        for arm in arms
        if arm.spec.adapters in found and "" in found
    }
    return Measured(
        FORGETTING,
        UNIT,
        "lower",
        conversations(items),
        values,
        weights(costs, items),
        f"How much more {len(items)} replies about something else than this desk cost under the arm's adapters than under"
        " the base, without prompt and knowledge, in nats a token over all their tokens.",
    )
