"""What the arms said: one reply for each arm, item and seed, and what the item's reference costs under that arm."""

from __future__ import annotations

from dataclasses import dataclass

from bot.types import FinishReason


@dataclass(frozen=True, slots=True)
class Reply:
    """`text` is what the customer sees, `reasoning` what a chain-of-thought prompt kept from him. Milliseconds are wall
    time from when the row entered the batch: they are never part of what must repeat."""

    arm: str
    item: str
    seed: int
    text: str
    reasoning: str = ""
    finish_reason: FinishReason = "stop"
    prompt_tokens: int = 0
    completion_tokens: int = 0
    first_token_ms: float = 0.0
    total_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class ReferenceCost:
    """Negative log-likelihood in nats of the item's reference under an arm, its end token included, over `tokens`."""

    arm: str
    item: str
    nats: float
    tokens: int


@dataclass(frozen=True, slots=True)
class Failure:
    """An arm that could not answer: told in the report, never dropped."""

    arm: str
    reason: str
