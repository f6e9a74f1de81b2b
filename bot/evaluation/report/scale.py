"""A number's place on an axis, in per cent of its length, so that a plot fits any width and its text stays readable."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

_STEPS = (1, 2, 2.5, 5, 10)
_ROOM = 0.06


@dataclass(frozen=True, slots=True)
class Scale:
    low: float
    high: float

    def place(self, number: float) -> float:
        return 100 * (min(max(number, self.low), self.high) - self.low) / (self.high - self.low)

    def ticks(self, most: int = 5) -> list[float]:
        """Round numbers within, at most so many."""
        rough = (self.high - self.low) / most
        power = 10 ** math.floor(math.log10(rough))
        step = next(step * power for step in _STEPS if step * power >= rough * (1 - 1e-9))
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]


def scale_of(numbers: Iterable[float], least: float = -math.inf, most: float = math.inf) -> Scale:
    """A scale that holds all of them with a little room, which goes no further than `least` and `most`."""
    found = [number for number in numbers if math.isfinite(number)] or [0.0, 1.0]
    low, high = min(found), max(found)
    room = _ROOM * (high - low) or abs(high) * _ROOM or 1.0
    return (
        Scale(max(low - room, min(least, low)), min(high + room, max(most, high)))
        if low < high
        else Scale(low - room, high + room)
    )
