"""A set of requests in a batch of its own, the same numbers every time.

Contract: results of float32 depend on who shares a product, so who does depends on nothing but the set. Requests are begun
in their order, each as soon as the one before it was read and there is room; no step is made as long as one can be begun;
and nothing is found of what the engine read before. Making an `Answering` may read files, so it is not for the model's
thread; `turn` is for no other.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bot.engine.local.batch import Batch
from bot.engine.local.model import Model
from bot.engine.local.reading import Scoring
from bot.engine.local.rows import Row, Ticket, make_row
from bot.types import Ask, Outcome, Piece, Said, Score, Scored, Usage

ROWS = 32
"""Rows that share a step. Nobody waits for a first token here, so more than in a batch of chats."""


@dataclass
class _Reply:
    """One that is under way."""

    begun: float
    texts: list[str] = field(default_factory=list)
    first: float = 0.0


class Answering:
    """`tell` is given each request's place and what became of it, on the model's thread."""

    def __init__(
        self, model: Model, requests: Sequence[Ask | Score], max_bytes: int, tell: Callable[[int, Outcome], None]
    ) -> None:
        self._tell = tell
        self._batch = Batch(lambda: model, max_bytes, ROWS)
        self._waiting: deque[tuple[int, Row | Scoring]] = deque()
        self._replies: dict[int, _Reply] = {}
        for number, request in enumerate(requests):
            try:
                self._waiting.append((number, self._prepare(model, number, request)))
            except Exception as error:
                tell(number, error)

    def _prepare(self, model: Model, number: int, request: Ask | Score) -> Row | Scoring:
        if isinstance(request, Score):
            return Scoring(model, request.messages, request.reply, request.mix, request.before)
        ticket = Ticket(lambda piece: self._hear(number, piece))
        return make_row(model, request.messages, request.mix, request.sampling, request.seed, ticket)

    def turn(self) -> bool:
        """One chunk of the next request, or where there is no room for it a step; True when all is done."""
        self._batch.drop_cancelled()
        number, task = self._waiting[0] if self._waiting else (0, None)
        if isinstance(task, Scoring):
            self._score(number, task)
        elif task and self._batch.has_room(task):
            self._read(number, task)
        elif self._batch.rows:
            self._step()
        return not (self._waiting or self._batch.rows)

    def _score(self, number: int, scoring: Scoring) -> None:
        prefixes, over = self._batch.prefixes, True
        try:
            if not scoring.begun:
                scoring.find(prefixes)
            over = scoring.read()
            if over:
                scoring.keep(prefixes)
                self._tell(number, Scored(tuple(scoring.logprobs)))
        except Exception as error:
            self._tell(number, error)
        if over:
            self._waiting.popleft()

    def _read(self, number: int, row: Row) -> None:
        self._replies.setdefault(number, _Reply(time.perf_counter()))
        over = True
        try:
            logits = self._batch.read(row)
            over = logits is not None
            if logits is not None:
                self._batch.join(row, logits)
        except Exception as error:
            row.ticket.send(error)
            row.ticket.cancelled.set()
        if over:
            self._waiting.popleft()

    def _step(self) -> None:
        try:
            self._batch.step()
        except Exception as error:
            self._batch.fail(error)

    def _hear(self, number: int, piece: Piece | Exception) -> None:
        """A piece of a reply, or its error. What comes after the end is nobody's."""
        reply = self._replies.get(number)
        if reply is None:
            return
        if isinstance(piece, Exception):
            del self._replies[number]
            self._tell(number, piece)
            return
        passed = (time.perf_counter() - reply.begun) * 1e3
        reply.first = reply.first or passed
        reply.texts.append(piece.text)
        if piece.finish_reason:
            del self._replies[number]
            said = Said("".join(reply.texts), piece.finish_reason, piece.usage or Usage(), reply.first, passed)
            self._tell(number, said)
