"""Whether labels can be learned from: how often each stands, and where near-identical messages have different ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from bot.training.duplicates import alike, normalised
from bot.training.transcripts import Conversation

RARE = 5
"""A label with fewer messages is hardly learned and not measured."""
_WORDS = 4
"""Shorter messages, such as "yes please", mean what came before them."""
_ALIKE = 0.85


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two messages that say nearly the same, and the labels they have for `key`. `conversations` are their ids."""

    key: str
    texts: tuple[str, str]
    labels: tuple[str, str]
    conversations: tuple[str, str]


def balance(conversations: Sequence[Conversation]) -> dict[str, dict[str, int]]:
    """Key such as "intent" → label → messages that have it, the most frequent first."""
    counts: dict[str, Counter[str]] = {}
    for conversation in conversations:
        for label in conversation.labels:
            for key, value in label.values.items():
                counts.setdefault(key, Counter())[value] += 1
    return {key: dict(counter.most_common()) for key, counter in counts.items()}


def rare(counts: dict[str, dict[str, int]]) -> list[str]:
    """Warnings for labels with too few messages."""
    return [
        f"{key} {value!r} stands at {count} of the messages; fewer than {RARE} are hardly learned"
        for key, labels in counts.items()
        for value, count in labels.items()
        if count < RARE
    ]


def conflicts(conversations: Sequence[Conversation]) -> list[Conflict]:
    """Pairs of labelled messages of at least four words that are nearly identical and labelled differently."""
    said = [
        (conversation.id, conversation.messages[label.turn].content, label)
        for conversation in conversations
        for label in conversation.labels
        if len(normalised(conversation.messages[label.turn].content).split()) >= _WORDS
    ]
    found = []
    for number, earlier, _ in alike([text for _, text, _ in said], _ALIKE):
        (first, first_text, first_label), (second, second_text, second_label) = said[earlier], said[number]
        for key in first_label.values.keys() & second_label.values.keys():
            labels = (first_label.values[key], second_label.values[key])
            if labels[0] != labels[1]:
                found.append(Conflict(key, (first_text, second_text), labels, (first, second)))
    return sorted(found, key=lambda conflict: (conflict.key, conflict.texts))
