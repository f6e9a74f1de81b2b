"""Several replies to the same messages, each as likely as it would be alone: the messages are read once.

The replies stand side by side behind the messages in one row. Each begins at the position where the messages end, and its
tokens see the messages and what their own reply said before: nothing is copied for another reply.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bot.engine.local.batch import CHUNK
from bot.engine.local.encode import encode, encode_reply
from bot.engine.local.model import Model
from bot.engine.local.prefixes import Prefixes
from bot.engine.local.reading import finite
from bot.engine.local.slots import Slots, Window
from bot.engine.local.stack import shared
from bot.errors import InvalidMessage
from bot.types import Message, Mix

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Branching:
    """Making one may read files, so it is not for the model's thread; `read` is for no other. `prefixes` are those of
    a set: what the messages have in common with others of it is read once."""

    def __init__(
        self, model: Model, messages: Sequence[Message], replies: Sequence[str], mix: Mix, prefixes: Prefixes
    ) -> None:
        self._model, self._prefixes, self._key = model, prefixes, mix.hash
        self._ids = model.encode(messages, mix)
        self._tails = tails(model.tokenizer, messages, replies)
        factors, self._virtual = model.parts(mix)
        self._added = shared(factors)
        before = 0 if self._virtual is None else self._virtual.shape[1]
        self._before, self._end = before, before + len(self._ids)
        longest = self._end + max(map(len, self._tails), default=0)
        if longest > model.context:
            raise InvalidMessage(f"{longest:,} tokens to read; this base reads {model.context:,}.", "Shorten the text.")
        self._groups = list(_groups(self._tails))
        # The last token of a reply is only expected, never read.
        widest = max((sum(len(self._tails[place]) - 1 for place in group) for group in self._groups), default=0)
        self._slots, self._filled = Slots(1, self._end + widest), -1
        self._first = torch.empty(0)
        self.logprobs: list[list[float]] = [[] for _ in self._tails]
        """Of each reply's tokens and its end, once all was read."""

    def read(self) -> bool:
        """The next chunk of the messages, or the next replies; True when all was read."""
        if self._filled < self._end:
            self._read_messages()
        elif self._groups:
            self._read_replies(self._groups.pop(0))
        if self._filled < self._end or self._groups:
            return False
        self._slots.resize(1, self._end)
        self._prefixes.keep(self._key, self._ids, self._slots)
        return True

    def _read_messages(self) -> None:
        if self._filled < 0:
            self._filled = 0
            if found := self._prefixes.find(self._key, self._ids):
                slots, common = found
                self._filled = self._before + common
                self._slots.copy(0, slots, 0, self._filled)
        end = min(self._filled + CHUNK, self._end)
        inputs = self._model.inputs(self._ids, self._virtual, self._filled, end)
        window = self._slots.window([self._filled], end - self._filled, self._model.device)
        self._first = self._model.forward(inputs, window, self._added)[0, -1:].float().log_softmax(-1)
        self._filled = end

    def _read_replies(self, group: Sequence[int]) -> None:
        tails = [self._tails[place] for place in group]
        lengths = [len(tail) - 1 for tail in tails]
        logs = self._first[:0]
        if sum(lengths):
            ids = [[token for tail in tails for token in tail[:-1]]]
            window = _SideBySide(self._slots, self._end, lengths, self._model.device)
            inputs = {"input_ids": torch.tensor(ids, device=self._model.device)}
            logs = self._model.forward(inputs, window, self._added, sum(lengths))[0].float().log_softmax(-1)
        for place, tail, own in zip(group, tails, logs.split_with_sizes(lengths), strict=True):
            said = torch.cat((self._first, own))
            self.logprobs[place] = finite(said.gather(1, torch.tensor(tail, device=said.device)[:, None])[:, 0])


def tails(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], replies: Sequence[str]) -> list[list[int]]:
    """Ids of each reply with its end token.

    How a reply is written depends on the opening of its turn alone, so the long conversation before it is encoded once, to
    see that it does so under this template.
    """
    if not replies:
        return []
    start = len(encode(tokenizer, messages))
    whole = encode_reply(tokenizer, messages, replies[0])[0][start:]
    short = messages[-1:]
    ids, start_short = encode_reply(tokenizer, short, replies[0])
    context, cut = (short, start_short) if ids[start_short:] == whole else (messages, start)
    return [whole, *(encode_reply(tokenizer, context, reply)[0][cut:] for reply in replies[1:])]


def _groups(tails: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Places of replies that are read together: a chunk's worth of tokens, or one reply that is longer."""
    group: list[int] = []
    tokens = 0
    for place, tail in enumerate(tails):
        if group and tokens + len(tail) > CHUNK:
            yield group
            group, tokens = [], 0
        group.append(place)
        tokens += len(tail)
    if group:
        yield group


class _SideBySide(Window):
    """Texts of these lengths behind the first `start` positions of a row: each sees those, and itself."""

    def __init__(self, slots: Slots, start: int, lengths: Sequence[int], device: torch.device) -> None:
        super().__init__(slots, [start], sum(lengths), device)
        self.position_ids = start + torch.cat([torch.arange(length, device=device) for length in lengths])[None]
        self._text = torch.arange(len(lengths), device=device).repeat_interleave(torch.tensor(lengths, device=device))

    def mask(self, dtype: torch.dtype) -> Tensor:
        others = self._text[:, None] != self._text
        hidden = others | torch.ones_like(others).triu(1)
        before = hidden.new_zeros(len(hidden), self.end - len(hidden))
        mask = torch.zeros(len(hidden), self.end, dtype=dtype, device=hidden.device)
        return mask.masked_fill_(torch.cat((before, hidden), dim=1), -torch.inf)[None, None]
