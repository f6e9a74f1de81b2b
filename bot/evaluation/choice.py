"""Which arm to use, by a declared order: measure by measure those leave that are worse than the best one beyond chance.

Ties stay, and in the end the cheapest of those left is chosen: no adapter before an adapter, then fewer prompt tokens, then
fewer reply tokens. What the customer is told comes first, how it is said after it. Fairness and consistency come last: they
part what nothing else does, so that a base that says the same wrong thing to everybody does not win by them. Forgetting
decides nothing but can forbid an arm. Knows nothing of words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bot.evaluation.measured import (
    CONSISTENCY,
    FACTS_RIGHT,
    FACTS_WRONG,
    FAIRNESS_GAP,
    FORGETTING,
    REFERENCE_COST,
    RULES,
    SIMILARITY,
)
from bot.evaluation.results import ArmResult, Comparison, Cost, MeasureResult
from bot.evaluation.words import figure_of
from bot.training.gates import FORGETTING as MOST_FORGOTTEN

ORDER = (FACTS_RIGHT, FACTS_WRONG, RULES, SIMILARITY, REFERENCE_COST, FAIRNESS_GAP, CONSISTENCY)


@dataclass(frozen=True, slots=True)
class Step:
    """One measure's turn: the best of those that were left, and who went because of it."""

    measure: MeasureResult
    best: str
    gone: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """`arm` is "" where no arm is left to choose from. `equals` are those that no measure told from it, itself included;
    `forgetful` those that were forbidden."""

    arm: str
    steps: tuple[Step, ...]
    equals: tuple[str, ...]
    forgetful: tuple[str, ...]


def between(measure: MeasureResult, arm: str, other: str) -> Comparison | None:
    """`arm` minus `other`, whichever way round the result holds it; None where the two were not compared."""
    turned = {"better": "worse", "worse": "better"}
    for found in measure.comparisons:
        if (found.arm, found.other) == (arm, other):
            return found
        if (found.arm, found.other) == (other, arm):
            low, high = (None if end is None else -end for end in (found.high, found.low))
            values = {"arm": arm, "other": other, "mean": -found.mean, "low": low, "high": high}
            return found.model_copy(update={**values, "verdict": turned.get(found.verdict, found.verdict)})
    return None


def ordered(measures: Sequence[MeasureResult]) -> list[MeasureResult]:
    """Those that decide, in the order in which they do."""
    named = {measure.name: measure for measure in measures}
    return [named[name] for name in ORDER if name in named]


def choose(arms: Sequence[ArmResult], measures: Sequence[MeasureResult], costs: Sequence[Cost]) -> Choice:
    """Of the arms that could answer. An arm that a measure says nothing about is not sent away by it."""
    able = [arm for arm in arms if not arm.failure]
    forgetful = tuple(arm.name for arm in able if _forgets_too_much(arm, measures))
    left = [arm.name for arm in able if arm.name not in forgetful]
    steps = []
    for measure in ordered(measures):
        figures = [figure for figure in measure.figures if figure.arm in left]
        if len(figures) < 2:
            continue
        best = (max if measure.better == "higher" else min)(figures, key=lambda figure: figure.mean).arm
        compared = {name: between(measure, name, best) for name in left}
        gone = tuple(name for name, found in compared.items() if found and found.verdict == "worse")
        steps.append(Step(measure, best, gone))
        left = [name for name in left if name not in gone]
    adapters = {arm.name: arm.adapters for arm in able}
    tokens = {cost.arm: (cost.prompt_tokens, cost.reply_tokens) for cost in costs}
    unknown = (float("inf"), float("inf"))
    arm = min(left, key=lambda name: (bool(adapters[name]), tokens.get(name, unknown)), default="")
    return Choice(arm, tuple(steps), tuple(left), forgetful)


def _forgets_too_much(arm: ArmResult, measures: Sequence[MeasureResult]) -> bool:
    """By training's own limit: nats a token that the general set costs more than under the base."""
    measure = next((measure for measure in measures if measure.name == FORGETTING), None)
    own = figure_of(measure, arm.name) if measure else None
    return bool(own and own.mean > MOST_FORGOTTEN)
