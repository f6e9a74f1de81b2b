"""The report's plots as SVG: a track with dot and interval for each way, and the learning curve.

Drawn by hand: places are per cent of the width, so a phone gets the same letters on a shorter axis, and colours come from
`plots.css`, so they follow light and dark. The figures stand beside each plot as text; of a screen reader the tracks are
hidden.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import fmean

from markupsafe import Markup

from bot.evaluation.measured import SHARE
from bot.evaluation.report.scale import Scale, scale_of
from bot.evaluation.report.view import View, with_knowledge
from bot.evaluation.report.words import Style, style
from bot.evaluation.results import ArmResult, Curve, Figure, MeasureResult

LANE = 26
"""Pixels of one arm's lane; the page's lines of text are as high."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 11.0, 98.0, 14, 44
_HEIGHT = 280
_WIDE = 760
CSS = Path(__file__).with_name("plots.css").read_text(encoding="utf-8")


class Tracks:
    """The tracks of one measure, all on one scale."""

    def __init__(self, view: View, measure: MeasureResult) -> None:
        self._figures = {figure.arm: figure for figure in measure.figures}
        self._style = view.styles[measure.name]
        ends = [end for one in measure.figures for end in (one.mean, one.low, one.high) if end is not None]
        least, most = (0.0, 1.0) if measure.unit == SHARE else (-math.inf, math.inf)
        self.scale = scale_of(ends, least, most)
        self._rival = self._figures.get(view.rival)

    def axis(self) -> Markup:
        """The scale's numbers, to stand above the tracks."""
        marks = Markup("").join(
            Markup('<text class="tick" x="{:.2f}%" y="14" text-anchor="middle">{}</text>').format(
                self.scale.place(tick), self._style.value(tick)
            )
            for tick in self._ticks()
        )
        return Markup('<svg class="axis" height="20" aria-hidden="true">{}</svg>').format(marks)

    def track(self, arms: Sequence[ArmResult]) -> Markup:
        """A lane for each arm, one below the other; a line joins the two of a way."""
        lanes = [
            (number * LANE + LANE / 2, with_knowledge(arm), figure)
            for number, arm in enumerate(arms)
            if (figure := self._figures.get(arm.name))
        ]
        height = LANE * len(arms)
        parts = [self._upright("grid", tick, height) for tick in self._ticks()]
        if self._rival:
            parts.append(self._upright("rival", self._rival.mean, height))
        if len(lanes) > 1:
            (y1, _, one), (y2, _, two) = lanes[0], lanes[-1]
            parts.append(_line("pair", self.scale.place(one.mean), y1, self.scale.place(two.mean), y2))
        parts += [self._mark(y, filled, figure) for y, filled, figure in lanes]
        return Markup('<svg height="{}" aria-hidden="true">{}</svg>').format(height, Markup("").join(parts))

    def _ticks(self) -> list[float]:
        return [tick for tick in self.scale.ticks() if 2 < self.scale.place(tick) < 98]

    def _upright(self, kind: str, number: float, height: int) -> Markup:
        return _line(kind, self.scale.place(number), 0, self.scale.place(number), height)

    def _mark(self, y: float, filled: bool, figure: Figure) -> Markup:
        kind = "with" if filled else "without"
        dot = Markup('<circle class="dot {}" cx="{:.2f}%" cy="{:g}" r="5"/>').format(kind, self.scale.place(figure.mean), y)
        if figure.low is None or figure.high is None:
            return dot
        return _line(f"interval {kind}", self.scale.place(figure.low), y, self.scale.place(figure.high), y) + dot


