"""One reply under way: its place in the queue, and, once its prompt and adapters are in memory, its row for the model."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from bot.engine.local.factors import Factors
from bot.engine.local.model import Model
from bot.engine.local.sampling import Picker, Scores, TextStream, finish
from bot.engine.local.slots import Slots
from bot.types import Message, Mix, Piece, Sampling, Usage


@dataclass(eq=False)
class Ticket:
    """A place in the queue. `send` may be called by any thread."""

    send: Callable[[Piece | Exception], None]
    cancelled: threading.Event = field(default_factory=threading.Event)
    row: Row | None = None
    """None until prompt and adapters are in memory."""

    @property
    def waits(self) -> bool:
        """True until something of its prompt has been read."""
        return self.row is None or not self.row.filled


@dataclass(eq=False)
class Row:
    """What the model computes for a ticket. `key` says what its keys and values depend on beside its tokens."""

    ids: list[int]
    key: str
    factors: Factors | None
    virtual: Tensor | None
    picker: Picker
    text: TextStream
    room: int
    """Tokens that the reply may take."""
    ticket: Ticket
    scores: Scores | None
    """None where nobody asked for them."""
    own: Slots | None = None
    """Its keys and values while its prompt is read."""
    filled: int = 0
    """Positions whose keys and values are there."""

    @property
    def before(self) -> int:
        """Places of its soft prompt."""
        return 0 if self.virtual is None else self.virtual.shape[1]

    @property
    def prompt(self) -> int:
        """Places of its prompt, soft prompt included."""
        return self.before + len(self.ids)

    @property
    def usage(self) -> Usage:
        return Usage(self.prompt, len(self.picker.tokens))

    def take(self, logits: Tensor, best: int, end_ids: frozenset[int]) -> bool:
        """The next token from logits of shape (vocabulary,), the highest at `best`; True when the reply is over."""
        token = self.picker.pick(logits, best)
        ended = token in end_ids
        if self.scores and not ended:
            self.scores.keep(token, logits)
        if not ended and (piece := self.text.push(token)):
            self.ticket.send(Piece(piece, scores=self.scores.take(len(piece)) if self.scores else ()))
        if not (ended or self.text.stopped or len(self.picker.tokens) >= self.room):
            return False
        rest = "" if self.text.stopped else self.text.flush()
        scores = self.scores.take() if self.scores and not self.text.stopped else ()
        self.ticket.send(Piece(rest, finish(self.text.stopped, ended), self.usage, scores))
        return True


def make_row(
    model: Model,
    messages: Sequence[Message],
    mix: Mix,
    sampling: Sampling,
    seed: int,
    ticket: Ticket,
) -> Row:
    """The row of a ticket, its adapters in memory. Not for the model's thread: it may read files."""
    ids = model.encode(messages, mix)
    factors, virtual = model.parts(mix)
    picker, text = Picker(sampling, seed, model.end_ids), TextStream(model.tokenizer, sampling.stop)
    room = min(sampling.max_tokens, model.context - mix.virtual_tokens - len(ids))
    scores = None if sampling.logprobs is None else Scores(model.tokenizer, sampling.logprobs)
    return Row(ids, mix.hash, factors, virtual, picker, text, room, ticket, scores)
