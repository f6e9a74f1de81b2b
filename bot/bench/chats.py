"""Chats as load: prompts of one kind and replies of one length for every engine and server, timed alike.

Contract: `Chats(seed)` gives messages nobody has seen, after one role that all share; `timed` follows one reply, `together`
several at once. Replies are greedy and all of one length. Time is the performance counter's, in seconds.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass

from bot.types import Message

_WORDS = [
    "order", "refund", "parcel", "invoice", "account", "delivery", "late", "broken", "charge", "cancel", "subscription",
    "card", "help", "please", "lamp", "bulb", "app", "light", "replace", "return", "label",
]  # fmt: skip
ROLE = "You are a support agent for Acme. " * 6
TOKENS = 64

Stream = Callable[[], AsyncGenerator[int, None]]
"""Starts one reply; gives the number of tokens so far whenever more have come."""


@dataclass(frozen=True)
class Timing:
    """One reply: seconds to its first token, from there to its last, and tokens."""

    first: float
    rest: float
    tokens: int

    @property
    def rate(self) -> float:
        """Tokens a second after the first; over all where random weights made text that came in one piece."""
        return (self.tokens - 1) / self.rest if self.rest else self.tokens / self.first


class Chats:
    """Prompts of about 150 tokens from one seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def prompt(self, role: str = ROLE, words: int = 60) -> list[Message]:
        """A role and a message that nobody has read before."""
        return [Message("system", role), Message("user", " ".join(self._random.choices(_WORDS, k=words)))]

    def prompts(self, count: int) -> list[list[Message]]:
        return [self.prompt() for _ in range(count)]


async def timed(stream: Stream) -> Timing:
    """One reply, followed to its end."""
    start = last = time.perf_counter()
    first, tokens = 0.0, 0
    async for tokens in stream():  # noqa: B007
        last = time.perf_counter()
        first = first or last - start
    return Timing(first, last - start - first, tokens)


async def together(streams: Sequence[Stream]) -> float:
    """Tokens a second over all replies, begun at once."""
    start = time.perf_counter()
    timings = await asyncio.gather(*(timed(stream) for stream in streams))
    return sum(timing.tokens for timing in timings) / (time.perf_counter() - start)
