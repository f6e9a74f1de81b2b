"""The one thread that owns the model: rows join and leave its batch between steps.

Contract: every turn drops cancelled rows, runs one call that was handed over, makes one token for every row of the batch,
and reads one chunk of the prompt that has waited longest, where the batch has room and memory for it. Who else is in the
batch changes a row's tokens only where two were as good as equal. An error ends the rows it concerns, not the thread.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

import torch
from torch import Tensor

from bot.engine.local.model import Model
from bot.engine.local.prefixes import Prefixes
from bot.engine.local.rows import Row, Ticket
from bot.engine.local.slots import Slots
from bot.engine.local.stack import Adders, Stack, shared
from bot.errors import EngineError, Overloaded
from bot.types import EngineState, Piece, Usage

T = TypeVar("T")
CHUNK = 256
"""Tokens of a prompt that are read between two steps of the batch."""
_STEP, _SPARE = 128, 4
"""Positions are added to the batch's slots by this many; they are given back when so many times what is needed is there."""


class Scheduler:
    """`max_rows` share a step, `max_queue` more may wait; one more is refused with Overloaded. The batch's keys, values and
    copies of adapters take about `max_bytes` at most, or what a single row needs."""

    def __init__(self, load: Callable[[], Model], max_queue: int, max_bytes: int, max_rows: int = 16) -> None:
        self._load, self._max_queue, self._max_bytes, self._max_rows = load, max_queue, max_bytes, max_rows
        self._calls: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._waiting: deque[Ticket] = deque()
        self._rows: list[Row] = []
        self._slots = Slots(1, _STEP)
        self._stack = Stack()
        self._added: Adders | None = None
        """What the batch's rows add to the base's products."""
        self._prefixes = Prefixes()
        self._wake = threading.Condition()
        self._closing = False
        self._thread: threading.Thread | None = None

    def enter(self, send: Callable[[Piece | Exception], None]) -> Ticket:
        """A place in the queue. Its pieces come from the model's thread."""
        ticket = Ticket(send)
        with self._wake:
            self._check_open()
            if sum(waiting.waits for waiting in self._waiting) >= self._max_queue:
                raise Overloaded(f"{self._max_queue} replies are waiting already.", "Try again in a few seconds.")
            self._waiting.append(ticket)
        return ticket

    def ready(self, ticket: Ticket, row: Row) -> None:
        """The ticket's turn may come."""
        with self._wake:
            ticket.row = row
            if not self._closing:
                self._start()

    def call(self, job: Callable[[], T]) -> Future[T]:
        """Run `job` on the model's thread, between two steps; again before the next step as long as it gives False."""
        future: Future[T] = Future()
        with self._wake:
            self._check_open()
            self._calls.append((job, future))
            self._start()
        return future

    def state(self) -> EngineState:
        """Rows that run and tickets that wait."""
        with self._wake:
            kept = self._prefixes
            return EngineState(len(self._rows), len(self._waiting), 0, kept.queries, kept.hits, kept.bytes)

    def close(self) -> None:
        """Ends the thread after the step under way; rows that run or wait are cancelled."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._thread:
            self._thread.join()
        with self._wake:
            # Whoever is told leaves, so what is told of here may not be what it leaves.
            waiting, calls = list(self._waiting), list(self._calls)
        for row in self._rows:
            row.ticket.send(Piece("", "cancelled", row.usage))
        for ticket in waiting:
            ticket.send(Piece("", "cancelled", Usage()))
        for _, future in calls:
            if future.set_running_or_notify_cancel():
                future.set_exception(_shut_down())
        self._rows, self._prefixes = [], Prefixes()
        self._empty()

    def leave(self, ticket: Ticket) -> None:
        """Nobody wants the rest: a place in the queue is free at once, a row in the batch before the next step."""
        ticket.cancelled.set()
        with self._wake:
            if ticket in self._waiting and ticket.waits:
                self._waiting.remove(ticket)
            self._wake.notify()

    def _check_open(self) -> None:
        if self._closing:
            raise _shut_down()

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="model", daemon=True)
            self._thread.start()
        self._wake.notify()

    def _run(self) -> None:
        with torch.inference_mode():
            while True:
                with self._wake:
                    while not (self._closing or self._calls or self._rows or self._next()):
                        self._wake.wait()
                    if self._closing:
                        break
                try:
                    self._turn()
                except Exception as error:
                    self._start_afresh(error)

    def _start_afresh(self, error: Exception) -> None:
        """After a fault that is no row's own, such as memory that is not there: every row is told, the thread goes on."""
        for row in self._rows:
            row.ticket.send(error)
        self._rows = []
        self._empty()

    def _turn(self) -> None:
        self._drop_cancelled()
        if self._calls:
            self._call()
        if self._rows:
            self._step()
        with self._wake:
            row = self._next()
        if row:
            self._advance(row)
        if not self._rows:
            self._empty()

    def _call(self) -> None:
        """One part of the call that has waited longest. Others wait for its end, so that only one holds memory."""
        job, future = self._calls[0]
        result, fault = None, None
        if not future.cancelled():
            try:
                result = job()
            except BaseException as error:
                fault = error
            if result is False:
                return
        self._calls.popleft()
        if future.set_running_or_notify_cancel():
            future.set_exception(fault) if fault else future.set_result(result)

    def _next(self) -> Row | None:
        """The row whose prompt is to be read, where the batch has room for it. A long one that does not fit yet is not
        overtaken: it would wait for ever."""
        row = next((ticket.row for ticket in self._waiting if ticket.row), None)
        if row is None or not self._rows:
            return row
        return row if len(self._rows) < self._max_rows and self._extent([*self._rows, row]) else None

    def _extent(self, rows: list[Row]) -> tuple[int, int] | None:
        """Rows and positions of slots for these rows; None where the batch has no memory for so many."""
        positions = -(-max(row.prompt + row.room for row in rows) // _STEP) * _STEP
        adapters = max(row.factors.bytes if row.factors else 0 for row in rows)
        most = max(1, self._max_bytes // (positions * self._load().position_bytes + adapters))
        # By doubling, since a growth copies what is there.
        return (min(1 << (len(rows) - 1).bit_length(), most), positions) if len(rows) <= most else None

    def _advance(self, row: Row) -> None:
        """Read a chunk of a row's prompt; an error is the row's alone."""
        try:
            joins = self._read(row)
        except Exception as error:
            row.ticket.send(error)
            row.ticket.cancelled.set()
        else:
            if joins:
                self._rows.append(row)
                self._gather()

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

    def _drop_cancelled(self) -> None:
        with self._wake:
            kept = [ticket for ticket in self._waiting if not ticket.cancelled.is_set()]
            if len(kept) < len(self._waiting):
                self._waiting.clear()
                self._waiting.extend(kept)
        self._leave([number for number, row in enumerate(self._rows) if row.ticket.cancelled.is_set()])

    def _read(self, row: Row) -> bool:
        """One chunk of a prompt; after the last one the row has its first token and, unless that was all, a place in the
        batch's slots: True."""
        model = self._load()
        if row.own is None:
            row.own = Slots(1, row.prompt)
            if found := self._prefixes.find(row.key, row.ids):
                slots, common = found
                row.filled = row.before + common
                row.own.copy(0, slots, 0, row.filled)
        end = min(row.filled + CHUNK, row.prompt)
        window = row.own.window([row.filled], end - row.filled, model.device)
        inputs = model.inputs(row.ids, row.virtual, row.filled, end)
        logits = model.forward(inputs, window, shared(row.factors))
        row.filled = end
        if end < row.prompt:
            return False
        self._prefixes.keep(row.key, row.ids, row.own)
        with self._wake:
            if row.ticket not in self._waiting:
                return False
            self._waiting.remove(row.ticket)
        if self._take([row], logits[0], model):
            return False
        self._fit([*self._rows, row], 1)
        self._slots.copy(len(self._rows), row.own, 0, row.prompt)
        row.own = None
        return True

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
            last = self._rows.pop()
            if number < len(self._rows):
                self._slots.clear(number)
                self._slots.copy(number, self._slots, len(self._rows), last.filled)
                self._rows[number] = last
            self._slots.clear(len(self._rows))
        if numbers and not self._rows:
            self._empty()
        elif numbers:
            # Not as soon as it could be: resizing copies, and the next row may need the place again.
            with contextlib.suppress(RuntimeError):
                # It needs memory for a moment; where there is none, what is there will do.
                self._fit(self._rows, _SPARE)
            self._gather()

    def _gather(self) -> None:
        """What the batch's rows add: nothing, one mix for all, or to each its own."""
        rows = [row.factors for row in self._rows]
        if all(factors is rows[0] for factors in rows):
            self._stack, self._added = Stack(), shared(rows[0])
        else:
            extent = self._extent(self._rows)
            self._stack.hold(rows, extent[0] if extent else len(rows))
            self._added = self._stack

    def _empty(self) -> None:
        """Nothing is kept for a batch of none."""
        self._slots, self._stack, self._added = Slots(1, _STEP), Stack(), None

    def _step(self) -> None:
        """One token for every row of the batch."""
        model = self._load()
        tokens = torch.tensor([[row.picker.tokens[-1]] for row in self._rows], device=model.device)
        window = self._slots.window([row.filled for row in self._rows], 1, model.device)
        logits = model.forward({"input_ids": tokens}, window, self._added)
        for row in self._rows:
            row.filled += 1
        self._leave(self._take(self._rows, logits[:, 0], model))


def _shut_down() -> EngineError:
    return EngineError("The engine is shut down.", "Start the server again.")
