"""How a report writes its figures: rounded once, here, and alike on the page, in Markdown and beside the plots."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterable
from dataclasses import dataclass

from bot.evaluation.measured import SHARE
from bot.evaluation.results import MeasureResult, Verdict

NONE = "–"
SIGNS: dict[Verdict, str] = {"better": "▲", "worse": "▼", "tie": "=", "too few": "?"}
"""A sign for each verdict, so that none is told by its colour alone."""
_FIGURES = 3
_SIZES = ("bytes", "kB", "MB", "GB")


@dataclass(frozen=True, slots=True)
class Style:
    """How the figures of one measure are written: `times` makes a share per cent, all have as many decimals."""

    unit: str
    times: float
    decimals: int

    def value(self, number: float | None) -> str:
        return NONE if number is None else _plain(f"{number * self.times:,.{self.decimals}f}")

    def full(self, number: float | None) -> str:
        """With its unit."""
        return NONE if number is None else f"{self.value(number)}{' ' if self.unit else ''}{self.unit}"

    def difference(self, number: float) -> str:
        return _plain(f"{number * self.times:+,.{self.decimals}f}").replace("-", "−")

    def ends(self, low: float | None, high: float | None) -> str:
        """An interval, or "" where there is none."""
        return "" if low is None or high is None else f"{self.value(low)} to {self.value(high)}".replace("-", "−")

    def difference_ends(self, low: float | None, high: float | None) -> str:
        return "" if low is None or high is None else f"{self.difference(low)} to {self.difference(high)}"


def style(unit: str, numbers: Iterable[float]) -> Style:
    """Three figures of the largest number."""
    times = 100.0 if unit == SHARE else 1.0
    largest = max((abs(number) * times for number in numbers if math.isfinite(number)), default=0.0)
    whole = math.floor(math.log10(largest)) + 1 if largest > 0 else 1
    return Style("%" if unit == SHARE else unit, times, min(max(_FIGURES - max(whole, 0), 0), 3))


def style_of(measure: MeasureResult) -> Style:
    return style(measure.unit, (figure.mean for figure in measure.figures))


def date(made: str) -> str:
    """`2026-11-27T06:10:00+00:00` → 27 Nov 2026; what is no date stays as it is."""
    try:
        return f"{datetime.datetime.fromisoformat(made):%-d %b %Y}"
    except ValueError:
        return made


def seconds(number: float) -> str:
    """0.4 s, 75 s, 12 min, 3.1 h."""
    if number < 100:
        return f"{number:.1f} s" if number < 10 else f"{number:.0f} s"
    return f"{number / 60:.0f} min" if number < 5_400 else f"{number / 3_600:.1f} h"


def size(count: int) -> str:
    """Decimal units, as a disk's."""
    power = min(max(len(str(count)) - 1, 0) // 3, len(_SIZES) - 1)
    number = count / 1_000**power
    return f"{number:.1f} {_SIZES[power]}" if power and number < 100 else f"{number:.0f} {_SIZES[power]}"


def _plain(text: str) -> str:
    """No minus before a nought."""
    return text[1:] if text[:1] in "+-" and not text.strip("+-0.,") else text
