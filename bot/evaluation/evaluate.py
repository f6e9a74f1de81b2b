"""`bot evaluate`: the one place where the order of an evaluation is written.

Gather, ask, measure, compare, labels and hand-off, the learning curve where it is wanted, advise, write. What a run says and
where it stands is in its folder, `var/evaluations/<id>/`; one that was interrupted goes on with the replies it has. It is
handed its rooms and builds none.
"""

from __future__ import annotations

import datetime
import os
import platform
import shlex
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from bot.blocking import wait_for
from bot.errors import BotError
from bot.evaluation.arms import Arm
from bot.evaluation.asking import Asked
from bot.evaluation.comparison import comparison_table
from bot.evaluation.costs import costs
from bot.evaluation.domain import domain_of
from bot.evaluation.examples import examples
from bot.evaluation.gathering import Gathered, gather
from bot.evaluation.hand_off import hand_off_task
from bot.evaluation.kept import Kept, ask_once
from bot.evaluation.labels import label_tasks
from bot.evaluation.measured import FACTS_RIGHT, FACTS_WRONG, REFERENCE_COST, RULES, SIMILARITY, Measured
from bot.evaluation.measures.measure_all import bare_arms, further_items, general_items, measure_all
from bot.evaluation.options import Options, read_options
from bot.evaluation.prices import DEFAULT, Prices, read_prices
from bot.evaluation.report.write import write_report
from bot.evaluation.results import ArmResult, Curve, Report
from bot.evaluation.rooms import Rooms, check_exact
from bot.evaluation.statistics import compare
from bot.evaluation.verdict import advise
from bot.evaluation.words import figure_of
from bot.runs.folder import EVALUATION, RunFolder, Runs
from bot.runs.progress import Progress, Quiet
from bot.runs.work import RunLog, at_work

REFERENCE = "base"
"""The arm that all others are compared with first."""
SHOWN = (FACTS_RIGHT, FACTS_WRONG, RULES, SIMILARITY, REFERENCE_COST)
"""Measures that the terminal shows."""
LIBRARIES = ("torch", "transformers", "peft", "switchboard")


def evaluate(
    options: Options, desk: Rooms, progress: Progress | None = None, resume: bool = False, out: Path | None = None
) -> tuple[Report, Path]:
    """The report and its folder; it is written to `out` as well, where that is given. `resume` goes on with the newest
    unfinished run of that scenario, under its own options. Raises DataError for input that cannot be used, SettingsError in
    another precision than float32."""
    check_exact(desk.settings)
    runs = Runs(desk.settings.var, EVALUATION)
    unfinished = runs.unfinished(options.scenario) if resume else None
    if unfinished:
        options = read_options(options.scenario, unfinished.run.options)
    # What is wrong with the options shows before a run is begun.
    prices = read_prices(Path(options.prices) if options.prices else DEFAULT)
    options.prompts()
    domain = domain_of(options.scenario, desk).name
    folder = unfinished or runs.start(domain, options.scenario, options.texts(), os.getpid())
    with at_work(folder, progress or Quiet(), lambda error: _is_lost(error, folder)) as log:
        report = _make(options, prices, desk, folder, log)
        write_report(report, folder.path)
        if out:
            write_report(report, out)
        log.outcome = report.advice.headline
    return report, folder.path


def _is_lost(error: BaseException, folder: RunFolder) -> bool:
    """Whether nothing was said yet that a resumed run could begin with."""
    return isinstance(error, BotError) and not folder.checkpoints.is_dir()


