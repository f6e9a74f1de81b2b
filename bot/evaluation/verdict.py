"""What was measured → the advice in plain words: which arm to use, and what that rests on.

`choice.py` decides; this file tells. Sentences stand in verdict.yaml. Nothing is said that was not measured: a tie is called
a tie, with the conversations that would settle it, and where there are too few nothing is advised.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from bot.evaluation.choice import Choice, between, choose, ordered
from bot.evaluation.measured import CONSISTENCY, FAIRNESS_GAP, FORGETTING
from bot.evaluation.results import Advice, ArmResult, Comparison, Cost, Curve, MeasureResult
from bot.evaluation.statistics import FEWEST, worth_telling
from bot.evaluation.words import figure_of, listed, parts_of, said, said_with_interval
from bot.files import read_yaml

PROMPTS = ("zero-shot", "few-shot", "chain-of-thought")


@cache
def _texts() -> dict[str, Any]:
    return read_yaml(Path(__file__).with_name("verdict.yaml"))


def named(arm: ArmResult) -> str:
    """By its references: "support@2 with returns@1 and the articles of larkmoor"."""
    text = str(_texts()["named"][parts_of(arm)]).format(prompt=arm.prompt, adapters=arm.adapters)
    return str(_texts()["knowledge"]).format(named=text, knowledge=arm.knowledge) if arm.knowledge else text


def advise(
    arms: Sequence[ArmResult], measures: Sequence[MeasureResult], costs: Sequence[Cost], curve: Curve | None = None
) -> Advice:
    """The recommended arm and why. `arm` is "" where none could answer, all are forbidden, or there are too few
    conversations for any comparison of a measure that decides."""
    choice = choose(arms, measures, costs)
    remarks = [*_forgetful(choice), *_failures(arms), *_curve(curve)]
    headline = _texts()["headline"]
    if not choice.arm:
        return Advice(arm="", headline=headline["forgetful" if choice.forgetful else "failed"], reasons=tuple(remarks))
    able = [arm for arm in arms if not arm.failure]
    deciding = ordered(measures)
    conversations = max((len(set(measure.conversations)) for measure in deciding), default=0)
    verdicts = {found.verdict for measure in deciding for found in measure.comparisons}
    if len(able) > 1 and verdicts <= {"too few"}:
        said = headline["too few"].format(conversations=conversations, fewest=FEWEST)
        return Advice(arm="", headline=said, reasons=(*_questions(able[0], able, measures, costs), *remarks))
    arm = next(arm for arm in able if arm.name == choice.arm)
    told_apart = any(step.gone for step in choice.steps)
    pattern = headline["use" if told_apart or len(able) == 1 else "cheapest"]
    reasons = [*_steps(choice), *_cheapest(arm, choice, costs), *_questions(arm, able, measures, costs)]
    return Advice(
        arm=arm.name,
        headline=pattern.format(named=named(arm), conversations=conversations),
        reasons=(*reasons, *_mind(arm, measures), *remarks),
    )


def _steps(choice: Choice) -> Iterator[str]:
    """One sentence for each measure that sent somebody away."""
    for step in choice.steps:
        own, best = figure_of(step.measure, choice.arm), figure_of(step.measure, step.best)
        if step.gone and own and best:
            unit = step.measure.unit
            pattern = _texts()["step"]["best" if step.best == choice.arm else "among"]
            yield pattern.format(
                measure=step.measure.name,
                figure=said_with_interval(own, unit),
                best=f"{step.best} with {said(best.mean, unit)}",
                gone=listed(step.gone),
            )


def _cheapest(arm: ArmResult, choice: Choice, costs: Sequence[Cost]) -> Iterator[str]:
    others = [name for name in choice.equals if name != arm.name]
    cost = next((cost for cost in costs if cost.arm == arm.name), None)
    if others and cost:
        pattern = _texts()["cost"]["with adapter" if arm.adapters else "without adapter"]
        yield _texts()["cheapest"].format(others=listed(others), cost=pattern.format(tokens=f"{cost.prompt_tokens:.0f}"))


def _questions(
    advised: ArmResult, able: Sequence[ArmResult], measures: Sequence[MeasureResult], costs: Sequence[Cost]
) -> Iterator[str]:
    """What everybody asks: does a prompt help, an adapter, both, a soft prompt, the articles?"""
    beside = [arm for arm in able if bool(arm.knowledge) == bool(advised.knowledge)]
    ways = {arm.way: arm for arm in beside}
    prompts = [arm for arm in beside if arm.way in PROMPTS]
    best_prompt = choose(prompts, measures, costs).arm
    found = {
        "base": ways.get("base"),
        "prompt": next((arm for arm in prompts if arm.name == best_prompt), None),
        "adapter": ways.get("adapter"),
        "both": ways.get("prompt+adapter"),
        "soft prompt": ways.get("soft-prompt"),
    }
    pairs = (("prompt", "base"), ("adapter", "prompt"), ("both", "prompt"), ("both", "adapter"), ("soft prompt", "prompt"))
    for one, other in pairs:
        first, second = found[one], found[other]
        if first and second:
            yield from _compared(first, second, _subject(one, first), _subject(other, second), measures)
    turned = next((arm for arm in able if arm.way == advised.way and bool(arm.knowledge) != bool(advised.knowledge)), None)
    if turned and advised.knowledge:
        yield from _compared(advised, turned, _subject("advised", advised), _subject("without knowledge", turned), measures)
    elif turned:
        yield from _compared(turned, advised, _subject("with knowledge", turned), _subject("advised", advised), measures)


def _subject(kind: str, arm: ArmResult) -> str:
    text = str(_texts()["subject"][kind])
    return text.format(prompt=arm.prompt, adapters=arm.adapters, knowledge=arm.knowledge)


def _compared(
    one: ArmResult, other: ArmResult, subject: str, against: str, measures: Sequence[MeasureResult]
) -> Iterator[str]:
    """By the first deciding measure that tells them apart, else by the first one at all."""
    pairs = [(measure, between(measure, one.name, other.name)) for measure in ordered(measures)]
    compared = [(measure, pair) for measure, pair in pairs if pair]
    if not compared:
        return
    first = compared[0]
    measure, pair = next((found for found in compared if found[1].verdict in ("better", "worse")), first)
    figures = _figures(measure, one, other)
    text = _texts()["compared"][pair.verdict].format(one=subject, other=against, measure=measure.name, **figures)
    told = [text[:1].upper() + text[1:]]
    if measure is not first[0]:
        told.append(_texts()["before"].format(measure=first[0].name, **_figures(first[0], one, other)))
    if pair.needed:
        told.append(_needed(measure, pair))
    yield " ".join(told)


def _figures(measure: MeasureResult, one: ArmResult, other: ArmResult) -> dict[str, str]:
    figures = [figure_of(measure, arm.name) for arm in (one, other)]
    shown = [said(figure.mean, measure.unit) if figure else "" for figure in figures]
    return {"figure": shown[0], "other_figure": shown[1]}


def _needed(measure: MeasureResult, pair: Comparison) -> str:
    count = len(set(measure.conversations))
    size = said(worth_telling(measure.name, pair.mean), measure.unit)
    return str(_texts()["needed"]).format(size=size, needed=pair.needed, count=count)


def _mind(arm: ArmResult, measures: Sequence[MeasureResult]) -> Iterator[str]:
    """What the advised arm does worse, beyond chance, in the measures that do not decide or decide last."""
    named_measures = {measure.name: measure for measure in measures}
    texts = _texts()["mind"]
    forgetting = named_measures.get(FORGETTING)
    forgot = figure_of(forgetting, arm.name) if forgetting else None
    if forgetting and forgot and (forgot.low or 0) > 0:
        yield texts[FORGETTING].format(own=said(forgot.mean, forgetting.unit))
    for measure in (named_measures[name] for name in (FAIRNESS_GAP, CONSISTENCY) if name in named_measures):
        own = figure_of(measure, arm.name)
        for other in sorted(measure.figures, key=lambda figure: figure.mean, reverse=measure.better == "higher"):
            pair = between(measure, arm.name, other.arm)
            if own and pair and pair.verdict == "worse":
                figures = {"own": said(own.mean, measure.unit), "other": said(other.mean, measure.unit)}
                yield texts[measure.name].format(arm=other.arm, **figures)
                break


def _forgetful(choice: Choice) -> Iterator[str]:
    if choice.forgetful:
        yield _texts()["forgetful"].format(arms=listed(choice.forgetful))


def _failures(arms: Sequence[ArmResult]) -> Iterator[str]:
    for arm in arms:
        if arm.failure:
            yield _texts()["failed"].format(arm=arm.name, reason=arm.failure)


def _curve(curve: Curve | None) -> Iterator[str]:
    """From how many transcripts on training beats the best prompt, measures alike told together."""
    if not curve or not curve.points:
        return
    most = max(point.transcripts for point in curve.points)
    alike: dict[int | None, list[str]] = {}
    for name, transcripts in curve.beats_from.items():
        alike.setdefault(transcripts, []).append(name)
    for transcripts, names in sorted(alike.items(), key=lambda item: (item[0] is None, item[0] or 0)):
        pattern = _texts()["curve"]["never" if transcripts is None else "from"]
        yield pattern.format(transcripts=transcripts, most=most, prompt_arm=curve.prompt_arm, measures=listed(names))
