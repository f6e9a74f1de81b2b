"""A row of the report: what was measured, against what, and whether the target holds.

Contract: `ratio` compares arms that were run in turns, A B A B, because machines drift: the median of the rounds' ratios,
with every round's figures beside it.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

Arm = Callable[[], Awaitable[float]]


@dataclass(frozen=True)
class Row:
    """`value` is None where a peer was not at hand; `target` None where a figure is only told."""

    id: str
    measure: str
    value: float | None
    unit: str
    target: str | None = None
    holds: bool | None = None
    detail: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


_PAUSE = 1.0
"""Seconds between two arms: engines keep their threads awake for a while after their last token."""


async def alternate(arms: Mapping[str, Arm], rounds: int) -> dict[str, list[float]]:
    """Every arm once per round, after one round that is dropped."""
    found: dict[str, list[float]] = {name: [] for name in arms}
    for number in range(rounds + 1):
        for name, arm in arms.items():
            await asyncio.sleep(_PAUSE)
            value = await arm()
            if number:
                found[name].append(round(value, 3))
    return found


def ratio(id: str, measure: str, ours: Sequence[float], theirs: Sequence[float] | None, least: float) -> Row:
    """How many times theirs ours is; None stands for a peer that was not given."""
    target = f"≥ {least:g}"
    if not theirs:
        return Row(id, measure, None, "times", target, None, {"ours": list(ours)})
    rounds = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    value = statistics.median(rounds)
    spread = [round(min(rounds), 2), round(max(rounds), 2)]
    detail = {"ours": list(ours), "theirs": list(theirs), "range": spread}
    return Row(id, measure, round(value, 3), "times", target, value >= least, detail)


def at_most(id: str, measure: str, value: float, most: float, unit: str, **detail: Any) -> Row:
    """A figure that must not be larger."""
    return Row(id, measure, round(value, 3), unit, f"≤ {most:g}", value <= most, detail)
