"""Prompt + customer's message → the few-shot examples that are shown. The same choice in serving, training and evaluation,
and the same for the same input. Each example keeps its provenance.

Embeddings are kept by content, so that a message costs one embedding, its own. Knows nothing of engines: tokens are counted
by whoever asks.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from bot.prompts.schema import Example, Prompt
from bot.types import Embedder, Message, content_hash

if TYPE_CHECKING:
    import numpy as np

Count = Callable[[Sequence[Message]], int]
"""Tokens of messages; 0 where that cannot be told, and then four characters are taken for a token."""
KEPT = 10_000
"""Embeddings kept in memory: some 16 MB of MiniLM's."""
CHARACTERS_A_TOKEN = 4
BARE = (Message("user", "."),)


@dataclass(frozen=True)
class LeftOut:
    """Conversations whose own exchanges may not be shown as examples: those by id, where an example's `source` ends with
    one, like `conversation r-12` or `returns.jsonl#r-12`, and those with the same words of customer and agent."""

    ids: frozenset[str] = frozenset()
    exchanges: frozenset[tuple[str, str]] = frozenset()

    @classmethod
    def of(cls, conversation: str, messages: Sequence[Message]) -> LeftOut:
        pairs = ((_plain(said.content), _plain(reply.content)) for said, reply in pairwise(messages))
        return cls(frozenset([conversation]), frozenset(pairs))

    def __or__(self, other: LeftOut) -> LeftOut:
        return LeftOut(self.ids | other.ids, self.exchanges | other.exchanges)

    def covers(self, example: Example) -> bool:
        source = re.split(r"[\s#]", example.source)[-1]
        return source in self.ids or (_plain(example.customer), _plain(example.agent)) in self.exchanges


NOTHING = LeftOut()


class ExampleSelector:
    """Chooses examples for any prompt. May be asked from several tasks and threads at once."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._vectors: OrderedDict[str, np.ndarray] = OrderedDict()
        self._counter: Count | None = None
        self._sizes: dict[Example, float] = {}
        self._lock = threading.Lock()

    async def select(
        self, prompt: Prompt | None, question: str, count: Count, left_out: LeftOut = NOTHING
    ) -> tuple[Example, ...]:
        """The examples to show before `question`, the customer's last message. By similarity the nearest stands last, next
        to the question; equally near ones keep their order."""
        examples = [example for example in (prompt.examples if prompt else ()) if not left_out.covers(example)]
        choice = prompt.select if prompt else None
        if choice is None or not examples:
            return tuple(examples)
        if choice.by == "similarity":
            examples = await self._nearest(examples, question)
        examples = examples[: choice.count]
        if choice.tokens is not None:
            examples = await asyncio.to_thread(self._within, examples, choice.tokens, count)
        return tuple(reversed(examples) if choice.by == "similarity" else examples)

    async def _nearest(self, examples: Sequence[Example], question: str) -> list[Example]:
        """All of them, the nearest first."""
        keys = [content_hash(self._embedder.id, example.customer) for example in examples]
        with self._lock:
            known = {key: self._vectors[key] for key in keys if key in self._vectors}
        new = {key: example.customer for key, example in zip(keys, examples, strict=True) if key not in known}
        made = await self._embedder.embed([question, *new.values()])
        known |= dict(zip(new, made[1:], strict=True))
        with self._lock:
            for key in keys:
                self._vectors[key] = known[key]
                self._vectors.move_to_end(key)
            while len(self._vectors) > KEPT:
                self._vectors.popitem(last=False)
        # A neighbour in the embedding's batch moves the last digits: they may not decide.
        scores = [round(float(known[key] @ made[0]), 5) for key in keys]
        order = sorted(range(len(examples)), key=lambda place: (-scores[place], place))
        return [examples[place] for place in order]

    def _within(self, examples: Sequence[Example], tokens: int, count: Count) -> list[Example]:
        """The first ones that `tokens` hold together."""
        found, left = [], float(tokens)
        for example in examples:
            left -= self._size(example, count)
            if left < 0:
                break
            found.append(example)
        return found

    def _size(self, example: Example, count: Count) -> float:
        """What an example adds to a prompt, in tokens. Counted once: a base's tokenizer takes a millisecond for it."""
        with self._lock:
            if count != self._counter or len(self._sizes) >= KEPT:
                self._counter, self._sizes = count, {}
            sizes = self._sizes
            if example in sizes:
                return sizes[example]
        counted = count((Message("user", example.customer), Message("assistant", example.agent), *BARE)) - count(BARE)
        if counted <= 0:
            # Not kept: an engine that is not ready yet counts later.
            return len(example.customer + example.agent) / CHARACTERS_A_TOKEN
        sizes[example] = counted
        return counted


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())
