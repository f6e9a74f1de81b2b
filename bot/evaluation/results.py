"""What an evaluation found, as its report.json holds it: pages, Markdown, gate and console all read this and nothing else.

Strict data without behaviour. Figures are rounded when they are shown, never here; timings stand apart (`costs`), so that
two runs of the same inputs are equal but for them.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from bot.evaluation.measured import Better


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ArmResult(Part):
    """`failure` says why an arm could not answer; its figures are missing everywhere then."""

    name: str
    way: str
    adapters: str
    prompt: str
    knowledge: str
    failure: str = ""


class Figure(Part):
    """An arm's mean with the ends of its 95 % interval, over `count` items. Ends are None where there are too few
    conversations for an interval."""

    arm: str
    mean: float
    low: float | None
    high: float | None
    count: int


Verdict = Literal["better", "worse", "tie", "too few"]


class Comparison(Part):
    """`arm` minus `other`, paired by conversation; the interval is wide enough to hold for all comparisons of its measure
    together. `needed` is how many conversations would tell a difference of this size from none; None where it is told
    already or cannot be said."""

    arm: str
    other: str
    mean: float
    low: float | None
    high: float | None
    verdict: Verdict
    needed: int | None = None


class MeasureResult(Part):
    """`per_item` are, by arm, the items' values in the measure's order of items (the report's, where it reads the held-out
    turns), `conversations` the units of those items and `weights` what each counts for, all alike where there are none: with
    them another report of the same items is compared in pairs."""

    name: str
    unit: str
    better: Better
    about: str
    figures: tuple[Figure, ...]
    comparisons: tuple[Comparison, ...]
    per_item: dict[str, tuple[float | None, ...]] = {}
    conversations: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()


class Cost(Part):
    """What an arm takes. Timings are medians of this run on this machine; money is in
    `currency`: for a thousand replies, and what there is to pay once (transcripts, training, writing the prompt)."""

    arm: str
    first_token_ms: float
    tokens_per_second: float
    prompt_tokens: float
    reply_tokens: float
    training_seconds: float
    adapter_bytes: int
    transcripts: int
    currency: str
    money_once: float
    money_per_thousand: float


class LabelArm(Part):
    """One way to label messages. Ends of accuracy's interval are over conversations."""

    name: str
    failure: str = ""
    accuracy: float | None = None
    low: float | None = None
    high: float | None = None
    macro_f1: float | None = None
    seconds_per_message: float | None = None


class LabelTask(Part):
    """`task` is intent or sentiment; `labels` are what is told apart."""

    task: str
    labels: tuple[str, ...]
    messages: int
    arms: tuple[LabelArm, ...]


class HandOffArm(Part):
    """Recall of the messages that a person should take over, where at most `false_alarms` of the others are handed over."""

    name: str
    failure: str = ""
    recall: float | None = None
    low: float | None = None
    high: float | None = None
    false_alarms: float | None = None


class HandOffTask(Part):
    messages: int
    should: int
    false_alarm_rate: float
    arms: tuple[HandOffArm, ...]


class CurvePoint(Part):
    """One training on `transcripts` conversations: `draw` is which of several selections, `figures` are by measure."""

    transcripts: int
    draw: int
    seconds: float
    figures: dict[str, float]


class Curve(Part):
    """The learning curve. `prompt_arm` is the best prompt with its figures; `beats_from` is by measure the number of
    transcripts from which the adapter is better than it, None where it is not within the data."""

    way: str
    prompt_arm: str
    prompt_figures: dict[str, float]
    points: tuple[CurvePoint, ...]
    beats_from: dict[str, int | None]


class Advice(Part):
    """The verdict: the recommended arm ("" where nothing could be said), in one sentence, and what it rests on."""

    arm: str
    headline: str
    reasons: tuple[str, ...]


class ComparisonTable(Part):
    """The field's table with this desk's numbers: a column for each way, a cell for each aspect."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]


class ExampleReply(Part):
    arm: str
    text: str
    reasoning: str = ""


class Example(Part):
    """One item side by side: the conversation as lines "customer: …", the reference, what each arm said."""

    item: str
    history: tuple[str, ...]
    reference: str
    passages: tuple[str, ...]
    replies: tuple[ExampleReply, ...]


class Report(Part):
    """`inputs` are hashes of all that the figures depend on, by name. `held_out` is (conversations, turns)."""

    id: str
    scenario: str
    made: str
    command: str
    machine: str
    versions: dict[str, str]
    seeds: tuple[int, ...]
    inputs: dict[str, str]
    held_out: tuple[int, int]
    items: tuple[str, ...]
    notes: tuple[str, ...] = ()
    """What the reader must know first, such as that there are too few conversations."""
    arms: tuple[ArmResult, ...]
    measures: tuple[MeasureResult, ...]
    costs: tuple[Cost, ...] = ()
    labels: tuple[LabelTask, ...] = ()
    hand_off: HandOffTask | None = None
    curve: Curve | None = None
    advice: Advice
    table: ComparisonTable
    examples: tuple[Example, ...] = ()
