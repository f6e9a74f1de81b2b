"""Conversations → training and held out, each as a whole, by a hash of its id.

The rule: a conversation is held out where its hash lies below the share. Adding others never moves it, so a successor is
judged by what its predecessor never saw. Strata are the intents of first messages, where there are labels: of each,
between half and twice the share is held out; where the hashes give fewer or more, those next to the border change sides,
and only there can adding others move one.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence

from bot.errors import DataError
from bot.training.transcripts import Conversation


def is_held_out(conversation: str, share: float) -> bool:
    """Whether the hash of that id lies below the share."""
    return _place(conversation) < share


def stratum(conversation: Conversation) -> str:
    """The intent of the first labelled message; "" where there is none."""
    return conversation.labels[0].values.get("intent", "") if conversation.labels else ""


def split(conversations: Iterable[Conversation], share: float) -> tuple[Sequence[Conversation], Sequence[Conversation]]:
    """Training and held-out conversations, in the order given. Raises DataError when one part would be empty."""
    ordered = list(conversations)
    strata: dict[str, list[str]] = {}
    for conversation in ordered:
        strata.setdefault(stratum(conversation), []).append(conversation.id)
    chosen: set[str] = set()
    for name, ids in strata.items():
        count = sum(is_held_out(id_, share) for id_ in ids)
        if name:
            fewest = max(1, math.floor(share * len(ids) / 2)) if share * len(ids) >= 1 else 0
            most = max(1, math.ceil(2 * share * len(ids)))
            count = min(max(count, fewest), most, max(count, len(ids) - 1) if len(ids) == 1 else len(ids) - 1)
        chosen.update(sorted(ids, key=_place)[:count])
    training = [conversation for conversation in ordered if conversation.id not in chosen]
    held_out = [conversation for conversation in ordered if conversation.id in chosen]
    if not training or not held_out:
        raise DataError(
            f"{len(training)} conversations to train on and {len(held_out)} held out; both parts need some.",
            "Add transcripts, or change held_out.",
        )
    return training, held_out


def _place(conversation: str) -> float:
    """A number from 0 to 1 that is the id's own."""
    return int(hashlib.sha256(conversation.encode()).hexdigest()[:8], 16) / 2**32
