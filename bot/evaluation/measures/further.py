"""Further items: the same questions put otherwise, without a reference, so that nothing but a reply is asked for.

Which questions are taken is fixed by their ids, the same for every arm and run. A further item keeps its question's
passages: what differs is the reply's doing, not the search's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bot.evaluation.items import Item
from bot.types import Message, content_hash


def sampled(items: Sequence[Item], count: int, purpose: str) -> list[Item]:
    """At most `count` of them in their order, of as many conversations as can be, by a hash of purpose and id."""
    seen: dict[str, int] = {}
    ranks: dict[str, tuple[int, str]] = {}
    for item in sorted(items, key=lambda item: content_hash(purpose, item.id)):
        seen[item.conversation] = seen.get(item.conversation, 0) + 1
        ranks[item.id] = (seen[item.conversation], content_hash(purpose, item.id))
    chosen = set(sorted(ranks, key=ranks.__getitem__)[:count])
    return [item for item in items if item.id in chosen]


def asked_as(item: Item, name: str, question: str) -> Item:
    """The item with another question in its last place."""
    return with_history(item, name, (*item.history[:-1], Message("user", question)))


def with_history(item: Item, name: str, history: Sequence[Message]) -> Item:
    return replace(item, id=f"{item.id}~{name}", origin=item.id, history=tuple(history), reference="")
