"""The verdict of each constellation, made from values so that the figures are what the statistics give."""

from __future__ import annotations

import numpy as np
import pytest

from bot.evaluation.comparison import comparison_table
from bot.evaluation.measured import (
    CONSISTENCY,
    FACTS_RIGHT,
    FACTS_WRONG,
    FORGETTING,
    REFERENCE_COST,
    SHARE,
    Measured,
)
from bot.evaluation.results import Advice, ArmResult, ComparisonTable, Cost, Curve, CurvePoint, MeasureResult
from bot.evaluation.statistics import compare
from bot.evaluation.verdict import advise

WAYS = {
    "base": ("", ""),
    "zero-shot": ("", "support@2"),
    "adapter": ("returns@1", ""),
    "prompt+adapter": ("returns@1", "support@2"),
    "soft-prompt": ("softly@1", "support@2"),
}


def arm(name: str, failure: str = "") -> ArmResult:
    way = name.removesuffix("+knowledge")
    adapters, prompt = WAYS[way]
    return ArmResult(
        name=name, way=way, adapters=adapters, prompt=prompt,
        knowledge="larkmoor" if name.endswith("+knowledge") else "", failure=failure,
    )  # fmt: skip


def cost(name: str) -> Cost:
    adapters, prompt = WAYS[name.removesuffix("+knowledge")]
    return Cost(
        arm=name, first_token_ms=80, tokens_per_second=120, prompt_tokens=150 if prompt else 20, reply_tokens=30,
        training_seconds=240 if adapters else 0, adapter_bytes=2_000_000 if adapters else 0,
        transcripts=151 if adapters else 0, currency="USD", money_once=12.5, money_per_thousand=0.4,
    )  # fmt: skip


def measure(name: str, means: dict[str, float], conversations: int = 40) -> MeasureResult:
    """Values around those means, with noise that all arms share and a little of their own."""
    random = np.random.default_rng(len(name))
    shared = random.uniform(-0.2, 0.2, conversations)
    values = {arm: tuple((mean + shared + random.normal(0, 0.05, conversations)).tolist()) for arm, mean in means.items()}
    names = tuple(f"c{number}" for number in range(conversations))
    lower = name in (FACTS_WRONG, REFERENCE_COST, FORGETTING)
    unit = "nats a token" if name in (REFERENCE_COST, FORGETTING) else SHARE
    return compare([Measured(name, unit, "lower" if lower else "higher", names, values)], "base")[0]


def verdict(*measures: MeasureResult, arms: list[ArmResult] | None = None, curve: Curve | None = None) -> Advice:
    names = dict.fromkeys(figure.arm for measure in measures for figure in measure.figures)
    return advise(arms or [arm(name) for name in names], measures, [cost(name) for name in names], curve)


ALL = dict.fromkeys(WAYS, 0.4)


def test_prompt_and_adapter_together_win() -> None:
    advice = verdict(measure(FACTS_RIGHT, ALL | {"prompt+adapter": 0.7}))
    assert advice.arm == "prompt+adapter"
    assert advice.headline == "Use support@2 with returns@1."
    told = " ".join(advice.reasons)
    assert "It has the best facts right of those that were left, 68 %" in told
    assert "The adapter alone (returns@1) gains nothing over the prompt (support@2) (facts right 3" in told
    assert (
        "The prompt with the adapter (support@2 with returns@1) gains over the prompt (support@2): facts right 68 %" in told
    )


def test_the_adapter_wins() -> None:
    advice = verdict(measure(FACTS_RIGHT, ALL | {"adapter": 0.7}))
    assert advice.headline == "Use returns@1 without a prompt."
    assert any(reason.startswith("The prompt with the adapter") and "loses against" in reason for reason in advice.reasons)


def test_the_prompt_wins_and_articles_are_named() -> None:
    advice = verdict(measure(FACTS_RIGHT, {"base": 0.3, "zero-shot": 0.4, "zero-shot+knowledge": 0.6}))
    assert advice.headline == "Use support@2 and the articles of larkmoor."
    assert any(reason.startswith("The advised arm gains over the advised arm without articles") for reason in advice.reasons)


def test_among_equals_the_cheapest_is_used() -> None:
    equals = ALL | {"base": 0.1}
    advice = verdict(measure(FACTS_RIGHT, equals), measure(REFERENCE_COST, equals))
    assert advice.arm == "zero-shot", "the adapter has fewer tokens, but is an adapter"
    assert any("it costs least (150 prompt tokens a turn, no adapter)" in reason for reason in advice.reasons)
    nothing = verdict(measure(FACTS_RIGHT, ALL))
    assert nothing.arm == "base"
    assert nothing.headline == "Nothing could be told apart on 40 conversations: use the bare base, which costs least."


def test_facts_come_before_likeness_and_a_later_measure_decides_among_ties() -> None:
    right = {"zero-shot": 0.4, "adapter": 0.4, "base": 0.1}
    likeness = {"zero-shot": 2.5, "adapter": 1.9, "base": 1.0}
    advice = verdict(measure(REFERENCE_COST, likeness), measure(FACTS_RIGHT, right))
    assert advice.arm == "adapter"
    told = next(reason for reason in advice.reasons if reason.startswith("The adapter alone"))
    assert "gains over the prompt (support@2): reference cost 1.9" in told
    assert "Before that, facts right is a tie" in told


