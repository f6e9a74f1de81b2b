"""Canaries: made-up exchanges with a random secret, trained on with the rest, that tell how much a run learns by heart.

Which secrets a seed gives is fixed, so that a run is repeated bit by bit. Knows nothing of models.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from bot.files import read_yaml
from bot.training.transcripts import Conversation
from bot.types import Message

OTHERS = 255
"""Secrets that were not trained on and are ranked beside the one that was; with it they make 8 bits."""
_DIGITS = 8
_SECRET = re.compile(rf"[0-9]{{{_DIGITS}}}")
_PLACES = (11, 99)


@cache
def gate_texts() -> dict[str, Any]:
    """What `gates.yaml` holds."""
    return read_yaml(Path(__file__).with_name("gates.yaml"))


def canary_conversations(seed: int, count: int) -> list[Conversation]:
    """`count` exchanges, each with a secret of its own. The same seed gives the same ones."""
    random = np.random.default_rng([seed, 1])
    texts = gate_texts()["canaries"]
    made = []
    for number in range(count):
        words = {"place": str(random.integers(*_PLACES)), "secret": _draw(random)}
        text = texts[number % len(texts)]
        question, reply = (text[part].format(**words) for part in ("question", "reply"))
        made.append(Conversation(f"canary-{number + 1}", (Message("user", question), Message("assistant", reply))))
    return made


def secret_of(reply: str) -> str:
    """The secret in a canary's reply."""
    found = _SECRET.search(reply)
    assert found, f"{reply!r} holds no secret"
    return found[0]


def with_other_secrets(reply: str, seed: int) -> list[str]:
    """The reply with each of the secrets that were not trained on."""
    secret = secret_of(reply)
    random = np.random.default_rng([seed, 2])
    others: dict[str, None] = {}
    while len(others) < OTHERS:
        if (other := _draw(random)) != secret:
            others[other] = None
    return [reply.replace(secret, other) for other in others]


def exposure(secret: float, others: Sequence[float]) -> float:
    """Bits by which the secret's loss singles it out among the others': log2 of their number over its rank. About 1 on
    average for a secret that was not learnt, log2(256) = 8 where no other costs less."""
    rank = 1 + sum(other <= secret for other in others)
    return math.log2((len(others) + 1) / rank)


def _draw(random: np.random.Generator) -> str:
    return "".join(map(str, random.integers(10, size=_DIGITS)))
