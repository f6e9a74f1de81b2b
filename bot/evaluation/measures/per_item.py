"""Replies and costs → the shape of a `Measured`: by arm, one number for each item, several seeds averaged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Protocol

from bot.evaluation.items import Item
from bot.evaluation.replies import ReferenceCost, Reply

Values = dict[str, tuple[float | None, ...]]
ByArm = Mapping[str, Mapping[str, Sequence[Reply]]]
"""Arm → item → its replies, by seed."""


class Asked(Protocol):
    """What asking the arms gave."""

    @property
    def replies(self) -> tuple[Reply, ...]: ...

    @property
    def costs(self) -> tuple[ReferenceCost, ...]: ...


def by_arm(replies: Sequence[Reply]) -> ByArm:
    """An arm that said nothing is not in it."""
    found: dict[str, dict[str, list[Reply]]] = {}
    for reply in sorted(replies, key=lambda reply: reply.seed):
        found.setdefault(reply.arm, {}).setdefault(reply.item, []).append(reply)
    return found


def per_item(replies: ByArm, items: Sequence[Item], value: Callable[[Item, Reply], float | None]) -> Values:
    """The mean over an item's replies; None where there is none or `value` has none for any."""
    return {
        arm: tuple(mean([value(item, reply) for reply in own.get(item.id, ())]) for item in items)
        for arm, own in replies.items()
    }


def mean(values: Sequence[float | None]) -> float | None:
    """Of those that are there; None where none is."""
    there = [value for value in values if value is not None]
    return fmean(there) if there else None


def conversations(items: Sequence[Item]) -> tuple[str, ...]:
    return tuple(item.conversation for item in items)
