"""Conversations, turns, votes and labels in one database. Methods are synchronous and short; callers on an event loop
use `asyncio.to_thread`."""

from __future__ import annotations

import contextlib
import dataclasses
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import desc, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import sessionmaker

from bot.errors import Conflict, JournalError, NotFound
from bot.journal.database import open_database, storable, writing
from bot.journal.feedback import Feedback
from bot.journal.models import Conversation, Label, LabelMove, TurnRecord, Vote, now
from bot.journal.people import People
from bot.types import FinishReason, Message, Mix, Passage, Usage

CHOICES = ("left", "right", "tie")
NUMBER_RACES = 5
SEED = "labels.yaml"


@dataclass
class Exchange:
    """One turn as it goes into the journal, filled in while it happens."""

    conversation: str
    question: str
    mix: Mix = Mix()
    prompt: str = ""
    prompt_hash: str = ""
    knowledge: str = ""
    agent_hash: str = ""
    base_hash: str = ""
    sampling: dict[str, Any] = field(default_factory=dict)
    messages: Sequence[Message] = ()
    passages: Sequence[Passage] = ()
    reply: str = ""
    reasoning: str = ""
    finish_reason: FinishReason = "cancelled"
    error: str = ""
    usage: Usage = Usage()
    timings: dict[str, float] = field(default_factory=dict)
    """Milliseconds by stage."""


