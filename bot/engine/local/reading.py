"""Texts that are read, not answered: how likely a model finds a reply, and which label it gives. Each is read in chunks
between the steps of the batch.

Making a `Reading` may read files, so it is not for the model's thread; `read` is for no other.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from bot.engine.local.batch import CHUNK
from bot.engine.local.encode import encode, encode_reply
from bot.engine.local.factors import Factors
from bot.engine.local.model import Model
from bot.engine.local.prefixes import Prefixes, common
from bot.engine.local.slots import Slots, Window
from bot.engine.local.stack import Adders, shared
from bot.errors import EngineError, InvalidMessage
from bot.types import Adapter, Message, Mix


class Reading(ABC):
    """`ids` under a mix, after a soft prompt where there is one."""

    def __init__(self, model: Model, ids: Sequence[int], factors: Factors | None, virtual: Tensor | None = None) -> None:
        self._model, self._ids, self._virtual = model, ids, virtual
        self._before = 0 if virtual is None else virtual.shape[1]
        self._end = self._before + len(ids)
        if self._end > model.context:
            raise InvalidMessage(f"{self._end:,} tokens to read; this base reads {model.context:,}.", "Shorten the text.")
        self._added = shared(factors)
        self._slots, self._filled = Slots(1, self._end), 0

    def read(self) -> bool:
        """The next chunk; True when all was read."""
        start, end = self._filled, min(self._filled + CHUNK, self._end)
        inputs = self._model.inputs(self._ids, self._virtual, start, end)
        self._take(inputs, self._slots.window([start], end - start, self._model.device), self._added)
        self._filled = end
        return end == self._end

    @abstractmethod
    def _take(self, inputs: Mapping[str, Tensor], window: Window, added: Adders | None) -> None:
        """Run the model over a chunk, the window's, and keep what is wanted of it."""


class Scoring(Reading):
    """One reply under one mix, after what the assistant said `before`."""

    def __init__(self, model: Model, messages: Sequence[Message], reply: str, mix: Mix, before: str = "") -> None:
        ids, start = encode_reply(model.tokenizer, messages, before + reply)
        if before:
            # A token that holds the end of the one and the beginning of the other is counted.
            start = max(start, common(ids, encode_reply(model.tokenizer, messages, before)[0]))
        super().__init__(model, ids, *model.parts(mix))
        self._key, self._start = mix.hash, self._before + start
        self.logprobs: list[float] = []
        """Of each token of the reply and its end, as far as it was read."""

    @property
    def begun(self) -> bool:
        return self._filled > 0

    def find(self, prefixes: Prefixes) -> None:
        """What was read before, under the same mix, is not read again."""
        if found := prefixes.find(self._key, self._ids):
            slots, shared = found
            # The place before the reply is read anew: its logits are about the first token.
            self._filled = min(self._before + shared, self._start - 1)
            self._slots.copy(0, slots, 0, self._filled)

    def keep(self, prefixes: Prefixes) -> None:
        """Once all was read: others may begin alike."""
        prefixes.keep(self._key, self._ids, self._slots)

    def _take(self, inputs: Mapping[str, Tensor], window: Window, added: Adders | None) -> None:
        end = window.end
        # The logits at one place are about the token at the next.
        keep = max(1, end - max(self._filled, self._start - 1))
        logits = self._model.forward(inputs, window, added, keep)[0]
        following = range(end - keep + 1, end + 1)
        places = [place for place in following if self._start <= place < self._end]
        if places:
            logs = logits[[place - following.start for place in places]].float().log_softmax(-1)
            tokens = torch.tensor([[self._ids[place - self._before]] for place in places], device=logs.device)
            self.logprobs += finite(logs.gather(1, tokens)[:, 0])


class Classifying(Reading):
    """One text, as a customer's message, under a classifier: its LoRA, and its head over the last place."""

    def __init__(self, model: Model, text: str, adapter: Adapter) -> None:
        classifier = model.adapters.classifier(adapter)
        super().__init__(model, encode(model.tokenizer, [Message("user", text)]), classifier.factors)
        self._head, self._names = classifier.head, adapter.labels
        self.labels: dict[str, float] = {}
        """The probability of each, once all was read."""

    def _take(self, inputs: Mapping[str, Tensor], window: Window, added: Adders | None) -> None:
        hidden = self._model.hidden(inputs, window, added)[0, -1]
        if window.end == self._end:
            shares = finite(F.linear(hidden.float(), self._head).softmax(-1))
            self.labels = dict(zip(self._names, shares, strict=True))


def finite(numbers: Tensor) -> list[float]:
    """As a list. Raises EngineError where one is not."""
    if not bool(numbers.isfinite().all()):
        raise EngineError("The model gave no finite numbers for this text.", "Try it without its adapters.")
    found: list[float] = numbers.tolist()
    return found
