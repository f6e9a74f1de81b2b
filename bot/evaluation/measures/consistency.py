"""Does an arm say the same when the same is asked: in other words, under other seeds, after earlier turns in another order?

Agreement of two replies is one number from 0 to 1: the mean of the share of their facts that both tell (1 where neither
tells any) and of their embeddings' cosine (not below 0). An item's is the mean over its kinds of the mean over pairs.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

from bot.evaluation.items import Item
from bot.evaluation.measured import CONSISTENCY, SHARE, Measured
from bot.evaluation.measures.facts import facts
from bot.evaluation.measures.further import asked_as, sampled, with_history
from bot.evaluation.measures.meaning import Meanings
from bot.evaluation.measures.per_item import ByArm, conversations, mean
from bot.evaluation.replies import Reply
from bot.files import read_yaml
from bot.training.augment import otherwise
from bot.types import Message

QUESTIONS = 20
PARAPHRASES = 2
_TRIES = 10
_WORD = re.compile(r"[\w']+")


def paraphrases(item: Item) -> list[Item]:
    """The question in other words, none of which is the question itself; fewer where none can be found."""
    told = [item.question]
    for number in range(_TRIES):
        text = otherwise(item.question, random.Random(f"consistency/{number}/{item.id}"))  # noqa: S311 - not a secret
        if text not in told:
            told.append(text)
        if len(told) > PARAPHRASES:
            break
    return [asked_as(item, f"paraphrase-{number}", text) for number, text in enumerate(told[1:], 1)]


def reordered(item: Item) -> Item:
    """The last question after the same turns in another order: two earlier exchanges swapped that lean on nothing, or, where
    there are none, a greeting put before."""
    *earlier, last = item.history
    pairs = list(zip(earlier[::2], earlier[1::2], strict=False))
    regular = len(earlier) % 2 == 0 and all((a.role, b.role) == ("user", "assistant") for a, b in pairs)
    for number in range(len(pairs) - 1 if regular else 0):
        if _independent(pairs[number], pairs[number + 1]) and not _leans(last.content):
            pairs[number : number + 2] = [pairs[number + 1], pairs[number]]
            return with_history(item, "order", [*(message for pair in pairs for message in pair), last])
    first = item.history[0].content
    greeting = next((pair for pair in _words()["greetings"] if not first.startswith(pair["customer"])), None)
    greeting = greeting or _words()["greetings"][0]
    said = (Message("user", greeting["customer"]), Message("assistant", greeting["agent"]))
    return with_history(item, "order", [*said, *item.history])


def _independent(one: tuple[Message, Message], other: tuple[Message, Message]) -> bool:
    """Neither customer's message leans on anything, and the two exchanges share no fact."""
    shared = facts("\n".join(m.content for m in one)) & facts("\n".join(m.content for m in other))
    return not shared and not _leans(one[0].content) and not _leans(other[0].content)


def _leans(text: str) -> bool:
    return not set(_WORD.findall(text.lower())).isdisjoint(_words()["leaning"])


@cache
def _words() -> dict[str, Any]:
    return read_yaml(Path(__file__).with_name("consistency.yaml"))


def further_items(items: Sequence[Item]) -> list[Item]:
    """What is asked besides the items, a bounded number."""
    return [further for item in _sampled(items) for further in (*paraphrases(item), reordered(item))]


def _sampled(items: Sequence[Item]) -> list[Item]:
    return sampled(items, QUESTIONS, "consistency")


def agreement(one: str, other: str, meanings: Meanings) -> float:
    """Of two replies, 0 to 1; the same either way round, and 1 for a reply with itself."""
    first, second = facts(one), facts(other)
    both = first | second
    shared = len(first & second) / len(both) if both else 1.0
    return (shared + min(1.0, max(0.0, meanings.likeness(one, other)))) / 2


async def consistency(replies: ByArm, items: Sequence[Item], meanings: Meanings) -> Measured:
    """`replies` are those to the items and to their further ones."""
    chosen = {item.id: item for item in _sampled(items)}
    asked = [*chosen.values(), *further_items(items)]
    await meanings.learn(
        reply.text for own in replies.values() for item in asked for reply in own.get(item.id, ()) if reply.text.strip()
    )
    values = {
        arm: tuple(_of_item(chosen[item.id], own, meanings) if item.id in chosen else None for item in items)
        for arm, own in replies.items()
    }
    return Measured(
        CONSISTENCY,
        SHARE,
        "higher",
        conversations(items),
        values,
        about=f"Agreement of the replies to {len(chosen)} questions with those to {PARAPHRASES} paraphrases of each, under"
        " the other seeds, and after earlier turns in another order (or a greeting put before), all three averaged."
        " Agreement of two replies, 0 to 1, is the mean of the share of their facts that both tell and of their cosine.",
    )


def _of_item(item: Item, own: Any, meanings: Meanings) -> float | None:
    told: Sequence[Reply] = own.get(item.id, ())
    if not told:
        return None
    said = own.get
    first = told[0].seed
    others = [_under(first, said(further.id, ())) for further in paraphrases(item)]
    kinds = [
        [told[0].text, *(text for text in others if text is not None)],
        [reply.text for reply in told],
        [text for text in (told[0].text, _under(first, said(reordered(item).id, ()))) if text is not None],
    ]
    return mean([_pairwise(texts, meanings) for texts in kinds])


def _under(seed: int, replies: Sequence[Reply]) -> str | None:
    return next((reply.text for reply in replies if reply.seed == seed), None)


def _pairwise(texts: Iterable[str], meanings: Meanings) -> float | None:
    return mean([agreement(one, other, meanings) for one, other in combinations(texts, 2)])
