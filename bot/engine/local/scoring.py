"""How likely a model finds a given reply: the finished conversation, read in chunks between the steps of the batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from bot.engine.local.encode import encode, encode_supervised
from bot.engine.local.model import Model
from bot.engine.local.scheduler import CHUNK
from bot.engine.local.slots import Slots
from bot.engine.local.stack import stack_of
from bot.errors import InvalidMessage
from bot.types import Message, Mix


class Scoring:
    """One reply under one mix. Making it may read files, so it is not for the model's thread; `read` is for no other."""

    def __init__(self, model: Model, messages: Sequence[Message], reply: str, mix: Mix) -> None:
        self._model = model
        self._ids, self._said = encode_supervised(model.tokenizer, (*messages, Message("assistant", reply)))
        self._start = mix.virtual_tokens + len(encode(model.tokenizer, messages))
        self._before = mix.virtual_tokens
        self._end = mix.virtual_tokens + len(self._ids)
        if self._end > model.context:
            raise InvalidMessage(f"{self._end:,} tokens to score; this base reads {model.context:,}.", "Shorten the reply.")
        loras, self._virtual = model.parts(mix)
        self._stack = stack_of([loras], model.dtype)
        self._slots, self._filled = Slots(1, self._end), 0
        self.logprobs: list[float] = []
        """Of each token of the reply and its end, as far as it was read."""

    def read(self) -> bool:
        """The next chunk; True when all was read."""
        start, end = self._filled, min(self._filled + CHUNK, self._end)
        # The logits at one place are about the token at the next.
        keep = max(1, end - max(start, self._start - 1))
        inputs = self._model.inputs(self._ids, self._virtual, start, end)
        logits = self._model.forward(inputs, self._slots.window([start], end - start), self._stack, keep)[0]
        places = [
            p + 1 for p in range(end - keep, end) if self._start <= p + 1 < self._end and self._said[p + 1 - self._before]
        ]
        if places:
            logs = logits[[place - 1 - (end - keep) for place in places]].float().log_softmax(-1)
            tokens = torch.tensor([[self._ids[place - self._before]] for place in places])
            self.logprobs += logs.gather(1, tokens)[:, 0].tolist()
        self._filled = end
        return end == self._end
