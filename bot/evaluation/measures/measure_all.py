"""All measures of an evaluation, in one order. What they need asked besides the items is told by `further_items` (under the
arms themselves, with one seed: the first) and by `general_items` under `bare_arms`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from bot.evaluation.arms import Arm
from bot.evaluation.items import Item
from bot.evaluation.measured import Measured
from bot.evaluation.measures import consistency, fairness
from bot.evaluation.measures.chrf import chrf
from bot.evaluation.measures.facts import facts_right, facts_wrong
from bot.evaluation.measures.forgetting import bare_arms, forgetting, general_items
from bot.evaluation.measures.meaning import Meanings
from bot.evaluation.measures.per_item import Asked, by_arm
from bot.evaluation.measures.reference_cost import reference_cost
from bot.evaluation.measures.rules import rules, variables
from bot.evaluation.measures.similarity import similarity
from bot.prompts.library import PromptLibrary
from bot.runs.progress import Progress, Step
from bot.types import Embedder

__all__ = ["bare_arms", "further_items", "general_items", "measure_all"]
STAGE = "measuring"
_MEASURES = 8


class Rooms(Protocol):
    """What measures need of the desk."""

    @property
    def embedder(self) -> Embedder: ...

    @property
    def prompts(self) -> PromptLibrary: ...


def further_items(items: Sequence[Item]) -> list[Item]:
    """The questions put otherwise that consistency and fairness ask, without references."""
    return [*consistency.further_items(items), *fairness.further_items(items)]


async def measure_all(
    asked: Asked,
    further: Asked,
    general: Asked,
    items: Sequence[Item],
    arms: Sequence[Arm],
    rooms: Rooms,
    progress: Progress,
) -> list[Measured]:
    """`asked` is what `ask` gave for the items, `further` for their `further_items`, `general` for `general_items()` under
    `bare_arms(arms)`. An arm that said nothing is in none but those that need no reply of it. Raises PromptError for a
    prompt's rules that are not valid."""
    meanings = Meanings(rooms.embedder)
    replies, more = by_arm(asked.replies), by_arm(further.replies)
    together = {arm: {**own, **more.get(arm, {})} for arm, own in replies.items()}
    known: Mapping[str, Sequence[str]] = {
        arm.name: list(variables(arm, rooms.prompts).values()) for arm in arms if arm.name in replies
    }
    found = [reference_cost(asked.costs, items)]

    def took(*measured: Measured) -> None:
        found.extend(measured)
        progress.step(Step(STAGE, min(len(found), _MEASURES), _MEASURES))

    took(facts_right(replies, items), facts_wrong(replies, items, known))
    took(await similarity(replies, items, meanings))
    took(chrf(replies, items))
    took(await rules(replies, items, arms, rooms.prompts, meanings))
    took(await consistency.consistency(together, items, meanings))
    took(forgetting([arm for arm in arms if arm.name in replies], general.costs))
    took(*await fairness.fairness(together, items, meanings))
    return found
