"""Conversations → rows of token ids, through the functions that serving uses: search, render, encode.

Serving puts the passages for the customer's last message into one system message. So each reply of an agent is a row of
its own: what came before it, the passages for its own question, and loss on that reply and its end token alone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bot.engine.local.encode import encode, encode_supervised
from bot.errors import DataError
from bot.knowledge.search import KnowledgeBase
from bot.prompts.render import render
from bot.prompts.schema import Prompt
from bot.training.transcripts import Conversation
from bot.types import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class Row:
    """One reply. `messages` is the rendered prompt; `ids` goes on to the reply's end, where `mask` is true. `question` is
    the customer's message as it was written."""

    conversation: str
    question: str
    messages: tuple[Message, ...]
    reply: str
    ids: list[int]
    mask: list[bool]


@dataclass(frozen=True)
class Renderer:
    """How a turn becomes a row. `collection` "" is training without knowledge; `passages` is how many a reply gets."""

    tokenizer: PreTrainedTokenizerBase
    prompt: Prompt
    knowledge: KnowledgeBase
    collection: str
    passages: int

    async def rows(self, conversations: Sequence[Conversation]) -> AsyncIterator[Row]:
        """A row for each reply, in order. Raises DataError for a row without a supervised token."""
        for conversation in conversations:
            for number, message in enumerate(conversation.messages):
                if message.role == "assistant":
                    yield await self._row(conversation.id, conversation.messages[:number], message)

    async def _row(self, conversation: str, history: Sequence[Message], reply: Message) -> Row:
        found = None
        if self.collection:
            asked = [message.content for message in history if message.role == "user"]
            found = await self.knowledge.search_turn(asked, self.collection, self.passages)
        messages = render(self.prompt, self.prompt.examples, {}, found, history)
        ids, said = encode_supervised(self.tokenizer, (*messages, reply))
        # Earlier replies and few-shot examples are context: only what follows the prompt as served is supervised.
        start = len(encode(self.tokenizer, messages))
        mask = [position >= start and by_agent for position, by_agent in enumerate(said)]
        if not any(mask):
            raise DataError(f"Conversation {conversation!r} has a reply without a single token.", "Correct that row.")
        return Row(conversation, history[-1].content, messages, reply.content, ids, mask)
