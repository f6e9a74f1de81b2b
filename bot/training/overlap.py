"""How much of what judges a run was also trained on: held-out rows that are near-identical to a training row.

Pure; knows nothing of models.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from bot.training.dataset import Row

_WORDS = 5
_CONTAINED = 0.9
_TOKEN = re.compile(r"\w+")


def overlapping(held_out: Sequence[Row], training: Sequence[Row]) -> list[Row]:
    """Held-out rows whose question and reply are, word by word, those of a training row, or consist to 90 % of runs of five
    words of one training row."""
    exact: set[str] = set()
    places: dict[str, set[int]] = {}
    for number, row in enumerate(training):
        words = _words(row)
        exact.add(" ".join(words))
        for run in _runs(words):
            places.setdefault(run, set()).add(number)
    return [row for row in held_out if _is_known(_words(row), exact, places)]


def _is_known(words: list[str], exact: set[str], places: dict[str, set[int]]) -> bool:
    if " ".join(words) in exact:
        return True
    runs = _runs(words)
    shared: dict[int, int] = {}
    for run in runs:
        for number in places.get(run, ()):
            shared[number] = shared.get(number, 0) + 1
    return bool(runs) and max(shared.values(), default=0) >= _CONTAINED * len(runs)


def _words(row: Row) -> list[str]:
    return _TOKEN.findall(f"{row.question} {row.reply}".lower())


def _runs(words: list[str]) -> set[str]:
    return {" ".join(words[start : start + _WORDS]) for start in range(len(words) - _WORDS + 1)}
