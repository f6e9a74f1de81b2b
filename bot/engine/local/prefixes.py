"""Prompts already read: keys and values kept by what they depend on, least recently used out.

Contract: an entry is found only by the same key (the mix's content hash, soft prompt included) and the same tokens from the
start; what is shared is the longest common beginning. The model's thread alone uses it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bot.engine.local.slots import Slots

LEAST = 16
"""Tokens in common under which copying is not worth it."""


@dataclass(frozen=True, eq=False)
class _Entry:
    key: str
    ids: npt.NDArray[np.int64]
    slots: Slots


class Prefixes:
    """At most `limit` bytes are kept."""

    def __init__(self, limit: int = 2**28) -> None:
        self._limit = limit
        self._entries: OrderedDict[int, _Entry] = OrderedDict()
        self._number = 0
        self.queries = self.hits = 0
        """Tokens looked for, and found."""

    @property
    def bytes(self) -> int:
        return sum(entry.slots.bytes for entry in list(self._entries.values()))

    def find(self, key: str, ids: Sequence[int]) -> tuple[Slots, int] | None:
        """The slots that share most tokens with `ids`, and how many; never all, since the last must be read anew."""
        wanted = np.array(ids[:-1])
        best, shared = 0, LEAST - 1
        for number, entry in self._entries.items():
            if entry.key == key and (alike := _common(entry.ids, wanted)) > shared:
                best, shared = number, alike
        self.queries += len(ids)
        if not best:
            return None
        self.hits += shared
        self._entries.move_to_end(best)
        return self._entries[best].slots, shared

    def keep(self, key: str, ids: Sequence[int], slots: Slots) -> None:
        """Remember a prompt that was read. Entries that it begins with are dropped."""
        if len(ids) <= LEAST or slots.bytes > self._limit:
            return
        new = np.array(ids)
        for number, entry in list(self._entries.items()):
            if entry.key == key:
                alike = _common(entry.ids, new)
                if alike == len(new):
                    return
                if alike == len(entry.ids):
                    del self._entries[number]
        self._number += 1
        self._entries[self._number] = _Entry(key, new, slots)
        while self._entries and self.bytes > self._limit:
            self._entries.popitem(last=False)


def common(a: Sequence[int], b: Sequence[int]) -> int:
    """Tokens that both begin with."""
    return _common(np.array(a), np.array(b))


def _common(a: npt.NDArray[np.int64], b: npt.NDArray[np.int64]) -> int:
    length = min(len(a), len(b))
    different = np.flatnonzero(a[:length] != b[:length])
    return int(different[0]) if len(different) else length