def curve_plot(curve: Curve, measure: str, result: MeasureResult | None) -> Markup:
    """One measure of the learning curve: a dot a draw, a line through their means, the best prompt as a band as wide as
    its interval. `result` is the measure's, for unit and interval; None where the report has none of that name."""
    sizes = sorted({point.transcripts for point in curve.points if measure in point.figures})
    values = {
        size: [p.figures[measure] for p in curve.points if p.transcripts == size and measure in p.figures] for size in sizes
    }
    prompt = curve.prompt_figures.get(measure)
    figure = next((one for one in result.figures if one.arm == curve.prompt_arm), None) if result else None
    ends = [end for end in (figure.low, figure.high) if end is not None] if figure else []
    numbers = [*(number for found in values.values() for number in found), *ends, *([] if prompt is None else [prompt])]
    unit = result.unit if result else ""
    up, written = scale_of(numbers, *((0.0, 1.0) if unit == SHARE else ())), style(unit, numbers)
    along = scale_of([math.log(size) for size in sizes])
    parts = [_grid(up, written), _sizes(sizes, along)]
    if len(ends) == 2:
        top, bottom = _y(up, max(ends)), _y(up, min(ends))
        parts.append(
            Markup('<rect class="band" x="{}%" y="{:.1f}" width="{}%" height="{:.1f}"/>').format(
                _LEFT, top, _RIGHT - _LEFT, max(bottom - top, 1)
            )
        )
    if prompt is not None:
        parts.append(_line("prompt-line", _LEFT, _y(up, prompt), _RIGHT, _y(up, prompt)))
        # At the end where the curve is further away.
        far = max((sizes[0], sizes[-1]), key=lambda size: abs(fmean(values[size]) - prompt))
        x, anchor = (_LEFT + 0.6, "start") if far == sizes[0] else (_RIGHT - 0.6, "end")
        parts.append(_label("prompt-label", x, _y(up, prompt) - 6, f"{curve.prompt_arm} {written.full(prompt)}", anchor))
    parts += _through(values, along, up)
    told = f"{measure} by transcripts: " + "; ".join(f"{n}: {written.full(fmean(found))}" for n, found in values.items())
    return Markup('<svg class="curve" role="img" aria-label="{}" height="{}">{}</svg>').format(
        told, _HEIGHT, Markup("").join(parts)
    )


def curve_picture(curve: Curve, measure: str, result: MeasureResult | None, title: str) -> str:
    """The same as a file of its own, for a README."""
    head = Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {0} {1}" width="{0}" height="{1}" '
        'font-family="system-ui, sans-serif">'
        '<title>{2}</title><style>{3}</style><text class="title" x="8" y="22">{2}</text>'
    ).format(_WIDE, _HEIGHT + 34, title, Markup(CSS))  # noqa: S704 - our own style sheet
    below = Markup('<svg y="32" width="{}" ').format(_WIDE)
    return f"{head}{curve_plot(curve, measure, result).replace('<svg ', below, 1)}</svg>\n"


def _grid(up: Scale, written: Style) -> Markup:
    parts = []
    for tick in up.ticks():
        parts.append(_line("grid", _LEFT, _y(up, tick), _RIGHT, _y(up, tick)))
        parts.append(
            _label(
                "tick",
                _LEFT - 1,
                _y(up, tick) + 4,
                written.full(tick) if written.unit == "%" else written.value(tick),
                "end",
            )
        )
    return Markup("").join(parts)


def _sizes(sizes: Sequence[int], along: Scale) -> Markup:
    parts = [_label("tick", _x(along, size), _HEIGHT - _BOTTOM + 18, f"{size:,}", "middle") for size in sizes]
    parts.append(_label("tick", (_LEFT + _RIGHT) / 2, _HEIGHT - 6, "transcripts trained on", "middle"))
    return Markup("").join(parts)


def _through(values: dict[int, list[float]], along: Scale, up: Scale) -> list[Markup]:
    """The line of the means over the draws' dots."""
    means = [(_x(along, size), _y(up, fmean(found))) for size, found in values.items()]
    lines = [_line("mean", *one, *two) for one, two in pairwise(means)]
    draws = [
        Markup('<circle class="draw" cx="{:.2f}%" cy="{:.1f}" r="4"/>').format(_x(along, size), _y(up, number))
        for size, found in values.items()
        for number in found
    ]
    return [*draws, *lines]


def _x(along: Scale, size: int) -> float:
    return _LEFT + (_RIGHT - _LEFT) * along.place(math.log(size)) / 100


def _y(up: Scale, number: float) -> float:
    return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (1 - up.place(number) / 100)


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    return Markup('<line class="{}" x1="{:.2f}%" y1="{:.1f}" x2="{:.2f}%" y2="{:.1f}"/>').format(kind, x1, y1, x2, y2)


def _label(kind: str, x: float, y: float, text: str, anchor: str) -> Markup:
    return Markup('<text class="{}" x="{:.2f}%" y="{:.1f}" text-anchor="{}">{}</text>').format(kind, x, y, anchor, text)
