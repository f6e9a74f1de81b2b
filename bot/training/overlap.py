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
    """Held-out rows of which a question with its reply is, word by word, one of the training rows', or consists to 90 % of
    runs of five words of one of theirs."""
    exact: set[str] = set()
    places: dict[str, set[int]] = {}
    for number, exchange in enumerate(exchange for row in training for exchange in row.exchanges):
        words = _words(exchange)
        exact.add(" ".join(words))
        for run in _runs(words):
            places.setdefault(run, set()).add(number)
    return [row for row in held_out if any(_is_known(_words(exchange), exact, places) for exchange in row.exchanges)]


def _is_known(words: list[str], exact: set[str], places: dict[str, set[int]]) -> bool:
    if " ".join(words) in exact:
        return True
    runs = _runs(words)
    shared: dict[int, int] = {}
    for run in runs:
        for number in places.get(run, ()):
            shared[number] = shared.get(number, 0) + 1
    return bool(runs) and max(shared.values(), default=0) >= _CONTAINED * len(runs)


def _words(exchange: tuple[str, str]) -> list[str]:
    return _TOKEN.findall(" ".join(exchange).lower())


def _runs(words: list[str]) -> set[str]:
    return {" ".join(words[start : start + _WORDS]) for start in range(len(words) - _WORDS + 1)}