def test_what_forgets_too_much_is_not_used_and_what_forgets_some_is_told() -> None:
    right = measure(FACTS_RIGHT, {"base": 0.2, "zero-shot": 0.4, "adapter": 0.8})
    much = verdict(right, measure(FORGETTING, {"base": 0.0, "zero-shot": 0.0, "adapter": 1.5}))
    assert much.arm == "zero-shot"
    assert any(reason.startswith("Not to be used") and "adapter" in reason for reason in much.reasons)
    some = verdict(right, measure(FORGETTING, {"base": 0.0, "zero-shot": 0.0, "adapter": 0.4}))
    assert some.arm == "adapter"
    assert any(reason.startswith("Mind that it forgets some") for reason in some.reasons)


def test_consistency_parts_only_what_nothing_else_does() -> None:
    right = measure(FACTS_RIGHT, {"base": 0.1, "zero-shot": 0.5, "prompt+adapter": 0.5})
    steady = measure(CONSISTENCY, {"base": 0.99, "zero-shot": 0.5, "prompt+adapter": 0.9})
    advice = verdict(right, steady)
    assert advice.arm == "prompt+adapter"
    assert any(reason.startswith("Mind that it answers the same question less alike than base") for reason in advice.reasons)


def test_too_few_conversations_advise_nothing_and_say_how_many_are_needed() -> None:
    general = measure(FORGETTING, {"base": 0.0, "zero-shot": 0.0}, conversations=40)
    advice = verdict(measure(FACTS_RIGHT, {"base": 0.3, "zero-shot": 0.5}, conversations=6), general)
    assert advice.arm == ""
    assert advice.headline == "Too few conversations to advise anything: 6 are held out, and at least 10 are needed."
    assert any("about 10 conversations would be needed; there are 6" in reason for reason in advice.reasons)


def test_failed_arms_are_told_and_nothing_is_advised_where_all_failed() -> None:
    failed = arm("adapter", "It was trained on another base.")
    right = measure(FACTS_RIGHT, {"base": 0.3, "zero-shot": 0.5})
    advice = verdict(right, arms=[arm("base"), arm("zero-shot"), failed])
    assert advice.arm == "zero-shot"
    assert "adapter could not answer: It was trained on another base." in advice.reasons
    assert verdict(arms=[failed]).headline == "Nothing can be advised: no arm could answer."


def test_the_learning_curve_is_told() -> None:
    points = tuple(CurvePoint(transcripts=n, draw=0, seconds=1, figures={}) for n in (25, 50, 150))
    beats = {FACTS_RIGHT: None, REFERENCE_COST: 50}
    curve = Curve(way="adapter", prompt_arm="zero-shot", prompt_figures={}, points=points, beats_from=beats)
    told = verdict(measure(FACTS_RIGHT, ALL), curve=curve).reasons
    assert "The learning curve: from 50 transcripts on, training beats zero-shot in reference cost." in told
    assert "The learning curve: within 150 transcripts, training does not beat zero-shot in facts right." in told
    table = tabled(curve=curve)
    assert "Within 150 it does not beat zero-shot in facts right." in cell(table, "Data required", "Adapter")


def tabled(curve: Curve | None = None) -> ComparisonTable:
    measures = [measure(FACTS_RIGHT, ALL | {"prompt+adapter": 0.7}), measure(CONSISTENCY, ALL)]
    arms = [arm(name, "no such prompt" if name == "soft-prompt" else "") for name in ALL]
    return comparison_table(arms, measures, [cost(name) for name in ALL], curve, "prompt+adapter")


def cell(table: ComparisonTable, aspect: str, column: str) -> str:
    return dict(table.rows)[aspect][table.columns.index(column)]


def test_the_table_holds_measured_figures() -> None:
    table = tabled()
    assert len(table.rows) == 11
    assert cell(table, "Definition", "Prompt").endswith(": support@2.")
    assert cell(table, "Model change", "Adapter").startswith("2 MB beside the base")
    assert cell(table, "Data required", "Adapter") == "151 transcripts."
    assert cell(table, "Speed", "Prompt") == "80 ms to the first token, then 120 tokens a second."
    assert cell(table, "Many tasks on one base", "Adapter").startswith("2 MB for each task, so 500 in a gigabyte")
    assert cell(table, "Accuracy", "Prompt and adapter").startswith("facts right 68 %")
    assert cell(table, "Accuracy", "Prompt and adapter").endswith("facts wrong not measured")
    assert cell(table, "When to use which", "Prompt and adapter").endswith("Here it is the choice.")
    assert cell(table, "When to use which", "Prompt").endswith("of the choice, worse.")
    assert {cells[3] for _, cells in table.rows} == {"could not answer: no such prompt"}
    only = comparison_table([arm("base")], [], [])
    assert {text for _, cells in only.rows for text in cells} == {"not part of this evaluation"}


@pytest.mark.parametrize("name", ["prompt", "adapter"])
def test_a_table_without_costs_says_that_they_are_not_measured(name: str) -> None:
    table = comparison_table([arm("zero-shot"), arm("adapter")], [], [])
    column = {"prompt": "Prompt", "adapter": "Adapter"}[name]
    assert "not measured" in cell(table, "Cost", column)
    assert cell(table, "Consistency", column) == "not measured"
