"""Conversations as the pages need them: whose they are, what the model hears of them, and a turn as it streams.

All of it is read from the journal, so that a page shows the same after a refresh or a restart and a browser cannot put
words into an agent's mouth. Knows nothing of layouts.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from bot.agent import Agent, Answer
from bot.desk import Desk
from bot.errors import BotError, Forbidden, NotFound
from bot.journal.feedback import Thumb
from bot.journal.models import TurnRecord
from bot.limits import MAX_MESSAGES
from bot.types import Message, Turn
from bot.web.auth import Person

PACE = 0.05
"""Seconds between two updates of a page: faster costs work and reads no better."""
SETTLING = 5.0
"""Seconds to wait for a stopped turn to reach the journal."""


class Chats:
    """The conversations of one page. `place` keeps them apart from those the same person has on other pages."""

    def __init__(self, desk: Desk, place: str) -> None:
        self.desk, self._place = desk, place
        self._running: dict[str, asyncio.Event] = {}

    def _owner(self, person: Person) -> str:
        # Without its cookie a browser would own what all such browsers, and the API, left behind.
        if not person.id:
            raise Forbidden("This browser sends no cookie, so its conversation cannot be kept.", "Allow cookies here.")
        return f"{self._place}:{person.id}" if self._place else person.id

    async def current(self, person: Person, conversation: str) -> str:
        """The conversation that a tab is in where it is this person's, else the person's latest, else a new one."""
        try:
            await self.turns(person, conversation)
        except NotFound:
            conversation = ""
        return conversation or await self.latest(person) or await self.begin(person)

    async def latest(self, person: Person) -> str:
        """ "" where there is none."""
        return await asyncio.to_thread(self.desk.journal.latest, self._owner(person)) or ""

    async def begin(self, person: Person) -> str:
        """A conversation without turns: a new one, unless the latest has none yet."""
        latest = await self.latest(person)
        if latest and not await self.turns(person, latest):
            return latest
        return await asyncio.to_thread(self.desk.journal.start, self._owner(person))

    async def turns(self, person: Person, conversation: str) -> list[TurnRecord]:
        """Raises NotFound where the conversation is somebody else's."""
        owner = self._owner(person)
        return await asyncio.to_thread(self.desk.journal.turns, conversation, owner) if conversation else []

    async def shown(self, person: Person, conversation: str) -> list[TurnRecord]:
        """What may be shown beside an error: nothing of a conversation that is somebody else's."""
        try:
            return await self.turns(person, conversation)
        except BotError:
            return []

    async def thumbs(self, turns: Sequence[TurnRecord]) -> list[str | None]:
        """A customer's thumb on each turn: up, down or none."""
        given = await asyncio.to_thread(self.desk.journal.feedback.thumbs, [turn.id for turn in turns])
        return [given.get(turn.id) for turn in turns]

    async def give(self, person: Person, turn: int, thumb: Thumb | None, reason: str = "", comment: str = "") -> None:
        """Raises NotFound where the turn is not this person's."""
        owner = self._owner(person)
        await asyncio.to_thread(self.desk.journal.feedback.give, turn, owner, thumb, reason, comment)

    async def settled(self, person: Person, conversation: str) -> list[TurnRecord]:
        """The turns, after the one under way has ended: Stop and a refresh end it a moment later."""
        if done := self._running.get(conversation):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(done.wait(), SETTLING)
        return await self.turns(person, conversation)

    async def ask(self, turn: Turn, answer: Answer) -> AsyncGenerator[str, None]:
        """The reply so far, again and again. Closing this ends the generation; the journal gets the turn either way."""
        done = self._running[turn.conversation] = asyncio.Event()
        try:
            async with aclosing(stream(self.desk.agent, turn, answer)) as replies:
                async for reply in replies:
                    yield reply
        finally:
            done.set()
            if self._running.get(turn.conversation) is done:
                del self._running[turn.conversation]


async def stream(agent: Agent, turn: Turn, answer: Answer) -> AsyncGenerator[str, None]:
    """The reply so far, at most every PACE seconds, and whole at the end."""
    reply, shown = "", 0.0
    async with aclosing(agent.answer(turn, answer)) as pieces:
        async for piece in pieces:
            reply += piece.text
            if reply and time.perf_counter() - shown >= PACE:
                shown = time.perf_counter()
                yield reply
    yield reply


def history(turns: Sequence[TurnRecord]) -> tuple[Message, ...]:
    """What an agent hears of earlier turns, the latest that it may be sent."""
    latest = [turn for turn in turns if turn.heard][-(MAX_MESSAGES // 2 - 1) :]
    return tuple(
        message for turn in latest for message in (Message("user", turn.question), Message("assistant", turn.reply))
    )
