"""Conversations in an order of which every beginning is a fair selection: the nested training sets of a learning curve.

A draw is one such order. It depends on the ids, the draw's number and the strata, never on the order of files. Pure; knows
nothing of models.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterable, Sequence

from bot.errors import DataError
from bot.training.split import stratum
from bot.training.transcripts import Conversation

_APART = 1.25
"""A size nearer than that to all there are is left out: it would tell the same."""


def ordered(conversations: Iterable[Conversation], draw: int) -> list[str]:
    """The ids, each stratum (as the split has them) spread evenly over the whole order from a start of its own by chance. So
    the first n hold about as many of each stratum as all do, and over many draws every conversation is among them equally
    often."""
    strata: dict[str, list[str]] = {}
    for conversation in conversations:
        strata.setdefault(stratum(conversation), []).append(conversation.id)
    placed: list[tuple[float, str, str]] = []
    for name, ids in strata.items():
        start = _chance(draw, "stratum", name)
        ids.sort(key=lambda id_: (_chance(draw, "conversation", id_), id_))
        # Beside the place, what tells two at the same place apart.
        placed += [((number + start) / len(ids), name, id_) for number, id_ in enumerate(ids)]
    return [id_ for _, _, id_ in sorted(placed)]


def parted(ids: Sequence[str], share: float) -> tuple[list[str], list[str]]:
    """An order's beginning → those that are trained on, and those that choose when training ends: `share` of them, at least
    one. Both hold all that those of a shorter beginning hold. Raises DataError for fewer than two."""
    if len(ids) < 2:
        raise DataError(f"{len(ids)} conversation cannot be trained on and say when to stop.", "Take two or more.")
    choosing = [id_ for number, id_ in enumerate(ids) if _choosing(number + 1, share) > _choosing(number, share)]
    return [id_ for id_ in ids if id_ not in set(choosing)], choosing


def sizes_up_to(count: int) -> tuple[int, ...]:
    """10, 25, 50, 100, 200 … and `count`, all there are."""
    sizes = itertools.chain((10,), (25 * 2**number for number in itertools.count()))
    return (*itertools.takewhile(lambda size: size * _APART <= count, sizes), count)


def _choosing(count: int, share: float) -> int:
    """Of that many conversations, how many choose."""
    return 0 if count < 2 else max(1, math.floor(count * share))


def _chance(draw: int, what: str, name: str) -> float:
    """A number from 0 to 1 that is the name's own in that draw. Not the hash that holds out: a draw of that one would put
    the same conversations first every time."""
    return int(hashlib.sha256(f"draw {draw} {what} {name}".encode()).hexdigest()[:13], 16) / 16**13
