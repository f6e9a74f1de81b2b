"""Rows that share the model's steps, each with its own mix, keys and values.

Contract: a prompt is read chunk by chunk by itself, then its row joins; a step makes one token for every row; whoever is
done leaves. Who else is in the batch changes a row's tokens only where two were as good as equal. When rows are read and
when a step is made is for others to say; the model's thread alone uses it.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable

import torch
from torch import Tensor

from bot.engine.local.in_place import InPlace
from bot.engine.local.model import Model
from bot.engine.local.prefixes import Prefixes
from bot.engine.local.rows import Row
from bot.engine.local.slots import Slots
from bot.engine.local.stack import Adders, Stack, shared
from bot.errors import EngineError

CHUNK = 256
"""Tokens of a prompt that are read in one go."""
_STEP, _SPARE = 128, 4
"""Positions are added to the batch's slots by this many; they are given back when so many times what is needed is there."""


class Batch:
    """`max_rows` share a step. Keys, values and copies of adapters take about `max_bytes` at most, or what a single row
    needs."""

    def __init__(self, load: Callable[[], Model], max_bytes: int, max_rows: int = 16) -> None:
        self._load, self._max_bytes, self._max_rows = load, max_bytes, max_rows
        self.rows: list[Row] = []
        self.prefixes = Prefixes()
        self._slots = Slots(1, _STEP)
        self._stack = Stack()
        self._added: Adders | None = None
        """What the rows add to the base's products."""

    def has_room(self, row: Row) -> bool:
        """Whether it could join."""
        return not self.rows or (len(self.rows) < self._max_rows and self._extent([*self.rows, row]) is not None)

    def begin(self, row: Row) -> Slots:
        """Its keys and values; where nobody has begun to read its prompt, what others read before."""
        if row.own is None:
            row.own = Slots(1, row.prompt)
            if found := self.prefixes.find(row.key, row.ids):
                slots, common = found
                row.filled = row.before + common
                row.own.copy(0, slots, 0, row.filled)
        return row.own

    def read(self, row: Row, most: int = CHUNK) -> Tensor | None:
        """So many tokens of a prompt at most; after the last one the logits (1, vocabulary) of its reply's first token."""
        model, own = self._load(), self.begin(row)
        end = min(row.filled + most, row.prompt)
        window = own.window([row.filled], end - row.filled, model.device)
        inputs = model.inputs(row.ids, row.virtual, row.filled, end)
        logits = model.forward(inputs, window, shared(row.factors))
        row.filled = end
        if end < row.prompt:
            return None
        self.prefixes.keep(row.key, row.ids, own)
        return logits[0]

    def join(self, row: Row, logits: Tensor) -> None:
        """A row whose prompt was read takes its first token and, unless that was all, a place in the batch's slots."""
        assert row.own, "its prompt was read"
        if self._take([row], logits, self._load()):
            return
        self._fit([*self.rows, row], 1)
        self._slots.copy(len(self.rows), row.own, 0, row.prompt)
        row.own = None
        self.rows.append(row)
        self._gather()

    def step(self) -> None:
        """One token for every row."""
        model = self._load()
        tokens = torch.tensor([[row.picker.tokens[-1]] for row in self.rows], device=model.device)
        window = self._slots.window([row.filled for row in self.rows], 1, model.device)
        logits = model.forward({"input_ids": tokens}, window, self._added)
        for row in self.rows:
            row.filled += 1
        self._leave(self._take(self.rows, logits[:, 0], model))

    def drop_cancelled(self) -> None:
        self._leave([number for number, row in enumerate(self.rows) if row.ticket.cancelled.is_set()])

    def fail(self, error: Exception) -> None:
        """After a fault that is no row's own, such as memory that is not there: every row is told."""
        for row in self.rows:
            row.ticket.send(error)
        self.rows = []
        self.empty()

    def empty(self) -> None:
        """Nothing is kept for a batch of none."""
        self._slots, self._stack, self._added = Slots(1, _STEP), Stack(), None

    def _extent(self, rows: list[Row]) -> tuple[int, int] | None:
        """Rows and positions of slots for these rows; None where the batch has no memory for so many."""
        positions = -(-max(row.prompt + row.room for row in rows) // _STEP) * _STEP
        copied = 0 if self._load().kernels else max(row.factors.bytes if row.factors else 0 for row in rows)
        most = max(1, self._max_bytes // (positions * self._load().position_bytes + copied))
        # By doubling, since a growth copies what is there.
        return (min(1 << (len(rows) - 1).bit_length(), most), positions) if len(rows) <= most else None

    def _take(self, rows: list[Row], logits: Tensor, model: Model) -> list[int]:
        """Every row's next token from logits of shape (rows, vocabulary); gives the numbers of those that are over, also by
        an error, which is the row's alone."""
        # One look at all of them: the highest of some numbers is not finite where one of them is NaN.
        highest, best = logits.max(-1)
        over = []
        for number, (row, finite, token) in enumerate(zip(rows, highest.isfinite().tolist(), best.tolist(), strict=True)):
            try:
                if not finite:
                    raise EngineError("The model gave no finite numbers for this reply.", "Try it without its adapters.")
                ended = row.take(logits[number], token, model.end_ids)
            except Exception as error:
                row.ticket.send(error)
                ended = True
            if ended:
                over.append(number)
        return over

    def _fit(self, rows: list[Row], spare: int) -> None:
        """Slots for these rows: larger ones where needed, smaller ones where `spare` times what is needed is there."""
        extent = self._extent(rows)
        assert extent, "nobody joins where there is no room"
        needed, there = extent, (self._slots.rows, self._slots.positions)
        if needed[0] > there[0] or needed[1] > there[1] or (spare > 1 and math.prod(needed) * spare <= math.prod(there)):
            self._slots.resize(*needed)

    def _leave(self, numbers: list[int]) -> None:
        """Rows leave; the last ones take their slots."""
        for number in reversed(numbers):
            last = self.rows.pop()
            if number < len(self.rows):
                self._slots.clear(number)
                self._slots.copy(number, self._slots, len(self.rows), last.filled)
                self.rows[number] = last
            self._slots.clear(len(self.rows))
        if numbers and not self.rows:
            self.empty()
        elif numbers:
            # Not as soon as it could be: resizing copies, and the next row may need the place again.
            with contextlib.suppress(RuntimeError):
                # It needs memory for a moment; where there is none, what is there will do.
                self._fit(self.rows, _SPARE)
            self._gather()

    def _gather(self) -> None:
        """What the rows add: to each its own where there are kernels; else nothing, one mix for all, or to each its own."""
        rows, kernels = [row.factors for row in self.rows], self._load().kernels
        if kernels:
            self._added = InPlace(kernels, rows) if any(rows) else None
        elif all(factors is rows[0] for factors in rows):
            self._stack, self._added = Stack(), shared(rows[0])
        else:
            extent = self._extent(self.rows)
            self._stack.hold(rows, extent[0] if extent else len(rows))
            self._added = self._stack