def _make(options: Options, prices: Prices, desk: Rooms, folder: RunFolder, log: RunLog) -> Report:
    gathered = wait_for(lambda: gather(options, desk, log))
    folder.begin_with(gathered.inputs)
    arms, items, seeds = gathered.arms, gathered.items, tuple(range(options.seeds))
    turns, further, general = _asked(gathered, seeds, desk, folder.checkpoints, log)
    asked = turns.asked
    measured = wait_for(lambda: measure_all(asked, further.asked, general.asked, items, arms, desk, log))
    answering = [arm.name for arm in arms if arm.name not in {failure.arm for failure in asked.failures}]
    measures = compare(measured, REFERENCE if REFERENCE in answering else answering[0] if answering else "")
    paid = costs(asked.replies, arms, desk.adapters, desk.prompts, prices, turns.seconds)
    labels = wait_for(lambda: label_tasks(gathered.domain, desk, log)) if options.labels else ()
    hand_off = wait_for(lambda: hand_off_task(gathered.domain, desk, log)) if options.labels else None
    curve = _curve(gathered, measured, desk, folder.checkpoints, log) if options.curve else None
    results = _arm_results(arms, asked)
    advice = advise(results, measures, paid, curve)
    return Report(
        id=folder.run.id,
        scenario=options.scenario,
        made=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        command=shlex.join(["bot", "evaluate", "--scenario", options.scenario, *options.words()]),
        machine=f"{os.cpu_count()} cores, {platform.machine()}",
        versions={library: version(library) for library in LIBRARIES},
        seeds=seeds,
        inputs=gathered.inputs,
        held_out=(len({item.conversation for item in items}), len(items)),
        items=tuple(item.id for item in items),
        notes=(*gathered.notes, *asked.notes),
        arms=results,
        measures=tuple(measures),
        costs=tuple(paid),
        labels=labels,
        hand_off=hand_off,
        curve=curve,
        advice=advice,
        table=comparison_table(results, measures, paid, curve, advice.arm),
        examples=examples(items, asked.replies, seeds[0]),
    )


def _asked(gathered: Gathered, seeds: Sequence[int], desk: Rooms, kept: Path, log: RunLog) -> tuple[Kept, Kept, Kept]:
    """What arms said to the turns and to the same questions put otherwise, and what the general set costs them."""
    turns = ask_once("turns", gathered.arms, gathered.items, seeds, desk, kept, log)
    failed = {failure.arm for failure in turns.asked.failures}
    arms = [arm for arm in gathered.arms if arm.name not in failed]
    return (
        turns,
        ask_once("further", arms, further_items(gathered.items), seeds[:1], desk, kept, log),
        ask_once("general", bare_arms(arms), general_items(), seeds[:1], desk, kept, log),
    )


def _curve(gathered: Gathered, measured: Sequence[Measured], desk: Rooms, kept: Path, log: RunLog) -> Curve | None:
    from bot.evaluation.curve import best_prompt, learning_curve
    from bot.training.prepared import plan

    recipe = desk.settings.workspace / "adapters" / gathered.domain / "recipe.yaml"
    try:
        opponent = best_prompt(measured, gathered.arms)
        return learning_curve(plan(recipe, desk, ()), kept / "curve", desk, log, opponent=opponent)
    except BotError as error:
        log.note(f"There is no learning curve: {error}")
        return None


def _arm_results(arms: Sequence[Arm], asked: Asked) -> tuple[ArmResult, ...]:
    reasons = {failure.arm: failure.reason for failure in asked.failures}
    return tuple(
        ArmResult(
            name=arm.name, way=arm.way, adapters=arm.spec.adapters, prompt=arm.spec.prompt, knowledge=arm.spec.knowledge,
            failure=reasons.get(arm.name, ""),
        )
        for arm in arms
    )  # fmt: skip


def as_text(report: Report, folder: Path) -> str:
    """The verdict and what it rests on, and where the report lies."""
    lines = [report.advice.headline, *(f"  · {reason}" for reason in report.advice.reasons)]
    return "\n".join([*lines, f"The report: {folder / 'report.html'}"])


def rows(report: Report) -> list[dict[str, str]]:
    """A row an arm with the figures that decide first. The report has the room for all, and for their intervals."""
    found, measures = [], [measure for measure in report.measures if measure.name in SHOWN]
    for arm in report.arms:
        row = {"arm": arm.name}
        for measure in measures:
            figure = figure_of(measure, arm.name)
            row[measure.name] = f"{figure.mean:.3g}" if figure else "–"
        found.append(row)
    return found
