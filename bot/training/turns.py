"""Who spoke when, as support exports have it → customer and agent in turn, beginning with the customer, ending with the
agent.

What is not a question with its answer is left out and counted, never silently: a greeting before the customer said
anything, a last word that nobody answered, a system message (the prompt is added later). Turns of one speaker in a row
become one message.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from bot.errors import DataError
from bot.limits import MAX_MESSAGES, MAX_RENDERED, check_text
from bot.training.formats import Label, RawRow
from bot.types import Message, Role

MAX_CONVERSATION = MAX_RENDERED // 2
"""Characters of one conversation; the other half is left for prompt and passages."""
_SAID_BY: dict[Role, tuple[str, ...]] = {
    "user": ("user", "human", "customer", "client", "visitor", "caller", "guest", "consumer", "end-user", "requester"),
    "assistant": ("assistant", "agent", "gpt", "bot", "chatbot", "model", "ai", "representative", "operator", "support"),
    "system": ("system",),
}
ROLES: dict[str, Role] = {word: role for role, words in _SAID_BY.items() for word in words}
"""The words for a speaker, in small letters."""
JOINED = "turns joined to the one before, by the same speaker"
OPENING = "agent's turns before the customer's first left out"
UNANSWERED = "customer's last turns without an answer left out"
SYSTEM = "system messages left out"
ASTRAY = "labels left out that stand at no customer's message"


@dataclass(frozen=True, slots=True)
class Mended:
    messages: tuple[Message, ...]
    labels: tuple[Label, ...]


def is_known(who: str) -> bool:
    """Whether that word for a speaker is one of ours."""
    return _plain(who) in ROLES


def _plain(who: str) -> str:
    return who.strip().lower().replace("_", "-")


def mend(row: RawRow, counts: Counter[str]) -> Mended:
    """The row's turns in order. `counts` gains what was joined and left out. Raises DataError or InvalidMessage with the
    reason for a row that cannot be mended."""
    said: list[tuple[Role, list[str]]] = []
    place: dict[int, int] = {}
    changes: Counter[str] = Counter()
    for number, (who, text) in enumerate(row.turns):
        role = ROLES.get(_plain(who))
        if role is None:
            raise DataError(
                f"message {number + 1} is by {who[:30]!r}, neither customer nor agent; adapters/README.md has the words"
            )
        if role == "system":
            changes[SYSTEM] += 1
            continue
        check_text(text, f"message {number + 1}")
        if said and said[-1][0] == role:
            said[-1][1].append(text)
            changes[JOINED] += 1
        else:
            said.append((role, [text]))
        place[number] = len(said) - 1
    first = 1 if said and said[0][0] == "assistant" else 0
    last = len(said) - 1 if said and said[-1][0] == "user" else len(said)
    changes[OPENING] += first
    changes[UNANSWERED] += len(said) - last
    kept = said[first:last]
    if not kept:
        raise DataError("no message of a customer is answered by an agent")
    messages = tuple(Message(role, "\n".join(texts)) for role, texts in kept)
    _check(messages)
    labels = _labels(row, {number: to - first for number, to in place.items()}, messages, changes)
    counts.update(+changes)
    return Mended(messages, labels)


def _check(messages: Sequence[Message]) -> None:
    if len(messages) > MAX_MESSAGES:
        raise DataError(f"it has {len(messages)} messages; at most {MAX_MESSAGES} are read")
    for number, message in enumerate(messages, 1):
        check_text(message.content, f"message {number}")
    size = sum(len(message.content) for message in messages)
    if size > MAX_CONVERSATION:
        raise DataError(f"it has {size:,} characters; at most {MAX_CONVERSATION:,} are read")


def _labels(row: RawRow, place: dict[int, int], messages: Sequence[Message], changes: Counter[str]) -> tuple[Label, ...]:
    """Labels at their message's new index. Of two that fall together the first one counts."""
    kept: dict[int, Label] = {}
    for label in row.labels:
        turn = place.get(label.turn, -1)
        if not 0 <= turn < len(messages) or messages[turn].role != "user":
            changes[ASTRAY] += 1
        else:
            kept.setdefault(turn, Label(turn, label.values))
    return tuple(kept[turn] for turn in sorted(kept))
