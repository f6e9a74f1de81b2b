"""Low-rank products for a batch in which every row has its own mix.

Contract: for prompts everywhere, and for steps where there are no kernels (see `in_place`), such as on a GPU. `Shared` adds
one mix's product to all rows; `Stack` holds a copy of every row's factors side by side, so that one batched product for each
half gives a row its own and nothing of another's. What a row brings is copied when it joins; everybody is copied again when
the room has to be made larger, or could be much smaller; never per step. Ranks below the largest are filled up with zeros,
so any ranks stand together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from bot.engine.local.factors import Factors
from bot.engine.local.projections import Group

_SPARE = 2
"""Columns are given back when so many times what is needed is there; rows, which come and go, at the square of it."""


class Adders(Protocol):
    """What is added to the base's products."""

    def add(self, group: Group, x: Tensor, y: Tensor) -> None:
        """y += what the mixes make of x; shapes (rows, tokens, in) and (rows, tokens, the group's outs)."""
        ...


class Shared:
    """Every row has the same mix."""

    def __init__(self, factors: Factors) -> None:
        # The whole, not its halves alone: as long as somebody holds it, others who want the same mix are given it.
        self._factors, self._b = factors, factors.b
        self._a = {group: (a, _spans(factors.ranks[group])) for group, a in factors.a.items()}

    def add(self, group: Group, x: Tensor, y: Tensor) -> None:
        if group.number not in self._a:
            return
        a, spans = self._a[group.number]
        columns, out = F.linear(x.reshape(-1, x.shape[-1]), a), y.view(-1, y.shape[-1])
        for place, first, rank in spans:
            layer = out.narrow(1, group.starts[place], group.widths[place])
            layer.addmm_(columns.narrow(1, first, rank), self._b[group.number, place])


@dataclass(frozen=True)
class _Block:
    """Layers of a group that follow one another, alike in rank and width, so that one product serves them all."""

    place: int
    count: int
    column: int
    rank: int
    width: int


class Stack:
    """Rows 0 … n of a batch, each with its own mix or none, and one token at a time."""

    def __init__(self) -> None:
        self._rows = self._room = 0
        self._held: list[Factors | None] = []
        self._ranks: dict[int, tuple[int, ...]] = {}
        self._a: dict[int, Tensor] = {}
        """Group → (room, in, columns)."""
        self._b: dict[int, list[tuple[_Block, Tensor]]] = {}
        """Group → its blocks, each (room, layers, rank, width)."""
        self._parts: dict[int, tuple[Tensor, list[tuple[_Block, Tensor]]]] = {}
        """The same as a step multiplies by it: of the rows that there are, a block's layers one after the other."""

    def hold(self, rows: Sequence[Factors | None], room: int) -> None:
        """These are the rows from now on; only those that are others than before are copied. Where more room has to be made,
        it is made for `room` rows."""
        self._rows = len(rows)
        ranks = _largest(rows)
        fits = all(group in self._ranks and all(map(int.__ge__, self._ranks[group], own)) for group, own in ranks.items())
        spare = _columns(ranks) * _SPARE <= _columns(self._ranks) or self._rows * _SPARE**2 <= self._room
        if self._rows > self._room or not fits or spare:
            self._make(rows, ranks, room)
        del self._held[self._rows :]
        for row, factors in enumerate(rows):
            if row == len(self._held) or factors is not self._held[row]:
                self._put(row, factors)
                self._held[row : row + 1] = [factors]
        count = self._rows
        self._parts = {
            group: (a[:count], [(block, b[:count].flatten(0, 1)) for block, b in self._b[group]])
            for group, a in self._a.items()
        }

    def _make(self, rows: Sequence[Factors | None], ranks: dict[int, tuple[int, ...]], room: int) -> None:
        """Room for these ranks."""
        # The old goes first, so that both need not fit; and where the new does not fit, nothing is left that claims to be.
        self._room, self._held, self._ranks, self._parts, self._a, self._b = 0, [], {}, {}, {}, {}
        some = {place: b for factors in filter(None, rows) for place, b in factors.b.items()}
        for group, own in ranks.items():
            a = next(factors.a[group] for factors in filter(None, rows) if group in factors.a)
            self._a[group] = a.new_zeros(room, a.shape[1], sum(own))
            blocks = _blocks(own, [some[group, place].shape[1] if rank else 0 for place, rank in enumerate(own)])
            self._b[group] = [(block, a.new_zeros(room, block.count, block.rank, block.width)) for block in blocks]
        self._room, self._ranks = room, ranks

    def _put(self, row: int, factors: Factors | None) -> None:
        for group, a in self._a.items():
            own = factors.ranks.get(group) if factors else None
            a[row] = 0
            for block, b in self._b[group]:
                # Also what A's zeros meet: an adapter may have overflowed to infinity, and 0 times that is NaN.
                b[row] = 0
                for number in range(block.count if factors and own else 0):
                    place, first = block.place + number, block.column + number * block.rank
                    if factors and own and own[place]:
                        a[row, :, first : first + own[place]] = factors.own(group, place).T
                        b[row, number, : own[place]] = factors.b[group, place]

    def add(self, group: Group, x: Tensor, y: Tensor) -> None:
        if group.number not in self._parts:
            return
        rows, (a, blocks) = self._rows, self._parts[group.number]
        columns, out = torch.bmm(x.reshape(rows, 1, -1), a), y.view(rows, -1)
        for block, b in blocks:
            own = columns.narrow(2, block.column, block.count * block.rank).reshape(-1, 1, block.rank)
            if block.count * block.width == out.shape[1]:
                out.view(-1, 1, block.width).baddbmm_(own, b)
            else:
                part = out.narrow(1, group.starts[block.place], block.count * block.width)
                part.add_(torch.bmm(own, b).view(rows, -1))


def _blocks(ranks: Sequence[int], widths: Sequence[int]) -> list[_Block]:
    blocks: list[_Block] = []
    for place, first, rank in _spans(tuple(ranks)):
        last = blocks[-1] if blocks else None
        alike = last and (last.rank, last.width, last.place + last.count) == (rank, widths[place], place)
        if last and alike:
            blocks[-1] = replace(last, count=last.count + 1)
        else:
            blocks.append(_Block(place, 1, first, rank, widths[place]))
    return blocks


@cache
def _spans(ranks: tuple[int, ...]) -> tuple[tuple[int, int, int], ...]:
    """(place, first column, columns) of every layer of a group that something is added to."""
    return tuple((place, sum(ranks[:place]), rank) for place, rank in enumerate(ranks) if rank)


def _largest(rows: Sequence[Factors | None]) -> dict[int, tuple[int, ...]]:
    """The largest rank at every place of every group."""
    ranks: dict[int, tuple[int, ...]] = {}
    for factors in filter(None, rows):
        for group, own in factors.ranks.items():
            ranks[group] = tuple(map(max, ranks.get(group, own), own))
    return ranks


def _columns(ranks: Mapping[int, tuple[int, ...]]) -> int:
    return sum(map(sum, ranks.values()))


def shared(factors: Factors | None) -> Shared | None:
    """One mix for all rows, or nothing."""
    return Shared(factors) if factors else None
