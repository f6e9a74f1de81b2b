"""The field's table, prompt engineering against fine-tuning and both, with this desk's measured figures in its cells.

A column stands for the best arm of its family, by the order of `choice.py`. Words stand in comparison.yaml; a figure that
was not measured is said to be so.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from bot.evaluation.choice import between, choose, ordered
from bot.evaluation.measured import CONSISTENCY, FACTS_RIGHT, FACTS_WRONG
from bot.evaluation.results import ArmResult, ComparisonTable, Cost, Curve, MeasureResult
from bot.evaluation.verdict import PROMPTS, named
from bot.evaluation.words import figure_of, said, said_bytes, said_seconds, said_with_interval
from bot.files import read_yaml

FAMILIES = {"prompt": PROMPTS, "adapter": ("adapter",), "both": ("prompt+adapter",), "soft prompt": ("soft-prompt",)}
_GIGABYTE = 1e9


@cache
def _texts() -> dict[str, Any]:
    return read_yaml(Path(__file__).with_name("comparison.yaml"))


def comparison_table(
    arms: Sequence[ArmResult],
    measures: Sequence[MeasureResult],
    costs: Sequence[Cost],
    curve: Curve | None = None,
    advised: str = "",
) -> ComparisonTable:
    """Four columns and a row for each aspect. `advised` is the arm that the verdict recommends, "" where it does none."""
    texts = _texts()
    columns = {family: _of_family(family, arms, measures, costs) for family in FAMILIES}
    facts = {
        family: _Facts(arm, measures, costs, curve, advised).all() if isinstance(arm, ArmResult) else arm
        for family, arm in columns.items()
    }
    rows = []
    for row in texts["rows"].values():
        cells = (text if isinstance(text, str) else row[family].format(**text).strip() for family, text in facts.items())
        rows.append((row["title"], tuple(cells)))
    return ComparisonTable(columns=tuple(texts["columns"][family] for family in FAMILIES), rows=tuple(rows))


def _of_family(
    family: str, arms: Sequence[ArmResult], measures: Sequence[MeasureResult], costs: Sequence[Cost]
) -> ArmResult | str:
    """The family's best arm, or why there is none."""
    own = [arm for arm in arms if arm.way in FAMILIES[family]]
    able = [arm for arm in own if not arm.failure]
    if not own:
        return str(_texts()["absent"])
    if not able:
        return str(_texts()["failed"]).format(reason=own[0].failure)
    # What forgets too much stands in the table all the same, where its family has nothing else.
    best = choose(able, measures, costs).arm or able[0].name
    return next(arm for arm in able if arm.name == best)


class _Facts:
    """What the braces of one column stand for."""

    def __init__(
        self,
        arm: ArmResult,
        measures: Sequence[MeasureResult],
        costs: Sequence[Cost],
        curve: Curve | None,
        advised: str,
    ) -> None:
        self.arm, self.measures, self.curve, self.advised = arm, measures, curve, advised
        self.cost = next((cost for cost in costs if cost.arm == arm.name), None)
        self.missing = str(_texts()["missing"])

    def all(self) -> dict[str, str]:
        return {
            "parts": named(self.arm),
            **self._costs(),
            "accuracy": self._accuracy(),
            "consistency": self._figure(CONSISTENCY),
            "curve": self._curve(),
            "here": self._here(),
        }

    def _costs(self) -> dict[str, str]:
        cost = self.cost
        if not cost:
            names = "adapter_bytes per_gigabyte transcripts training prompt_tokens money_once money_per_thousand"
            return dict.fromkeys([*names.split(), "first_token", "speed"], self.missing)
        return {
            "adapter_bytes": said_bytes(cost.adapter_bytes),
            "per_gigabyte": f"{_GIGABYTE / cost.adapter_bytes:,.0f}" if cost.adapter_bytes else self.missing,
            "transcripts": f"{cost.transcripts:,}",
            "training": said_seconds(cost.training_seconds),
            "prompt_tokens": f"{cost.prompt_tokens:,.0f}",
            "money_once": f"{cost.money_once:,.2f} {cost.currency}",
            "money_per_thousand": f"{cost.money_per_thousand:,.2f} {cost.currency}",
            "first_token": f"{cost.first_token_ms:,.0f} ms",
            "speed": f"{cost.tokens_per_second:,.0f} tokens a second",
        }

    def _figure(self, name: str) -> str:
        measure = next((measure for measure in self.measures if measure.name == name), None)
        figure = figure_of(measure, self.arm.name) if measure else None
        return said_with_interval(figure, measure.unit) if measure and figure else self.missing

    def _accuracy(self) -> str:
        return "; ".join(f"{name} {self._figure(name)}" for name in (FACTS_RIGHT, FACTS_WRONG))

    def _curve(self) -> str:
        """Where the adapter passes the best prompt, by the first deciding measure that the curve has."""
        if not self.curve or self.curve.way != self.arm.way or not self.curve.points:
            return ""
        names = [measure.name for measure in ordered(self.measures) if measure.name in self.curve.beats_from]
        if not names:
            return ""
        transcripts = self.curve.beats_from[names[0]]
        most = max(point.transcripts for point in self.curve.points)
        pattern = _texts()["curve"]["never" if transcripts is None else "from"]
        return str(pattern.format(prompt_arm=self.curve.prompt_arm, measure=names[0], transcripts=transcripts, most=most))

    def _here(self) -> str:
        texts = _texts()["here"]
        if self.arm.name == self.advised:
            return str(texts["chosen"])
        compared = [(measure, between(measure, self.arm.name, self.advised)) for measure in ordered(self.measures)]
        found = [(measure, pair) for measure, pair in compared if pair]
        if not found:
            return ""
        measure, pair = next((one for one in found if one[1].verdict in ("better", "worse")), found[0])
        own, other = figure_of(measure, self.arm.name), figure_of(measure, self.advised)
        return str(
            texts["compared"].format(
                measure=measure.name,
                figure=said(own.mean, measure.unit) if own else self.missing,
                other_figure=said(other.mean, measure.unit) if other else self.missing,
                verdict=_texts()["verdicts"][pair.verdict],
            )
        )
