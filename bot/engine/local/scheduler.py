"""The one thread that owns the model: rows join and leave its batch between steps.

Contract: every turn drops cancelled rows, runs one call that was handed over, makes one token for every row of the batch,
and reads one chunk: of the prompt that has waited longest and, where much of the chunk is left, of those after it, as far as
the batch has room and memory for them. Who else is in the batch changes a row's tokens only where two were as good as equal.
An error ends the rows it concerns, not the thread.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

import torch

from bot.engine.local.batch import CHUNK, Batch
from bot.engine.local.model import Model
from bot.engine.local.prefixes import Prefixes
from bot.engine.local.rows import Row, Ticket
from bot.errors import EngineError, Overloaded
from bot.types import EngineState, Piece, Usage

T = TypeVar("T")


class Scheduler:
    """`max_queue` replies may wait beside those in the batch, which takes about `max_bytes`; one more is refused with
    Overloaded."""

    def __init__(self, load: Callable[[], Model], max_queue: int, max_bytes: int) -> None:
        self._max_queue = max_queue
        self._calls: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._waiting: deque[Ticket] = deque()
        self.batch = Batch(load, max_bytes)
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
            kept = self.batch.prefixes
            return EngineState(len(self.batch.rows), len(self._waiting), 0, kept.queries, kept.hits, kept.bytes)

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
        for row in self.batch.rows:
            row.ticket.send(Piece("", "cancelled", row.usage))
        for ticket in waiting:
            ticket.send(Piece("", "cancelled", Usage()))
        for _, future in calls:
            if future.set_running_or_notify_cancel():
                future.set_exception(_shut_down())
        self.batch.rows, self.batch.prefixes = [], Prefixes()
        self.batch.empty()

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
                    while not (self._closing or self._calls or self.batch.rows or self._next()):
                        self._wake.wait()
                    if self._closing:
                        break
                try:
                    self._turn()
                except Exception as error:
                    self.batch.fail(error)

    def _turn(self) -> None:
        self._drop_cancelled()
        if self._calls:
            self._call()
        if self.batch.rows:
            self.batch.step()
        left = CHUNK
        # A short rest of a chunk is left: reading few tokens takes nearly as long as a step.
        while left >= CHUNK // 2:
            with self._wake:
                row = self._next()
            if row is None:
                break
            left -= self._advance(row, left)
        if not self.batch.rows:
            self.batch.empty()

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
        return row if row and self.batch.has_room(row) else None

    def _advance(self, row: Row, most: int) -> int:
        """Read so many tokens of a row's prompt at most; gives how many they were, all after an error, which is the row's
        alone."""
        try:
            self.batch.begin(row)
            before = row.filled
            logits = self.batch.read(row, most)
            if logits is not None and self._taken(row.ticket):
                self.batch.join(row, logits)
        except Exception as error:
            row.ticket.send(error)
            row.ticket.cancelled.set()
            return most
        return row.filled - before

    def _taken(self, ticket: Ticket) -> bool:
        """Take it out of the queue; False where it has left."""
        with self._wake:
            there = ticket in self._waiting
            if there:
                self._waiting.remove(ticket)
            return there

    def _drop_cancelled(self) -> None:
        with self._wake:
            kept = [ticket for ticket in self._waiting if not ticket.cancelled.is_set()]
            if len(kept) < len(self._waiting):
                self._waiting.clear()
                self._waiting.extend(kept)
        self.batch.drop_cancelled()


def _shut_down() -> EngineError:
    return EngineError("The engine is shut down.", "Start the server again.")
