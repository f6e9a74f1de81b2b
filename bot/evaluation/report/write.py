"""What lies in an evaluation's folder for people and programs: report.json, report.html, report.md, curve.svg.

The JSON comes last: a folder that has it has the others.
"""

from __future__ import annotations

from pathlib import Path

from bot.evaluation.choice import between
from bot.evaluation.report.markdown import as_markdown
from bot.evaluation.report.plots import CSS, Tracks, curve_picture, curve_plot
from bot.evaluation.report.view import View, agent_text, with_knowledge
from bot.evaluation.report.words import NONE, SIGNS, date, seconds, size, style
from bot.evaluation.results import Curve, MeasureResult, Report
from bot.evaluation.shelf import JSON, PAGE
from bot.files import write_atomic
from bot.training.pages import render

MARKDOWN, CURVE = "report.md", "curve.svg"


def write_report(report: Report, folder: Path) -> None:
    """The files, each in one step; curve.svg where there is a learning curve."""
    write_atomic(folder / PAGE, as_page(report))
    write_atomic(folder / MARKDOWN, as_markdown(report))
    if report.curve and (measures := curve_measures(report.curve)):
        title = f"Learning curve of {report.scenario}: {measures[0]}"
        write_atomic(folder / CURVE, curve_picture(report.curve, measures[0], _measure(report, measures[0]), title))
    write_atomic(folder / JSON, report.model_dump_json(indent=1) + "\n")


def as_page(report: Report) -> str:
    """The page as HTML."""
    view, curve = View(report), report.curve
    return render(
        Path(__file__).with_name("page.jinja"),
        report=report,
        view=view,
        css=CSS,
        tracks={measure.name: Tracks(view, measure) for measure in report.measures},
        curves=[
            (name, _measure(report, name), curve_plot(curve, name, _measure(report, name))) for name in curve_measures(curve)
        ]
        if curve
        else [],
        agent_text=agent_text,
        between=between,
        date=date,
        nothing=NONE,
        seconds=seconds,
        signs=SIGNS,
        size=size,
        style=style,
        with_knowledge=with_knowledge,
    )


def curve_measures(curve: Curve) -> list[str]:
    """Those that it has points of: first those that the adapter was held against the prompt by."""
    named = dict.fromkeys([*curve.beats_from, *(name for point in curve.points for name in point.figures)])
    return [name for name in named if any(name in point.figures for point in curve.points)]


def _measure(report: Report, name: str) -> MeasureResult | None:
    return next((measure for measure in report.measures if measure.name == name), None)
