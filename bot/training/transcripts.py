"""Transcripts on disk → conversations. One JSON object a line: {"id": ..., "messages": [...]}, as OpenAI writes them.

A row that cannot be used is reported with file, line and reason, and the rest goes on. A conversation falls to the
training or the held-out part as a whole, by a hash of its id: adding others never moves it. Knows nothing of tokens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field, ValidationError

from bot.errors import BotError, DataError, faults
from bot.limits import MAX_MESSAGES, MAX_RENDERED, check_text
from bot.types import Message, content_hash

MAX_CONVERSATION = MAX_RENDERED // 2
"""Characters of one conversation; the other half is left for prompt and passages."""
_TURNS = ("user", "assistant")


class _Message(BaseModel):
    role: Literal["user", "assistant"]
    content: str


class _Row(BaseModel):
    """What is read of a row. Other keys, such as labels, are for other readers."""

    id: str = ""
    messages: list[_Message] = Field(min_length=2, max_length=MAX_MESSAGES)


@dataclass(frozen=True, slots=True)
class Conversation:
    """Customer and agent in turn, beginning with the customer and ending with the agent."""

    id: str
    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class BadRow:
    file: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Transcripts:
    """`files` are file name → sha256 of what was read."""

    conversations: tuple[Conversation, ...]
    bad: tuple[BadRow, ...]
    files: dict[str, str]


def read_transcripts(folder: Path) -> Transcripts:
    """Every `*.jsonl` in `folder`. Raises DataError when there is none, or no row that can be used."""
    paths = sorted(folder.glob("*.jsonl"))
    if not paths:
        raise DataError(f"There are no transcripts in {folder}.", "Put .jsonl files there; adapters/README.md says how.")
    kept: dict[str, Conversation] = {}
    bad: list[BadRow] = []
    files: dict[str, str] = {}
    for path in paths:
        digest = hashlib.sha256()
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                digest.update(line)
                if not line.strip():
                    continue
                try:
                    conversation = _parse(line)
                    if conversation.id in kept:
                        raise DataError(f"the id {conversation.id!r} stands twice")
                    kept[conversation.id] = conversation
                except BotError as error:
                    bad.append(BadRow(path.name, number, error.what))
        files[path.name] = digest.hexdigest()
    if not kept:
        raise DataError(f"No row in {folder} can be used. The first: {bad[0] if bad else 'none, the files are empty'}.")
    return Transcripts(tuple(kept.values()), tuple(bad), files)


def _parse(line: bytes) -> Conversation:
    """Raises DataError or InvalidMessage with the reason. A row without an id is known by its content."""
    try:
        row = _Row.model_validate_json(line)
    except ValidationError as error:
        raise DataError(faults(error)) from None
    for number, message in enumerate(row.messages):
        if message.role != _TURNS[number % 2]:
            raise DataError(f"message {number + 1} is {message.role}; customer and agent take turns, the customer first")
        check_text(message.content, f"message {number + 1}")
    if len(row.messages) % 2:
        raise DataError("it ends with the customer; the last message is the agent's")
    size = sum(len(message.content) for message in row.messages)
    if size > MAX_CONVERSATION:
        raise DataError(f"it has {size:,} characters; at most {MAX_CONVERSATION:,} are read")
    texts = [message.content for message in row.messages]
    return Conversation(row.id.strip() or content_hash(*texts)[:16], tuple(Message(m.role, m.content) for m in row.messages))


def is_held_out(conversation: str, share: float) -> bool:
    """Whether the conversation of that id belongs to the held-out part."""
    return int(hashlib.sha256(conversation.encode()).hexdigest()[:8], 16) < share * 2**32


def split(conversations: Iterable[Conversation], share: float) -> tuple[Sequence[Conversation], Sequence[Conversation]]:
    """Training and held-out conversations, in the order given. Raises DataError when one part would be empty."""
    training: list[Conversation] = []
    held_out: list[Conversation] = []
    for conversation in conversations:
        (held_out if is_held_out(conversation.id, share) else training).append(conversation)
    if not training or not held_out:
        raise DataError(
            f"{len(training)} conversations to train on and {len(held_out)} held out; both parts need some.",
            "Add transcripts, or change held_out.",
        )
    return training, held_out