class Journal:
    """One database."""

    def __init__(self, url: str) -> None:
        self._engine = open_database(url)
        self._session = sessionmaker(self._engine, expire_on_commit=False)
        self.people = People(self._session)
        self.feedback = Feedback(self._session)

    @property
    def address(self) -> str:
        """Where it is, without a password."""
        return self._engine.url.render_as_string(hide_password=True)

    def close(self) -> None:
        self._engine.dispose()

    # conversations and turns

    def start(self, owner: str) -> str:
        """A new conversation's id."""
        conversation = Conversation(id=uuid.uuid4().hex, owner=owner)
        with writing(self._session, "The conversation was not begun") as session:
            session.add(conversation)
        return conversation.id

    def latest(self, owner: str) -> str | None:
        """The conversation that `owner` began last."""
        with self._session() as session:
            begun = select(Conversation.id).where(Conversation.owner == owner).order_by(Conversation.started.desc())
            return session.scalar(begun.limit(1))

    def check_owner(self, conversation: str, owner: str) -> None:
        """Raises NotFound also where the conversation is another's: ids are not to be probed."""
        with self._session() as session:
            found = session.get(Conversation, conversation)
        if found is None or found.owner != owner:
            raise NotFound("conversation", conversation[:40], [], "Start a new one.")

    def record(self, exchange: Exchange) -> int:
        """Write one turn → its id. Without a conversation it gets one of its own."""
        for _ in range(NUMBER_RACES):
            try:
                return self._record(exchange)
            except IntegrityError as error:
                # Another turn of this conversation took the number meanwhile: the next attempt takes the one after.
                fault = error
        raise JournalError(f"The turn could not be numbered: {fault.orig}.", "Wait for the reply before the next message.")

    def _record(self, exchange: Exchange) -> int:
        conversation = exchange.conversation or uuid.uuid4().hex
        taken = select(func.coalesce(func.max(TurnRecord.number), 0)).where(TurnRecord.conversation_id == conversation)
        with writing(self._session, "The turn was not recorded") as session:
            if not exchange.conversation:
                session.add(Conversation(id=conversation, owner=""))
                session.flush()
            row = TurnRecord(
                conversation_id=conversation,
                number=taken.scalar_subquery() + 1,
                question=storable(exchange.question),
                reply=exchange.reply,
                reasoning=exchange.reasoning,
                finish_reason=exchange.finish_reason,
                error=storable(exchange.error),
                agent_hash=exchange.agent_hash,
                base_hash=exchange.base_hash,
                mix=str(exchange.mix),
                adapters=[{"ref": a.ref, "hash": a.hash, "weight": w} for a, w in exchange.mix.parts],
                prompt=exchange.prompt,
                prompt_hash=exchange.prompt_hash,
                knowledge=exchange.knowledge,
                sampling=exchange.sampling,
                messages=[dataclasses.asdict(m) for m in exchange.messages],
                passages=[dataclasses.asdict(p) for p in exchange.passages],
                timings=exchange.timings,
                usage=dataclasses.asdict(exchange.usage),
            )
            session.add(row)
            session.flush()
            return row.id

    def turns(self, conversation: str, owner: str) -> list[TurnRecord]:
        """In order. Raises NotFound where the conversation is not the owner's."""
        self.check_owner(conversation, owner)
        with self._session() as session:
            rows = session.scalars(
                select(TurnRecord).where(TurnRecord.conversation_id == conversation).order_by(TurnRecord.number)
            )
            return list(rows)

    def turn(self, turn_id: int) -> TurnRecord:
        with self._session() as session:
            row = session.get(TurnRecord, turn_id)
        if row is None:
            raise NotFound("turn", str(turn_id), [])
        return row

    def questions(self, count: int) -> list[str]:
        """What customers asked lately, each text once, the latest first. Only what began a conversation: it can be asked
        again without what was said before."""
        asked = (
            select(TurnRecord.question, func.max(TurnRecord.id).label("last"))
            .join(Conversation, Conversation.id == TurnRecord.conversation_id)
            .where(TurnRecord.number == 1, TurnRecord.finish_reason != "error")
            .where(Conversation.owner != "", Conversation.owner.not_like("%:%"))
            .group_by(TurnRecord.question)
            .order_by(desc("last"))
        )
        with self._session() as session:
            return [row.question for row in session.execute(asked.limit(count))]

    def vote(self, left: int, right: int, choice: str, who: str) -> None:
        """A person's preference between two turns: left, right or tie."""
        if choice not in CHOICES:
            raise JournalError(f"{choice!r} is no vote.", f"One of {', '.join(CHOICES)}.")
        with writing(self._session, "The vote was not saved") as session:
            session.add(Vote(left_turn=left, right_turn=right, choice=choice, who=who))

    # labels

    def seed_labels(self, pins: Callable[[], Mapping[tuple[str, str], tuple[int, str]]]) -> None:
        """Put the labels that the content proposes, when the database has none yet: {(prompt, label): (version, hash)}. Of
        several processes that begin at once, one does."""
        with contextlib.suppress(IntegrityError), writing(self._session, "The first labels were not put") as session:
            if session.scalar(select(func.count()).select_from(Label)):
                return
            for (name, label), (version, pinned) in pins().items():
                put = {"name": name, "label": label, "version": version, "hash": pinned, "who": SEED}
                session.add_all([Label(**put), LabelMove(**put, why="", forced=False)])

    def resolve(self, name: str, label: str) -> tuple[int, str]:
        """Version and content hash that `name@label` points to."""
        with self._session() as session:
            row = session.get(Label, (name, label))
        if row is None:
            raise NotFound("label", f"{name}@{label}", [f"{name}@{other}" for other in self.labels(name)])
        return row.version, row.hash

    def labels(self, name: str) -> dict[str, int]:
        with self._session() as session:
            return {row.label: row.version for row in session.scalars(select(Label).where(Label.name == name))}

    def label_moves(self, name: str) -> list[LabelMove]:
        """How a prompt's labels came to where they are, the latest first."""
        with self._session() as session:
            moves = select(LabelMove).where(LabelMove.name == name).order_by(LabelMove.id.desc())
            return list(session.scalars(moves))

    def put_label(
        self,
        name: str,
        label: str,
        version: int,
        pinned: str,
        who: str,
        expected: int | None,
        why: str = "",
        forced: bool = False,
    ) -> None:
        """Move a label, or make it where `expected` is None, and keep who did it and why. Raises Conflict when it points
        elsewhere by now, JournalError where the database refuses; nothing has changed then."""
        values = {"version": version, "hash": pinned, "who": who, "at": now()}
        try:
            with writing(self._session, f"{name}@{label} was not moved") as session:
                if expected is None:
                    session.add(Label(name=name, label=label, **values))
                    moved = 1
                else:
                    here = (Label.name == name, Label.label == label, Label.version == expected)
                    moved = session.execute(update(Label).where(*here).values(values)).rowcount  # type: ignore[attr-defined]
                if moved:
                    move = LabelMove(name=name, label=label, previous=expected, why=why, forced=forced, **values)
                    session.add(move)
        except IntegrityError:
            moved = 0
        if not moved:
            known = self.labels(name).get(label)
            raise Conflict(f"{name}@{label} points at version {known}, not at {expected}.", "Look again, then move it.")
