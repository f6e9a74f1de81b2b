"""The report in short, as Markdown for a README: the verdict, the arms' table, the field's table, labels, how it was made.

Nothing that a customer or a model wrote stands in it; what does stand in a cell can neither end it nor begin HTML.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from bot.evaluation.report.view import View, agent_text
from bot.evaluation.report.words import NONE, SIGNS, date
from bot.evaluation.results import ArmResult, Report

_ACTIVE = re.compile(r"([\\`*_\[\]|<>~])")


def as_markdown(report: Report) -> str:
    """Ends with a line break."""
    view = View(report)
    blocks = [
        f"**{text(report.advice.headline)}**",
        _items(report.advice.reasons),
        *(f"> {text(note)}" for note in report.notes),
    ]
    blocks += [_arms(view), *_field(report), *_labels(report), *_curve(report), _made(report)]
    return "\n\n".join(block for block in blocks if block) + "\n"


def text(raw: str) -> str:
    """One line of it, meaning what it says."""
    return _ACTIVE.sub(r"\\\1", " ".join(raw.split()))


def _items(lines: Sequence[str]) -> str:
    return "\n".join(f"- {text(line)}" for line in lines)


def _table(heads: Sequence[str], rows: Iterator[Sequence[str]], numbers: bool = True) -> str:
    rule = ["---", *["---:" if numbers else "---"] * (len(heads) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, rule, *rows))


def _arms(view: View) -> str:
    heads = ["arm"]
    for measure in view.report.measures:
        unit = view.styles[measure.name].unit
        heads.append(f"{text(measure.name)}{f', {text(unit)}' if unit else ''} {'↑' if measure.better == 'higher' else '↓'}")
    told = f"Means with 95 % intervals; against {text(view.rival)}: ▲ better, ▼ worse, = a tie, ? too few conversations."
    return f"{_table(heads, (_arm(view, arm) for arm in view.report.arms))}\n\n{told if view.rival else ''}".rstrip()


def _arm(view: View, arm: ArmResult) -> list[str]:
    name = text(arm.name)
    if arm.failure:
        return [f"{name}, failed: {text(arm.failure)}", *[NONE] * len(view.report.measures)]
    cells = [f"**{name}**" if view.winner is arm else name]
    for measure in view.report.measures:
        cell, style = view.cell(measure, arm.name), view.styles[measure.name]
        if cell.figure is None:
            cells.append(NONE)
            continue
        ends = style.ends(cell.figure.low, cell.figure.high)
        sign = f" {SIGNS[cell.against.verdict]}" if cell.against else ""
        cells.append(f"{style.value(cell.figure.mean)}{f' ({ends})' if ends else ''}{sign}")
    return cells


def _field(report: Report) -> Iterator[str]:
    table = report.table
    if table.rows:
        rows = ([f"**{text(aspect)}**", *map(text, cells)] for aspect, cells in table.rows)
        yield _table(["", *map(text, table.columns)], rows, numbers=False)


def _labels(report: Report) -> Iterator[str]:
    for task in report.labels:
        rows = (
            [text(arm.name), f"failed: {text(arm.failure)}", NONE]
            if arm.failure
            else [text(arm.name), _share(arm.accuracy, arm.low, arm.high), _share(arm.macro_f1)]
            for arm in task.arms
        )
        yield _table([f"{text(task.task)}, {len(task.labels)} labels", "accuracy", "macro F1"], rows)
    if report.hand_off:
        found = (
            [text(arm.name), f"failed: {text(arm.failure)}" if arm.failure else _share(arm.recall, arm.low, arm.high)]
            for arm in report.hand_off.arms
        )
        yield _table(["hand-off", f"found at {_share(report.hand_off.false_alarm_rate)} false alarms"], found)


def _curve(report: Report) -> Iterator[str]:
    if report.curve:
        for name, size in report.curve.beats_from.items():
            prompt = text(report.curve.prompt_arm)
            where = (
                f"beats {prompt} from {size:,} transcripts"
                if size is not None
                else f"does not beat {prompt} within the data"
            )
            yield f"By {text(name)} the adapter {where}."


def _made(report: Report) -> str:
    agent = f"Recommended: {text(agent_text(winner))}. " if (winner := View(report).winner) else ""
    talks, turns = report.held_out
    return (
        f"{agent}{talks:,} held-out conversations, {turns:,} turns, seeds {', '.join(map(str, report.seeds))}; "
        f"{date(report.made)}, {text(report.machine)}. The same again: `{' '.join(report.command.replace('`', '').split())}`"
    )


def _share(number: float | None, low: float | None = None, high: float | None = None) -> str:
    if number is None:
        return NONE
    return f"{100 * number:.1f} %" + ("" if low is None or high is None else f" ({100 * low:.1f} to {100 * high:.1f})")
