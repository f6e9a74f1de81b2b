"""Low-rank products of rows that each have their own mix, from the factors where they lie: nothing is copied for a row.

Contract: for one token a row, on a CPU that there are kernels for; elsewhere `stack` does it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
from torch import Tensor

from bot.engine.local.factors import Factors
from bot.engine.local.projections import Group

if TYPE_CHECKING:
    from bot.engine.local.kernels import Kernels

_lines: WeakKeyDictionary[Factors, dict[int, np.ndarray]] = WeakKeyDictionary()


class InPlace:
    """Rows 0 … n of a batch, each with its own mix or none."""

    def __init__(self, kernels: Kernels, rows: Sequence[Factors | None]) -> None:
        self._kernels, self._rows = kernels, rows
        self._tables: dict[int, np.ndarray | None] = {}

    def add(self, group: Group, x: Tensor, y: Tensor) -> None:
        if group.number not in self._tables:
            self._tables[group.number] = self._table(group)
        table = self._tables[group.number]
        if table is not None:
            self._kernels.add_low_rank(x.contiguous(), y, table)

    def _table(self, group: Group) -> np.ndarray | None:
        if not any(row and group.number in row.a for row in self._rows):
            return None
        return np.stack([_line(row, group) for row in self._rows])


def _line(factors: Factors | None, group: Group) -> np.ndarray:
    """What the kernel reads of a row: zeros where nothing is added."""
    if factors is None or group.number not in factors.a:
        return np.zeros(2 + 5 * group.size, np.int64)
    known = _lines.setdefault(factors, {})
    if group.number not in known:
        a, ranks = factors.a[group.number], factors.ranks[group.number]
        line, column = [a.data_ptr(), a.shape[1]], 0
        for place, (rank, start, width) in enumerate(zip(ranks, group.starts, group.widths, strict=True)):
            b = factors.b[group.number, place].data_ptr() if rank else 0
            line += [rank, column, start, width, b]
            column += rank
        known[group.number] = np.array(line, np.int64)
    return known[group.number]
