"""Report against report: whether something got worse by more than is allowed, for a pipeline to stop at.

The rule is plain, so that nobody has to argue with it: an arm's mean may not be worse than it was by more than the drop that
is allowed. Where both reports hold the same items, each regression says as well whether the paired interval of the change
holds no change at all; that explains a red pipeline and never turns it green.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from bot.errors import DataError, faults
from bot.evaluation.measured import MATTERS, Measured
from bot.evaluation.results import MeasureResult, Report
from bot.evaluation.statistics import compare
from bot.evaluation.words import figure_of
from bot.files import read_text

_ROUNDING = 1e-9


def read_report(path: Path) -> Report:
    """Raises DataError naming the file and what is wrong with it."""
    try:
        return Report.model_validate_json(read_text(path))
    except ValidationError as error:
        found = faults(error)
        told = found if len(found) < 300 else f"{found[:300]} …"
        raise DataError(
            f"{path} is no report of an evaluation: {told}.", "Give the report.json that bot evaluate wrote."
        ) from None


def parse_drops(options: Sequence[str]) -> dict[str, float]:
    """["facts-right=0.02"] → {"facts right": 0.02}, in each measure's own unit, so 0.02 of a share is two points.

    Raises DataError for what is no name and number, a number below 0, or a name twice."""
    known = {_key(name): name for name in MATTERS}
    drops: dict[str, float] = {}
    for option in options:
        key, _, value = option.rpartition("=")
        if not key.strip() or not re.fullmatch(r"\d+(\.\d*)?|\.\d+", value.strip()):
            raise DataError(f"{option!r} allows no drop: it takes a measure and a number from 0.", "Write facts-right=0.02.")
        name = known.get(_key(key), key.strip())
        if name in drops:
            raise DataError(f"{name!r} is given two drops.", "Give one for each measure.")
        drops[name] = float(value)
    return drops


def check_against(new: Report, old: Report, drops: Mapping[str, float]) -> list[str]:
    """The regressions, a sentence each; none where all is well. `drops` are the largest that are allowed, by measure.

    An arm of the old report that is missing or failed now is one, and so is a measure that says nothing about it any more.
    Raises DataError where `drops` names no measure, or one that the old report does not have."""
    old_measures, new_measures = ({measure.name: measure for measure in report.measures} for report in (old, new))
    if not drops:
        raise DataError("No drop is given, so nothing can be held to.", "Write --max-drop facts-right=0.02.")
    for name in drops:
        if name not in old_measures:
            there = ", ".join(_key(name) for name in old_measures)
            raise DataError(f"The older report has no measure {name!r}.", f"It has: {there}.")
    found, standing = _arms(new, old)
    for name, drop in drops.items():
        before, after = old_measures[name], new_measures.get(name)
        for arm in standing:
            was = figure_of(before, arm)
            now = figure_of(after, arm) if after else None
            if was and not now:
                found.append(f"{arm}: {name} was {was.mean:.4g} and is not measured any more.")
            elif was and now and after:
                worse = was.mean - now.mean if before.better == "higher" else now.mean - was.mean
                if not worse <= drop + _ROUNDING:
                    found.append(
                        f"{arm}: {name} {'fell' if before.better == 'higher' else 'rose'} from {was.mean:.4g} to"
                        f" {now.mean:.4g}, by {worse:.4g}; at most {drop:g} is allowed. {_certainty(after, before, arm)}"
                    )
    return found


def _arms(new: Report, old: Report) -> tuple[list[str], list[str]]:
    """What is wrong with whole arms, and the names of those that answered both times."""
    now = {arm.name: arm for arm in new.arms}
    answered = {arm.name for arm in old.arms if not arm.failure}
    found = [f"{arm.name} is missing; the older report has it." for arm in old.arms if arm.name not in now]
    found += [f"{arm.name} could not answer: {arm.failure}" for arm in new.arms if arm.failure]
    return found, [arm.name for arm in old.arms if arm.name in answered and arm.name in now and not now[arm.name].failure]


def _certainty(new: MeasureResult, old: MeasureResult, arm: str) -> str:
    """In words, whether chance explains it."""
    both = (new.per_item.get(arm), old.per_item.get(arm))
    alike = (new.conversations, new.weights) == (old.conversations, old.weights)
    if both[0] is None or both[1] is None or not alike or len(both[0]) != len(new.conversations) != 0:
        return "The reports do not hold the same items, so chance was not ruled out."
    measured = Measured(new.name, new.unit, new.better, new.conversations, {"now": both[0], "before": both[1]}, new.weights)
    pair = compare([measured], "before")[0].comparisons[0]
    if pair.low is None or pair.high is None:
        return "There are too few conversations to rule out chance."
    ends = f"On the same items the 95 % interval of the change, {pair.low:.4g} to {pair.high:.4g},"
    return f"{ends} {'holds 0: it may be chance' if pair.verdict == 'tie' else 'does not hold 0: it is no chance'}."


def _key(name: str) -> str:
    return "-".join(re.split(r"[\s_-]+", name.strip().lower()))
