"""How much of what judges a run was also trained on: held-out texts that are near-identical to a training text.

Pure; knows nothing of models.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bot.training.dataset import Row

_WORDS = 5
_CONTAINED = 0.9
_TOKEN = re.compile(r"\w+")


def said(rows: Iterable[Row]) -> list[str]:
    """Each exchange of the rows, question and reply, as one text."""
    return [" ".join(exchange) for row in rows for exchange in row.exchanges]


def overlapping(held_out: Sequence[str], training: Sequence[str]) -> list[int]:
    """Places of the held-out texts that consist to 90 % of runs of five words of one training text.

    A text of fewer words is never one: "Yes, thanks" is what customers write, not what somebody copied.
    """
    places: dict[str, set[int]] = {}
    for number, text in enumerate(training):
        for run in _runs(text):
            places.setdefault(run, set()).add(number)
    return [place for place, text in enumerate(held_out) if _is_known(_runs(text), places)]


def _is_known(runs: set[str], places: dict[str, set[int]]) -> bool:
    shared: dict[int, int] = {}
    for run in runs:
        for number in places.get(run, ()):
            shared[number] = shared.get(number, 0) + 1
    return max(shared.values(), default=0) >= _CONTAINED * len(runs) > 0


def _runs(text: str) -> set[str]:
    words = _TOKEN.findall(text.lower())
    return {" ".join(words[start : start + _WORDS]) for start in range(len(words) - _WORDS + 1)}
