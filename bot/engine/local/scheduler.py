"""The one thread that owns the model: rows join and leave its batch between steps.

Contract: every turn drops cancelled rows, runs one call that was handed over, makes one token for every row of the batch,
and reads one chunk of the prompt that has waited longest. A row's tokens do not depend on who else is in the batch. An
error ends the rows it concerns, not the thread.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

import torch

from bot.engine.local.model import Model
from bot.engine.local.prefixes import Prefixes
from bot.engine.local.rows import Row, Ticket
from bot.engine.local.slots import Slots
from bot.engine.local.stack import Stack, stack_of, wanted, weights_of
from bot.errors import EngineError, Overloaded
from bot.types import Piece, Usage

T = TypeVar("T")
CHUNK = 256
"""Tokens of a prompt that are read between two steps of the batch."""
_STEP = 128
"""Positions are added to the batch's slots by this many."""


class Scheduler:
    """`max_rows` share a step, `max_queue` more may wait; one more is refused with Overloaded."""

    def __init__(self, load: Callable[[], Model], max_queue: int, max_rows: int = 16) -> None:
        self._load, self._max_queue, self._max_rows = load, max_queue, max_rows
        self._calls: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._waiting: deque[Ticket] = deque()
        self._rows: list[Row] = []
        self._slots = Slots(1, _STEP)
        self._stack: Stack | None = None
        self._stacked: tuple[str, ...] = ()
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
        """Run `job` on the model's thread, between two steps."""
        future: Future[T] = Future()
        with self._wake:
            self._check_open()
            self._calls.append((job, future))
            self._start()
        return future

    def close(self) -> None:
        """Ends the thread after the step under way; rows that run or wait are cancelled."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._thread:
            self._thread.join()
        for ticket in [*(row.ticket for row in self._rows), *self._waiting]:
            ticket.send(Piece("", "cancelled", Usage()))

    def leave(self, ticket: Ticket) -> None:
        """Nobody wants the rest: a place in the queue is free at once, a row in the batch before the next step."""
        ticket.cancelled.set()
        with self._wake:
            if ticket in self._waiting and ticket.waits:
                self._waiting.remove(ticket)
            self._wake.notify()

    def _check_open(self) -> None:
        if self._closing:
            raise EngineError("The engine is shut down.", "Start the server again.")

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
                self._turn()
        for _, future in self._calls:
            future.cancel()

    def _turn(self) -> None:
        self._drop_cancelled()
        if self._calls:
            job, future = self._calls.popleft()
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(job())
                except BaseException as error:
                    future.set_exception(error)
        if self._rows:
            self._guard(self._rows, self._step)
        with self._wake:
            row = self._next()
        if row:
            self._guard([row], lambda: self._read(row))
        if not self._rows:
            self._slots, self._stack, self._stacked = Slots(1, _STEP), None, ()

    def _next(self) -> Row | None:
        """The row whose prompt is to be read, where the batch has room for it."""
        rows = (ticket.row for ticket in self._waiting if ticket.row)
        return next(rows, None) if len(self._rows) < self._max_rows else None

    def _guard(self, rows: list[Row], work: Callable[[], None]) -> None:
        """Run `work`; an error is told to the rows it was for, and they are gone."""
        concerned = list(rows)
        try:
            work()
        except Exception as error:
            for row in concerned:
                row.ticket.send(error)
                row.ticket.cancelled.set()
            self._drop_cancelled()

    def _drop_cancelled(self) -> None:
        with self._wake:
            kept = [ticket for ticket in self._waiting if not ticket.cancelled.is_set()]
            if len(kept) < len(self._waiting):
                self._waiting.clear()
                self._waiting.extend(kept)
        for number in reversed(range(len(self._rows))):
            if self._rows[number].ticket.cancelled.is_set():
                self._leave(number)

    def _read(self, row: Row) -> None:
        """One chunk of a prompt; after the last one the row has its first token and joins the batch."""
        model = self._load()
        if row.own is None:
            row.own = Slots(1, row.prompt)
            if found := self._prefixes.find(row.key, row.ids):
                slots, shared = found
                row.filled = row.before + shared
                row.own.copy(0, slots, 0, row.filled)
        end = min(row.filled + CHUNK, row.prompt)
        window = row.own.window([row.filled], end - row.filled)
        inputs = model.inputs(row.ids, row.virtual, row.filled, end)
        logits = model.forward(inputs, window, stack_of([row.loras], model.dtype))
        row.filled = end
        if end < row.prompt:
            return
        with self._wake:
            self._waiting.remove(row.ticket)
        self._prefixes.keep(row.key, row.ids, row.own)
        if not row.take(logits[0], model.end_ids):
            self._join(row)

    def _join(self, row: Row) -> None:
        assert row.own is not None
        needed = -(-(row.prompt + row.room) // _STEP) * _STEP
        # Rows by doubling: every growth copies what is there.
        self._slots.grow(1 << len(self._rows).bit_length(), needed)
        self._slots.copy(len(self._rows), row.own, 0, row.prompt)
        row.own = None
        self._rows.append(row)
        self._gather()

    def _leave(self, number: int) -> None:
        """The last row takes the leaving one's slot."""
        last = self._rows.pop()
        if number < len(self._rows):
            self._slots.copy(number, self._slots, len(self._rows), last.filled)
            self._rows[number] = last
        self._gather()

    def _gather(self) -> None:
        """The batch's LoRAs side by side; copied only where they are others than before."""
        mixes, dtype = [row.loras for row in self._rows], self._load().dtype
        hashes = wanted(mixes)
        if hashes == self._stacked and self._stack:
            self._stack.weigh(weights_of(mixes, dtype))
        else:
            self._stack, self._stacked = stack_of(mixes, dtype), hashes

    def _step(self) -> None:
        """One token for every row of the batch."""
        model = self._load()
        tokens = torch.tensor([[row.picker.tokens[-1]] for row in self._rows])
        window = self._slots.window([row.filled for row in self._rows], 1)
        logits = model.forward({"input_ids": tokens}, window, self._stack)
        over = []
        for number, row in enumerate(self._rows):
            row.filled += 1
            if row.take(logits[number], model.end_ids):
                over.append(number)
        for number in reversed(over):
            self._leave(number)
