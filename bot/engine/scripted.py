"""An engine without a model: for tests, for work on pages, and for `--engine scripted` on any laptop.

Replies come from a queue, or else say what reached the engine, so that the way a message takes can be seen.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

from bot.engine.gathered import gathered
from bot.types import Adapter, Ask, EngineState, FinishReason, Message, Mix, Outcome, Piece, Sampling, Score, Usage


@dataclass(frozen=True, slots=True)
class Call:
    messages: tuple[Message, ...]
    mix: Mix
    sampling: Sampling
    seed: int


class ScriptedEngine:
    """A word a piece, `delay` seconds apart; `context` is how many words it reads.

    `calls` keeps what was asked, `finished` how each ended.
    """

    name = "scripted"

    def __init__(self, delay: float = 0.0, context: int = 100_000) -> None:
        self.delay = delay
        self.context = context
        self.calls: deque[Call] = deque(maxlen=1000)
        self.finished: deque[FinishReason] = deque(maxlen=1000)
        self._replies: deque[str] = deque()

    def enqueue(self, *replies: str) -> None:
        self._replies.extend(replies)

    async def load(self) -> str:
        return "scripted replies, no model"

    async def stream(
        self, messages: Sequence[Message], mix: Mix, sampling: Sampling, seed: int
    ) -> AsyncGenerator[Piece, None]:
        call = Call(tuple(messages), mix, sampling, seed)
        self.calls.append(call)
        words = re.findall(r"\S+\s*", self._replies.popleft() if self._replies else describe(call))
        reason: FinishReason = "cancelled"
        try:
            for word in words[: sampling.max_tokens]:
                await asyncio.sleep(self.delay)
                yield Piece(word)
            reason = "stop" if len(words) <= sampling.max_tokens else "length"
            yield Piece("", reason, Usage(self.count(messages, mix), min(len(words), sampling.max_tokens)))
        finally:
            self.finished.append(reason)

    async def score(self, messages: Sequence[Message], reply: str, mix: Mix) -> list[float]:
        return [-1.0] * (len(reply.split()) + 1)

    async def score_each(
        self, conversations: Sequence[Sequence[Message]], replies: Sequence[str], mix: Mix
    ) -> list[list[list[float]]]:
        return [[await self.score(messages, reply, mix) for reply in replies] for messages in conversations]

    def work_off(self, requests: Sequence[Ask | Score]) -> AsyncGenerator[tuple[int, Outcome], None]:
        return gathered(self, requests)

    async def classify(self, text: str, adapter: Adapter) -> dict[str, float]:
        return {label: float(place == 0) for place, label in enumerate(adapter.labels)}

    async def opens_reasoning(self) -> bool:
        return False

    def count(self, messages: Sequence[Message], mix: Mix = Mix()) -> int:
        return sum(len(message.content.split()) + 1 for message in messages) + mix.virtual_tokens

    def fits(self, messages: Sequence[Message], reply: int, mix: Mix = Mix()) -> bool:
        return self.count(messages, mix) + reply <= self.context

    def state(self) -> EngineState:
        return EngineState()

    async def close(self) -> None:
        pass


def describe(call: Call) -> str:
    """What reached the engine, in one line."""
    system = sum(len(m.content) for m in call.messages if m.role == "system")
    return f"[{call.mix}] {len(call.messages)} messages, {system} system characters: {call.messages[-1].content}"
