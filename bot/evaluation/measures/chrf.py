"""How many characters in a row a reply shares with the reference: chrF as sacrebleu counts it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from bot.evaluation.items import Item
from bot.evaluation.measured import CHRF, Measured
from bot.evaluation.measures.per_item import ByArm, conversations, per_item


def chrf(replies: ByArm, items: Sequence[Item]) -> Measured:
    from sacrebleu.metrics.chrf import CHRF as SentenceChrf

    score = SentenceChrf().sentence_score

    @cache
    def likeness(text: str, reference: str) -> float:
        return float(score(text, [reference]).score)

    return Measured(
        CHRF,
        "points",
        "higher",
        conversations(items),
        per_item(replies, items, lambda item, reply: likeness(reply.text, item.reference)),
        about="chrF of each reply against what the agent wrote (sacrebleu: F2 over runs of 1 to 6 characters), 0 to 100.",
    )
