"""A report as its pages read it: what belongs to an arm, which arm all others are held against, which way has which arms.

Finds and orders; computes nothing of its own.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

from bot.evaluation.arms import KNOWLEDGE
from bot.evaluation.choice import between
from bot.evaluation.report.words import Style, style_of
from bot.evaluation.results import ArmResult, Comparison, Cost, Figure, MeasureResult, Report
from bot.evaluation.words import figure_of

BARE = "base"


@dataclass(frozen=True, slots=True)
class Cell:
    """An arm under a measure: its figure, and how it stands against the rival."""

    figure: Figure | None
    against: Comparison | None


@dataclass(frozen=True)
class View:
    """One report. `rival` is the arm that the tables hold the others against: the one that most were compared with."""

    report: Report

    @cached_property
    def winner(self) -> ArmResult | None:
        return next((arm for arm in self.report.arms if arm.name == self.report.advice.arm), None)

    @cached_property
    def ways(self) -> list[tuple[str, list[ArmResult]]]:
        """The ways in the report's order, each with its arms: the one without knowledge first."""
        found: dict[str, list[ArmResult]] = {}
        for arm in self.report.arms:
            found.setdefault(arm.way, []).append(arm)
        return [(way, sorted(arms, key=with_knowledge)) for way, arms in found.items()]

    @cached_property
    def rival(self) -> str:
        compared = Counter(
            name
            for measure in self.report.measures
            for pair in {frozenset((one.arm, one.other)) for one in measure.comparisons}
            for name in pair
        )
        order = [arm.name for arm in self.report.arms]
        most = max(compared.values(), default=0)
        able = [name for name in order if compared[name] == most and most]
        return BARE if BARE in able else next(iter(able), "")

    @cached_property
    def styles(self) -> dict[str, Style]:
        return {measure.name: style_of(measure) for measure in self.report.measures}

    @cached_property
    def costs(self) -> dict[str, Cost]:
        return {cost.arm: cost for cost in self.report.costs}

    def cell(self, measure: MeasureResult, arm: str) -> Cell:
        return Cell(
            figure_of(measure, arm),
            between(measure, arm, self.rival) if arm != self.rival else None,
        )


def with_knowledge(arm: ArmResult) -> bool:
    """By its name, so that an arm whose collection is missing stands where it belongs."""
    return bool(arm.knowledge) or arm.name.endswith(KNOWLEDGE)


def agent_text(arm: ArmResult) -> str:
    """`support@2 + returns@1 + larkmoor`; the bare base where the arm is made of nothing."""
    return " + ".join(part for part in (arm.prompt, arm.adapters, arm.knowledge) if part) or BARE
