"""The gate stops at what got worse by more than is allowed, and at nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.errors import DataError
from bot.evaluation.gate import check_against, parse_drops, read_report
from bot.evaluation.measured import FACTS_RIGHT, REFERENCE_COST
from bot.evaluation.results import Advice, ComparisonTable, MeasureResult, Report
from tests.evaluation.test_verdict import arm, measure


def report(*measures: MeasureResult, failed: str = "") -> Report:
    names = dict.fromkeys(figure.arm for found in measures for figure in found.figures)
    arms = [arm(name, "It broke." if name == failed else "") for name in names]
    return Report(
        id="returns-1", scenario="returns", made="2026-11-27T06:00:00+00:00", command="bot evaluate", machine="2 cores",
        versions={}, seeds=(0, 1), inputs={}, held_out=(40, 40), items=(), arms=tuple(arms), measures=measures,
        advice=Advice(arm="", headline="", reasons=()), table=ComparisonTable(columns=(), rows=()),
    )  # fmt: skip


OLD = report(measure(FACTS_RIGHT, {"base": 0.4, "adapter": 0.6}), measure(REFERENCE_COST, {"base": 3.0, "adapter": 2.0}))
DROPS = {FACTS_RIGHT: 0.02, REFERENCE_COST: 0.1}


def test_the_same_and_the_better_pass() -> None:
    assert check_against(OLD, OLD, dict.fromkeys(DROPS, 0.0)) == []
    better = report(
        measure(FACTS_RIGHT, {"base": 0.4, "adapter": 0.9}), measure(REFERENCE_COST, {"base": 3.0, "adapter": 1.0})
    )
    assert check_against(better, OLD, DROPS) == []


def test_what_got_worse_by_more_than_allowed_is_told_with_figures_and_chance() -> None:
    worse = report(
        measure(FACTS_RIGHT, {"base": 0.39, "adapter": 0.5}), measure(REFERENCE_COST, {"base": 3.05, "adapter": 2.5})
    )
    facts, likeness = check_against(worse, OLD, DROPS)
    assert facts.startswith("adapter: facts right fell from 0.5928 to 0.4928")
    assert "by 0.1; at most 0.02 is allowed" in facts
    assert "does not hold 0: it is no chance." in facts
    assert likeness.startswith("adapter: reference cost rose from")
    assert check_against(worse, OLD, {FACTS_RIGHT: 0.11}) == []
    (chance,) = check_against(
        report(measure(FACTS_RIGHT, {"base": 0.4, "adapter": 0.6}, 40)), shifted(0.001), {FACTS_RIGHT: 0}
    )
    assert "holds 0: it may be chance." in chance


def shifted(by: float) -> Report:
    """The older report with one item of the adapter changed, so that the mean moves by chance alone."""
    found = OLD.measures[0]
    values = list(found.per_item["adapter"])
    values[0] = float(values[0] or 0) + by * len(values)
    figures = tuple(
        figure.model_copy(update={"mean": figure.mean + by}) if figure.arm == "adapter" else figure
        for figure in found.figures
    )
    changed = found.model_copy(update={"per_item": {**found.per_item, "adapter": tuple(values)}, "figures": figures})
    return OLD.model_copy(update={"measures": (changed, *OLD.measures[1:])})


def test_other_items_are_compared_by_their_means_alone() -> None:
    other = report(measure(FACTS_RIGHT, {"base": 0.4, "adapter": 0.5}, conversations=30))
    (told,) = check_against(other, OLD, {FACTS_RIGHT: 0.02})
    assert told.endswith("The reports do not hold the same items, so chance was not ruled out.")


def test_missing_and_failed_arms_and_measures_are_regressions() -> None:
    assert check_against(report(measure(FACTS_RIGHT, {"base": 0.4})), OLD, {FACTS_RIGHT: 1}) == [
        "adapter is missing; the older report has it."
    ]
    failed = report(measure(FACTS_RIGHT, {"base": 0.4, "adapter": 0.6}), failed="adapter")
    assert check_against(failed, OLD, {FACTS_RIGHT: 1}) == ["adapter could not answer: It broke."]
    without = report(measure(FACTS_RIGHT, {"base": 0.4, "adapter": 0.6}))
    assert [told.split(":")[0] for told in check_against(without, OLD, {REFERENCE_COST: 9})] == ["base", "adapter"]
    assert check_against(OLD, failed, {FACTS_RIGHT: 1}) == [], "what failed before holds nobody to anything"


def test_unknown_measures_and_no_measure_at_all_are_errors() -> None:
    with pytest.raises(DataError, match=r"no measure 'speed'. It has: facts-right, reference-cost"):
        check_against(OLD, OLD, {"speed": 1})
    with pytest.raises(DataError, match="No drop is given"):
        check_against(OLD, OLD, {})


def test_drops_are_written_as_a_shell_likes_them() -> None:
    assert parse_drops(["facts-right=0.02", "chrf=1", "my own=.5"]) == {"facts right": 0.02, "chrF": 1.0, "my own": 0.5}
    for bad in ("facts-right", "facts-right=", "=1", "facts-right=-1", "facts-right=nan", "facts-right=much"):
        with pytest.raises(DataError, match=r"Write facts-right=0.02"):
            parse_drops([bad])
    with pytest.raises(DataError, match="two drops"):
        parse_drops(["facts-right=1", "Facts right=2"])


def test_a_report_is_read_back_whole_or_refused_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(OLD.model_dump_json())
    assert read_report(path) == OLD
    for text, told in (("{}", "is no report of an evaluation"), ("{", "Invalid JSON"), ("", "is no report")):
        path.write_text(text)
        with pytest.raises(DataError, match=told):
            read_report(path)
    with pytest.raises(DataError, match="does not exist"):
        read_report(tmp_path / "none.json")
