"""What customers say of replies: a thumb with a reason a turn, and the queue of those that point down.

Methods are synchronous and short; callers on an event loop use `asyncio.to_thread`. Knows nothing of prompts: what became
of an entry is a text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from bot.errors import Conflict, InvalidMessage, JournalError, NotFound
from bot.journal.database import storable, writing
from bot.journal.models import Conversation, FeedbackRecord, TurnRecord, now

Thumb = Literal["up", "down"]
State = Literal["open", "done", "dismissed"]
STATES: tuple[State, ...] = get_args(State)
MAX_REASON = 1_000
"""Characters."""
RACES = 5


@dataclass(frozen=True, slots=True)
class Entry:
    """One of the queue. `earlier` are the turns of its conversation before it, in order."""

    feedback: FeedbackRecord
    turn: TurnRecord
    earlier: Sequence[TurnRecord] = ()


class Feedback:
    """The thumbs of one database."""

    def __init__(self, session: sessionmaker[Session]) -> None:
        self._session = session

    def give(self, turn: int, owner: str, thumb: Thumb | None, reason: str = "", comment: str = "") -> None:
        """Keep `owner`'s thumb on a turn, in place of the one before; None takes it away. One that points down anew is open,
        whatever became of the one before. Raises NotFound also where the turn is of another's conversation."""
        if thumb not in (None, *get_args(Thumb)):
            raise JournalError(f"{thumb!r} is no thumb.", f"One of {', '.join(get_args(Thumb))}.")
        if len(reason) + len(comment) > MAX_REASON:
            raise InvalidMessage(
                f"The reason has {len(reason) + len(comment):,} characters; at most {MAX_REASON:,} are kept.", "Shorten it."
            )
        for _ in range(RACES):
            try:
                return self._give(turn, owner, thumb, {"reason": reason, "comment": storable(comment)})
            except IntegrityError as error:
                # The same turn got another thumb meanwhile: the next attempt takes its place.
                fault = error
        raise JournalError(f"The thumb was not kept: {fault.orig}.", "Press it once more.")

    def _give(self, turn: int, owner: str, thumb: Thumb | None, said: dict[str, str]) -> None:
        here = FeedbackRecord.turn_id == turn
        with writing(self._session, "The thumb was not kept") as session:
            whose = select(Conversation.owner).join(TurnRecord, TurnRecord.conversation_id == Conversation.id)
            if not owner or session.scalar(whose.where(TurnRecord.id == turn)) != owner:
                raise NotFound("turn", str(turn), [])
            again = update(FeedbackRecord).where(here, FeedbackRecord.thumb == thumb).values(said)
            if thumb is not None and session.execute(again).rowcount:  # type: ignore[attr-defined]
                return
            # Not merged: what was said of the thumb before says nothing of this one.
            session.execute(delete(FeedbackRecord).where(here))
            if thumb is not None:
                session.execute(insert(FeedbackRecord).values(turn_id=turn, thumb=thumb, **said))

    def thumbs(self, turns: Sequence[int]) -> dict[int, str]:
        """Turn → up or down, for those that have one."""
        with self._session() as session:
            found = select(FeedbackRecord.turn_id, FeedbackRecord.thumb).where(FeedbackRecord.turn_id.in_(turns))
            return dict(session.execute(found).all())

    def queue(self, state: State | None, most: int) -> list[Entry]:
        """Turns whose thumb points down, the latest first, at most `most`; None stands for every state."""
        states = STATES if state is None else (state,)
        wanted = (
            select(FeedbackRecord, TurnRecord)
            .join(TurnRecord, TurnRecord.id == FeedbackRecord.turn_id)
            .where(FeedbackRecord.thumb == "down", FeedbackRecord.state.in_(states))
            .order_by(FeedbackRecord.at.desc(), FeedbackRecord.turn_id.desc())
        )
        with self._session() as session:
            return [Entry(feedback, turn) for feedback, turn in session.execute(wanted.limit(most))]

    def counts(self) -> dict[State, int]:
        """How many of the queue are in each state."""
        down = select(FeedbackRecord.state, func.count()).where(FeedbackRecord.thumb == "down")
        with self._session() as session:
            found = dict(session.execute(down.group_by(FeedbackRecord.state)).all())
        return {state: found.get(state, 0) for state in STATES}

    def entry(self, turn: int) -> Entry:
        """One of the queue with what was said before it. Raises NotFound where no thumb points down there."""
        with self._session() as session:
            feedback, record = session.get(FeedbackRecord, turn), session.get(TurnRecord, turn)
            if feedback is None or record is None or feedback.thumb != "down":
                raise NotFound("feedback on turn", str(turn), [], "The customer may have taken it back; reload the queue.")
            before = (TurnRecord.conversation_id == record.conversation_id, TurnRecord.number < record.number)
            earlier = session.scalars(select(TurnRecord).where(*before).order_by(TurnRecord.number))
            return Entry(feedback, record, list(earlier))

    def move(self, turn: int, expected: State, state: State, who: str, became: str = "") -> None:
        """Take an entry from one state to another, with who did it, when, and what it became. Raises Conflict where it is in
        another state than `expected`, NotFound."""
        here = (FeedbackRecord.turn_id == turn, FeedbackRecord.thumb == "down", FeedbackRecord.state == expected)
        values = {"state": state, "handled_by": who, "handled_at": now(), "became": became}
        with writing(self._session, "The entry was not moved") as session:
            moved = session.execute(update(FeedbackRecord).where(*here).values(values)).rowcount  # type: ignore[attr-defined]
        if not moved:
            found = self.entry(turn).feedback
            by = f" by {found.handled_by}" if found.handled_by else ""
            raise Conflict(f"This entry is {found.state} by now{by}, no longer {expected}.", "Look again.")
