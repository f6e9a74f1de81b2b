"""A report as an evaluation of the demo would leave it: fourteen arms of which one failed, eight measures, thirty turns."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np

from bot.evaluation.arms import Parts, all_arms
from bot.evaluation.measured import (
    CHRF,
    CONSISTENCY,
    FACTS_RIGHT,
    FACTS_WRONG,
    FORGETTING,
    REFERENCE_COST,
    RULES,
    SHARE,
    SIMILARITY,
)
from bot.evaluation.results import (
    Advice,
    ArmResult,
    Comparison,
    ComparisonTable,
    Cost,
    Curve,
    CurvePoint,
    Example,
    ExampleReply,
    Figure,
    HandOffArm,
    HandOffTask,
    LabelArm,
    LabelTask,
    MeasureResult,
    Report,
)

PARTS = Parts(
    "support@2", "support-examples@2", "support-steps@1", "returns@1", "support@2", "returns-soft@1", "support@2", "larkmoor"
)
ARMS = all_arms(PARTS, {})
FAILED = "soft-prompt"
WINNER = "prompt+adapter+knowledge"
ITEMS = tuple(f"r{number:03}:{2 + 2 * (number % 3)}" for number in range(30))
TALKS = tuple(item.partition(":")[0] for item in ITEMS)
MEASURES: tuple[tuple[str, str, str, float, float, float, str], ...] = (
    # name, unit, better, base, what the best arm gains, noise, about
    (FACTS_RIGHT, SHARE, "higher", 0.12, 0.55, 0.3, "Figures, names and steps of the reference or a passage that the reply holds."),
    (FACTS_WRONG, SHARE, "lower", 0.34, -0.24, 0.25, "Replies with a figure or name that stands neither in reference nor passages."),
    (RULES, SHARE, "higher", 0.52, 0.4, 0.2, "The prompt's own rules that a reply obeys."),
    (SIMILARITY, "cosine", "higher", 0.31, 0.42, 0.12, "Nearness in meaning of reply and reference."),
    (CHRF, "points", "higher", 18.0, 31.0, 8.0, "Characters and words that reply and reference share."),
    (REFERENCE_COST, "nats/token", "lower", 3.1, -1.55, 0.4, "What the reference would have cost the arm, a token."),
    (CONSISTENCY, SHARE, "higher", 0.44, 0.36, 0.2, "Agreement over paraphrases, seeds and the order of turns."),
    (FORGETTING, "nats/token", "lower", 3.62, 0.09, 0.05, "Cost of a fixed general text: more means that something was forgotten."),
)  # fmt: skip
GAIN = {"base": 0.0, "zero-shot": 0.3, "few-shot": 0.55, "chain-of-thought": 0.4, "adapter": 0.68, "prompt+adapter": 0.85}
QUESTIONS = (
    "dont like my new lamp, until when can it go back",
    "I'd like to return order LM-48213. What does it cost and when do I see the money?",
    "sent my parcel last week, wheres my refund",
    "the shade of my new lamp has a big crack, what should i do",
    "Do I have to send the glass back, or is a photo of the four smashed bulbs enough for the replacement?",
)


def sample_report(**changes: Any) -> Report:
    """The same each time. Keywords replace fields of it."""
    random = np.random.default_rng(0)
    values: dict[str, Any] = {
        "id": "returns-20261127-061000",
        "scenario": "returns",
        "made": "2026-11-27T06:10:00+00:00",
        "command": "bot evaluate --scenario returns --seeds 0 1 --turns 30",
        "machine": "2 cores, 16 GB, Linux",
        "versions": {"switchboard": "0.1", "torch": "2.13.0", "transformers": "5.23.0"},
        "seeds": (0, 1),
        "inputs": {
            name: hashlib.sha256(name.encode()).hexdigest()
            for name in ("base", "prompt support@2", "adapter returns@1", "knowledge larkmoor", "transcripts", "price file")
        },
        "held_out": (27, 30),
        "items": ITEMS,
        "notes": ("27 held-out conversations tell a difference of 9 points of facts right; 120 would tell one of 4.",),
        "arms": tuple(
            ArmResult(
                name=arm.name,
                way=arm.way,
                adapters=arm.spec.adapters,
                prompt=arm.spec.prompt,
                knowledge=arm.spec.knowledge,
                failure="The prompt has 1,204 tokens; 1,024 fit." if arm.name == FAILED else "",
            )
            for arm in ARMS
        ),
        "measures": tuple(_measure(random, *row) for row in MEASURES),
        "costs": tuple(_cost(arm.name, arm.way) for arm in ARMS if arm.name != FAILED),
        "labels": _labels(),
        "hand_off": _hand_off(),
        "curve": _curve(random),
        "advice": Advice(
            arm=WINNER,
            headline="Use support@2 with returns@1 and the larkmoor articles.",
            reasons=(
                "It holds 64 % of the facts, 12 points more than the best prompt without an adapter (few-shot+knowledge).",
                "The adapter alone gains nothing over it on rules: a tie.",
                "Knowledge matters most: without it every arm invents figures in a fifth of its replies.",
            ),
        ),
        "table": _table(),
        "examples": tuple(_example(number) for number in range(20)),
    }
    return Report(**{**values, **changes})


def _measure(
    random: np.random.Generator, name: str, unit: str, better: str, base: float, most: float, noise: float, about: str
) -> MeasureResult:
    figures, comparisons, rows = [], [], {}
    bare = base
    for arm in ARMS:
        if arm.name == FAILED:
            continue
        gain = GAIN.get(arm.way, 0.5) * (1 if arm.with_knowledge else 0.7) + 0.15 * arm.with_knowledge
        items = base + most * gain + noise * random.standard_normal(len(ITEMS))
        items = np.clip(items, 0, 1) if unit == SHARE else items
        mean, half = float(items.mean()), 1.96 * float(items.std()) / math.sqrt(len(items))
        rows[arm.name] = tuple(map(float, items))
        figures.append(Figure(arm=arm.name, mean=mean, low=mean - half, high=mean + half, count=len(items)))
        if arm.name == "base":
            bare = mean
            continue
        difference, wide = mean - bare, half * 2
        up = (difference > 0) == (better == "higher")
        verdict = "tie" if abs(difference) < wide else "better" if up else "worse"
        comparisons.append(
            Comparison(
                arm=arm.name,
                other="base",
                mean=difference,
                low=difference - wide,
                high=difference + wide,
                verdict=verdict,  # type: ignore[arg-type]
                needed=round(len(ITEMS) * (wide / abs(difference)) ** 2) if verdict == "tie" else None,
            )
        )
    return MeasureResult(
        name=name, unit=unit, better=better, about=about, figures=tuple(figures), comparisons=tuple(comparisons),
        per_item=rows, conversations=TALKS,
    )  # type: ignore[arg-type]  # fmt: skip


def _cost(name: str, way: str) -> Cost:
    trained = "adapter" in way or "soft" in way
    knows = name.endswith("+knowledge")
    return Cost(
        arm=name,
        first_token_ms=21.0 + 34.0 * knows + 40.0 * ("shot" in way),
        tokens_per_second=161.0 - 30.0 * trained,
        prompt_tokens=58.0 + 120.0 * ("shot" in way or "prompt" in way) + 260.0 * knows,
        reply_tokens=31.4,
        training_seconds=214.0 if trained else 0.0,
        adapter_bytes=1_421_312 if trained else 0,
        transcripts=150 if trained else 0,
        currency="USD",
        money_once=120.0 if trained else 60.0 if way != "base" else 0.0,
        money_per_thousand=0.021 + 0.012 * knows,
    )


def _labels() -> tuple[LabelTask, ...]:
    arms = (
        LabelArm(name="zero-shot prompt", accuracy=0.41, low=0.36, high=0.47, macro_f1=0.33, seconds_per_message=0.031),
        LabelArm(name="few-shot prompt", accuracy=0.58, low=0.52, high=0.63, macro_f1=0.49, seconds_per_message=0.052),
        LabelArm(name="fine-tuned head", accuracy=0.91, low=0.88, high=0.94, macro_f1=0.88, seconds_per_message=0.004),
    )
    intents = ("return", "refund", "damaged", "delivery", "gift", "other")
    failed = LabelArm(name="fine-tuned head", failure="Only 1 sentiment has five messages to learn from.")
    return (
        LabelTask(task="intent", labels=intents, messages=217, arms=arms),
        LabelTask(task="sentiment", labels=("good", "neutral", "bad"), messages=217, arms=(*arms[:2], failed)),
    )


def _hand_off() -> HandOffTask:
    return HandOffTask(
        messages=217,
        should=24,
        false_alarm_rate=0.05,
        arms=(
            HandOffArm(name="few-shot prompt", recall=0.5, low=0.3, high=0.7, false_alarms=0.048),
            HandOffArm(name="fine-tuned head", recall=0.83, low=0.66, high=0.95, false_alarms=0.044),
        ),
    )


def _curve(random: np.random.Generator) -> Curve:
    points = [
        CurvePoint(
            transcripts=size,
            draw=draw,
            seconds=60.0 + size,
            figures={
                FACTS_RIGHT: 0.28 + 0.075 * math.log2(size / 12.5) + 0.04 * float(random.standard_normal()),
                REFERENCE_COST: 2.5 - 0.17 * math.log2(size / 12.5) + 0.05 * float(random.standard_normal()),
            },
        )
        for size in (12, 25, 50, 100, 150)
        for draw in range(3)
    ]
    return Curve(
        way="adapter+knowledge",
        prompt_arm="few-shot+knowledge",
        prompt_figures={FACTS_RIGHT: 0.49, REFERENCE_COST: 1.9},
        points=tuple(points),
        beats_from={FACTS_RIGHT: 100, REFERENCE_COST: None},
    )


def _table() -> ComparisonTable:
    return ComparisonTable(
        columns=("prompt engineering", "fine-tuning", "both", "soft prompt"),
        rows=(
            ("definition", ("support-examples@2", "returns@1", "support@2 with returns@1", "returns-soft@1")),
            ("model change", ("none", "1.4 MB beside the base", "1.4 MB beside the base", "20 kB beside the base")),
            ("data required", ("4 examples", "150 transcripts; beats the prompt from 100", "150 transcripts", "150 transcripts")),
            ("cost", ("60 once", "120 once", "180 once", "120 once")),
            ("speed", ("first token after 95 ms", "after 55 ms", "after 58 ms", "after 54 ms")),
            ("accuracy (facts right)", ("49 %", "55 %", "64 %", "41 %")),
            ("when to use which", ("few transcripts, rules that change weekly", "stable answers", "the default", "never here")),
        ),
    )  # fmt: skip


def _example(number: int) -> Example:
    question = QUESTIONS[number % len(QUESTIONS)]
    return Example(
        item=ITEMS[number],
        history=("customer: hello", "agent: Hi, this is Wren of Larkmoor. How can I help?", f"customer: {question}"),
        reference="You have 45 days from delivery. The return label costs $4.95; the refund takes 6 business days.",
        passages=("Returns: An order can be returned within 45 days.", "Labels: A return label costs $4.95."),
        replies=tuple(
            ExampleReply(
                arm=arm.name,
                text=f"You can return it within {45 if arm.with_knowledge else 30} days. The label costs $4.95.",
                reasoning="The customer asks for the deadline. The article says 45 days." if "chain" in arm.way else "",
            )
            for arm in ARMS
            if arm.name != FAILED
        ),
    )
