"""Low-rank products of rows that each have their own mix, from the factors where they lie: nothing is copied for a row.

Contract: for one token a row, on a CPU that there are kernels for; elsewhere `stack` does it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
from torch import Tensor

from bot.engine.local.factors import Factors
from bot.engine.local.projections import Group

if TYPE_CHECKING:
    from bot.engine.local.kernels import Kernels

_known: WeakKeyDictionary[Factors, dict[int, np.ndarray]] = WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class Lines:
    """What low-rank products read of every row (see `compiled`), int64. `inner` are the ranks of the largest A."""

    numbers: np.ndarray
    address: int
    inner: int

    @property
    def places(self) -> int:
        return int(self.numbers.shape[1] // 5)


class InPlace:
    """Rows 0 … n of a batch, each with its own mix or none."""

    def __init__(self, kernels: Kernels, rows: Sequence[Factors | None]) -> None:
        self._kernels, self._rows = kernels, rows
        self._lines: dict[int, Lines | None] = {}

    def lines(self, group: Group) -> Lines | None:
        """What a kernel reads of every row for a group; None where none of them adds anything."""
        if group.number not in self._lines:
            self._lines[group.number] = self._collect(group)
        return self._lines[group.number]

    def add(self, group: Group, x: Tensor, y: Tensor) -> None:
        if lines := self.lines(group):
            self._kernels.add_low_rank(x.contiguous(), y, lines)

    def _collect(self, group: Group) -> Lines | None:
        if not any(row and group.number in row.a for row in self._rows):
            return None
        numbers = np.stack([_line(row, group) for row in self._rows])
        return Lines(numbers, numbers.ctypes.data, int(numbers[:, 1].max()))


def _line(factors: Factors | None, group: Group) -> np.ndarray:
    """A row's: zeros where nothing is added."""
    if factors is None or group.number not in factors.a:
        return np.zeros(2 + 5 * group.size, np.int64)
    known = _known.setdefault(factors, {})
    if group.number not in known:
        a, ranks = factors.a[group.number], factors.ranks[group.number]
        line, first = [a.data_ptr(), len(a)], 0
        for place, (rank, start, width) in enumerate(zip(ranks, group.starts, group.widths, strict=True)):
            b = factors.b[group.number, place].data_ptr() if rank else 0
            line += [rank, first, start, width, b]
            first += rank
        known[group.number] = np.array(line, np.int64)
    return known[group.number]
