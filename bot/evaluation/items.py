"""The turns that every arm answers: the agent's turns of held-out conversations, with what came before each one."""

from __future__ import annotations

from dataclasses import dataclass, field

from bot.types import Message, Passage


@dataclass(frozen=True, slots=True)
class Item:
    """One turn. `id` is the conversation's and the number of the message that is answered; `history` ends with the
    customer's message, `reference` is what the agent wrote, `passages` what search finds for it: the same for every arm
    with knowledge. `labels` are those of the customer's message (intent, sentiment, handoff). `origin` is the id of the turn
    that it puts otherwise, "" where it is one itself."""

    id: str
    conversation: str
    history: tuple[Message, ...]
    reference: str
    passages: tuple[Passage, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    origin: str = ""

    @property
    def question(self) -> str:
        return self.history[-1].content
