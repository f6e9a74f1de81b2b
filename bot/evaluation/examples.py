"""Which turns the report shows side by side: those where the arms differ most, spread over conversations."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher
from itertools import combinations

from bot.evaluation.items import Item
from bot.evaluation.replies import Reply
from bot.evaluation.results import Example, ExampleReply

COUNT = 20
_SPOKEN = {"user": "customer", "assistant": "agent", "system": "system"}


def examples(items: Sequence[Item], replies: Sequence[Reply], seed: int, count: int = COUNT) -> tuple[Example, ...]:
    """At most `count`, each with the arms' replies under `seed`. A conversation is met a second time only where all were
    met once. The same replies give the same examples."""
    said: dict[str, list[Reply]] = {item.id: [] for item in items}
    for reply in replies:
        if reply.seed == seed and reply.item in said:
            said[reply.item].append(reply)
    places = {item.id: number for number, item in enumerate(items)}
    apart = {id: _apart([reply.text for reply in spoken]) for id, spoken in said.items()}
    ordered = sorted((item for item in items if said[item.id]), key=lambda item: (-apart[item.id], places[item.id]))
    met: dict[str, int] = {}
    rounds: dict[str, int] = {}
    for item in ordered:
        rounds[item.id] = met[item.conversation] = met.get(item.conversation, 0) + 1
    shown = sorted(ordered, key=lambda item: rounds[item.id])[:count]
    return tuple(_example(item, said[item.id]) for item in shown)


def _apart(texts: Sequence[str]) -> float:
    """How unlike the texts are, 0 … 1: the mean over pairs of different ones, alike pairs counting 0."""
    counted: dict[str, int] = {}
    for text in texts:
        counted[text] = counted.get(text, 0) + 1
    pairs = len(texts) * (len(texts) - 1) / 2
    total = sum(
        counted[one] * counted[other] * (1 - SequenceMatcher(None, one.split(), other.split(), autojunk=False).ratio())
        for one, other in combinations(sorted(counted), 2)
    )
    return round(total / pairs, 9) if pairs else 0.0


def _example(item: Item, replies: Sequence[Reply]) -> Example:
    return Example(
        item=item.id,
        history=tuple(f"{_SPOKEN[message.role]}: {message.content}" for message in item.history),
        reference=item.reference,
        passages=tuple(f"{passage.title}: {passage.text}" for passage in item.passages),
        replies=tuple(ExampleReply(arm=reply.arm, text=reply.text, reasoning=reply.reasoning) for reply in replies),
    )
