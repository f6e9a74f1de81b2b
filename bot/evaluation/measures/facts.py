"""Facts of the reference that a reply tells, and figures and names in it that nobody ever said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

from bot.evaluation.items import Item
from bot.evaluation.measured import COUNT, FACTS_RIGHT, FACTS_WRONG, SHARE, Measured
from bot.evaluation.measures.figures import figures
from bot.evaluation.measures.per_item import ByArm, conversations, per_item
from bot.evaluation.measures.terms import Step, names, steps, takes
from bot.evaluation.replies import Reply
from bot.starter.said import states

Fact = str | Step


@lru_cache(50_000)
def facts(text: str) -> frozenset[Fact]:
    """All in `text`: figures, names and steps."""
    return figures(text) | names(text) | steps(text)


def right(reply: str, reference: str) -> float | None:
    """Share of the reference's facts that the reply tells; None where it has none."""
    wanted = facts(reference)
    if not wanted:
        return None
    return sum(_tells(reply, fact) for fact in wanted) / len(wanted)


def _tells(reply: str, fact: Fact) -> bool:
    if isinstance(fact, Step):
        return takes(fact, steps(reply))
    # A name may begin a sentence, where no capital marks it.
    return fact in figures(reply) or (fact in " ".join(reply.split()) and states(reply, fact))


def wrong(reply: str, sources: Sequence[str], known: Sequence[str] = ()) -> set[str]:
    """Figures and names in the reply that stand in none of the `sources`; `known` are names that it may use besides."""
    there = frozenset[str]().union(*map(figures, sources))
    made_up = {figure for figure in figures(reply) - there if " " in figure or not _counted(figure, there)}
    whole = "\n".join([*sources, *known])
    return made_up | {name for name in names(reply) if not states(whole, name)}


def _counted(number: str, there: frozenset[str]) -> bool:
    """Whether a bare number stands there with a unit."""
    return any(number in figure.split() for figure in there)


def facts_right(replies: ByArm, items: Sequence[Item]) -> Measured:
    return Measured(
        FACTS_RIGHT,
        SHARE,
        "higher",
        conversations(items),
        per_item(replies, items, lambda item, reply: right(reply.text, item.reference)),
        about="Share of the facts in what the agent wrote (figures with their units, codes, names of things and buttons,"
        " steps) that the reply tells as well; turns whose reference has none do not count.",
    )


def facts_wrong(replies: ByArm, items: Sequence[Item], known: Mapping[str, Sequence[str]]) -> Measured:
    """`known` are, by arm, the names that its prompt gives it."""

    def count(item: Item, reply: Reply) -> float:
        return float(len(wrong(reply.text, sources(item), known.get(reply.arm, ()))))

    return Measured(
        FACTS_WRONG,
        COUNT,
        "lower",
        conversations(items),
        per_item(replies, items, count),
        about="Figures, codes and names in a reply that stand neither in what the agent wrote, nor in the passages found,"
        " nor in the conversation before; the names that a prompt's variables hold are not counted.",
    )


def sources(item: Item) -> list[str]:
    """What a reply to that item may rest on, whatever its arm was shown."""
    passages = [f"{passage.title}\n{passage.text}" for passage in item.passages]
    return [item.reference, *passages, *(message.content for message in item.history)]
