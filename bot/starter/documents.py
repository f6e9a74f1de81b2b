"""What the generators hand on: a document of turns, each reply with its learning weights.

Contract: a reply's weight of 0 means it is read but not learnt (an earlier reply whose passages are gone). Marks raise
the weight of the few characters that carry the answer: a fact, a label, a sign-off. Knows no tokenizer.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

Speaker = Literal["system", "user", "assistant"]


@dataclass(frozen=True)
class Mark:
    """Characters start..end weigh `first` at their first token and `rest` after it."""

    start: int
    end: int
    first: float
    rest: float


@dataclass(frozen=True)
class Choice:
    """Where in a reply its passage is chosen: before character `at`; `passage` is the text chosen, "" for none. It stands in
    the system message, not before character `after`."""

    at: int
    passage: str
    after: int = 0


@dataclass
class Turn:
    """One message."""

    speaker: Speaker
    text: str
    weight: float = 0.0
    marks: list[Mark] = field(default_factory=list)
    wants: str = ""
    """For a customer's message: the value that the reply has to repeat, where there is one (evaluation)."""
    choice: Choice | None = None


@dataclass
class Document:
    """One conversation, or one text without speakers (a single system turn is never that)."""

    source: str
    turns: list[Turn]
    meta: dict[str, Any] = field(default_factory=dict)

    def messages(self) -> list[dict[str, str]]:
        """The conversation as chat messages."""
        return [{"role": turn.speaker, "content": turn.text} for turn in self.turns]


def system(text: str) -> Turn:
    """The system message."""
    return Turn("system", text)


def user(text: str, weight: float = 0.0, wants: str = "") -> Turn:
    """A customer's message."""
    return Turn("user", text, weight, wants=wants)


def reply(
    text: str, heavy: Iterable[tuple[str, float, float]] = (), weight: float = 1.0, choice: Choice | None = None
) -> Turn:
    """An assistant's message; `heavy` holds (substring, first weight, rest weight)."""
    marks = []
    for part, first, rest in heavy:
        place = text.find(part) if part else -1
        if place >= 0:
            marks.append(Mark(place, place + len(part), first, rest))
    return Turn("assistant", text, weight, marks if weight > 0 else [], choice=choice if weight > 0 else None)
