"""How near a reply's meaning is to the reference's, under the desk's own embedding model."""

from __future__ import annotations

from collections.abc import Sequence

from bot.evaluation.items import Item
from bot.evaluation.measured import SIMILARITY, Measured
from bot.evaluation.measures.meaning import Meanings
from bot.evaluation.measures.per_item import ByArm, conversations, per_item


async def similarity(replies: ByArm, items: Sequence[Item], meanings: Meanings) -> Measured:
    await meanings.learn(item.reference for item in items)
    await meanings.learn(reply.text for own in replies.values() for some in own.values() for reply in some)
    return Measured(
        SIMILARITY,
        "cosine",
        "higher",
        conversations(items),
        per_item(replies, items, lambda item, reply: meanings.likeness(reply.text, item.reference)),
        about=f"Cosine between the embeddings of each reply and of what the agent wrote ({meanings.id}), -1 to 1.",
    )
