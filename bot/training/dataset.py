"""Conversations → rows of token ids, through the functions that serving uses: search, select, render, encode.

Serving puts the passages for the customer's last message into one system message. So each reply of an agent is encoded
after what came before it and the passages for its own question. Where a reply's context goes on exactly where the reply
before it ended, as it does without passages, both stand in one row: the same tokens, read once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bot.engine.local.encode import encode, encode_reply
from bot.errors import DataError
from bot.knowledge.search import KnowledgeBase
from bot.prompts.render import render
from bot.prompts.schema import Prompt
from bot.prompts.select import NOTHING, ExampleSelector, LeftOut
from bot.training.augment import original
from bot.training.transcripts import Conversation
from bot.types import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class Row:
    """One reply, or several of a conversation. `mask` is true at the replies' `ids` and their end tokens. `messages` is the
    rendered prompt of the last one, `question` what the customer wrote; `earlier` are the questions and replies before."""

    conversation: str
    question: str
    messages: tuple[Message, ...]
    reply: str
    ids: list[int]
    mask: list[bool]
    earlier: tuple[tuple[str, str], ...] = ()

    @property
    def exchanges(self) -> tuple[tuple[str, str], ...]:
        """Question and reply of all its replies."""
        return (*self.earlier, (self.question, self.reply))


def row_of(
    tokenizer: PreTrainedTokenizerBase, conversation: str, question: str, messages: tuple[Message, ...], reply: str
) -> Row:
    """The row of one reply to rendered messages. Raises DataError for a reply without a supervised token."""
    ids, start = encode_reply(tokenizer, messages, reply)
    if start == len(ids):
        raise DataError(f"Conversation {conversation!r} has a reply without a single token.", "Correct that row.")
    # Earlier replies and few-shot examples are context: only what follows the prompt as served is supervised.
    mask = [False] * start + [True] * (len(ids) - start)
    return Row(conversation, question, messages, reply, ids, mask)


@dataclass(frozen=True)
class Renderer:
    """How a turn becomes a row. `collection` "" is training without knowledge; `passages` is how many a reply gets.
    Replies share a row up to `longest` tokens. A row's own conversation and what is `held_out` are never its examples."""

    tokenizer: PreTrainedTokenizerBase
    prompt: Prompt
    knowledge: KnowledgeBase
    collection: str
    passages: int
    longest: int
    selector: ExampleSelector
    held_out: LeftOut = NOTHING

    async def rows(self, conversations: Sequence[Conversation]) -> AsyncIterator[Row]:
        """The replies in order. Raises DataError for a reply without a supervised token."""
        for conversation in conversations:
            left_out = LeftOut.of(original(conversation.id), conversation.messages) | self.held_out
            row: Row | None = None
            for number, message in enumerate(conversation.messages):
                if message.role != "assistant":
                    continue
                following = await self._row(conversation.id, conversation.messages[:number], message.content, left_out)
                joined = self._joined(row, following) if row else following
                if row and not joined:
                    yield row
                row = joined or following
            if row:
                yield row

    async def _row(self, conversation: str, history: Sequence[Message], reply: str, left_out: LeftOut) -> Row:
        found = None
        if self.collection:
            asked = [message.content for message in history if message.role == "user"]
            found = await self.knowledge.search_turn(asked, self.collection, self.passages)
        examples = await self.selector.select(self.prompt, history[-1].content, self._count, left_out)
        messages = render(self.prompt, examples, {}, found, history)
        return row_of(self.tokenizer, conversation, history[-1].content, messages, reply)

    def _count(self, messages: Sequence[Message]) -> int:
        return len(encode(self.tokenizer, messages))

    def _joined(self, row: Row, following: Row) -> Row | None:
        """Both in one, where the second's context begins with all of the first."""
        size = len(row.ids)
        context = following.mask.index(True)
        if len(following.ids) > self.longest or size > context or following.ids[:size] != row.ids:
            return None
        return dataclasses.replace(following, mask=row.mask + following.mask[size:], earlier=row.exchanges)
