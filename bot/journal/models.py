"""The tables. A change here goes with a migration in `migrations/`; a test compares the two."""

from __future__ import annotations

import datetime
import uuid
from typing import Any, ClassVar

from sqlalchemy import JSON, DateTime, ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


class Base(DeclarativeBase):
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        dict[str, Any]: JSON,
        list[Any]: JSON,
        datetime.datetime: DateTime(timezone=True),
    }


class Conversation(Base):
    """`owner` is who may read it: a user's id, or a hash of a browser's random token until people sign in. Staff's own
    conversations name their place before it, like console:…; a program's and a trial's have no owner."""

    __tablename__ = "conversations"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    owner: Mapped[str] = mapped_column(String(64), index=True)
    started: Mapped[datetime.datetime] = mapped_column(default=now)


class TurnRecord(Base):
    """One exchange, stamped with everything that made it."""

    __tablename__ = "turns"
    __table_args__ = (UniqueConstraint("conversation_id", "number"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    conversation_id: Mapped[str] = mapped_column(ForeignKey("conversations.id"))
    number: Mapped[int]
    at: Mapped[datetime.datetime] = mapped_column(default=now)
    question: Mapped[str] = mapped_column(Text)
    reply: Mapped[str] = mapped_column(Text)
    reasoning: Mapped[str] = mapped_column(Text, default="")
    """What the model wrote for itself; customers and later turns never get it."""
    finish_reason: Mapped[str] = mapped_column(String(16))
    error: Mapped[str] = mapped_column(Text, default="")
    agent_hash: Mapped[str] = mapped_column(String(64), index=True)
    base_hash: Mapped[str] = mapped_column(String(64))
    mix: Mapped[str] = mapped_column(Text)
    adapters: Mapped[list[Any]]
    prompt: Mapped[str] = mapped_column(String(160))
    prompt_hash: Mapped[str] = mapped_column(String(64))
    knowledge: Mapped[str] = mapped_column(String(160))
    sampling: Mapped[dict[str, Any]]
    messages: Mapped[list[Any]]
    passages: Mapped[list[Any]]
    timings: Mapped[dict[str, Any]]
    usage: Mapped[dict[str, Any]]

    @property
    def heard(self) -> bool:
        """Whether a model hears of it later: it has a reply, also a stopped one."""
        return self.finish_reason != "error" and bool(self.reply.strip())


class Vote(Base):
    """Which of two turns a person preferred, on the same question, passages and seed."""

    __tablename__ = "votes"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime.datetime] = mapped_column(default=now)
    left_turn: Mapped[int] = mapped_column(ForeignKey("turns.id"))
    right_turn: Mapped[int] = mapped_column(ForeignKey("turns.id"))
    choice: Mapped[str] = mapped_column(String(8))
    who: Mapped[str] = mapped_column(String(64))


class FeedbackRecord(Base):
    """A customer's thumb on a turn, `up` or `down`, and what a lead made of one that points down. `reason` is one of those
    that the page offers, `comment` the customer's own words."""

    __tablename__ = "feedback"

    turn_id: Mapped[int] = mapped_column(ForeignKey("turns.id"), primary_key=True)
    at: Mapped[datetime.datetime] = mapped_column(default=now)
    thumb: Mapped[str] = mapped_column(String(4))
    reason: Mapped[str] = mapped_column(Text, default="")
    comment: Mapped[str] = mapped_column(Text, default="")
    state: Mapped[str] = mapped_column(String(16), default="open", index=True)
    """`open`, `done` or `dismissed`."""
    handled_by: Mapped[str] = mapped_column(String(64), default="")
    handled_at: Mapped[datetime.datetime | None] = mapped_column(default=None)
    became: Mapped[str] = mapped_column(Text, default="")


class Label(Base):
    """Where a label points now. `name` is the prompt's."""

    __tablename__ = "labels"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    label: Mapped[str] = mapped_column(String(64), primary_key=True)
    version: Mapped[int]
    hash: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime.datetime] = mapped_column(default=now)
    who: Mapped[str] = mapped_column(String(64))


class User(Base):
    """Who may sign in. `id` is drawn at random and owns conversations: who takes a removed user's name is another.
    `password` is an Argon2 hash with its salt and cost."""

    __tablename__ = "users"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    id: Mapped[str] = mapped_column(String(32), unique=True, index=True, default=lambda: uuid.uuid4().hex)
    role: Mapped[str] = mapped_column(String(16))
    password: Mapped[str] = mapped_column(String(256))
    at: Mapped[datetime.datetime] = mapped_column(default=now)


class Token(Base):
    """What a user shows in place of the password: a session's cookie (`expires` is set) or an API key (it is not). Only the
    hash is kept: it was drawn at random, so nothing slower is needed."""

    __tablename__ = "tokens"

    hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    user: Mapped[str] = mapped_column(ForeignKey("users.name", ondelete="CASCADE"), index=True)
    at: Mapped[datetime.datetime] = mapped_column(default=now)
    expires: Mapped[datetime.datetime | None] = mapped_column(default=None)


class LabelMove(Base):
    """Every time a label was put: to what, from what (`previous` is None where it was new), by whom, why, and whether
    against cases that fail."""

    __tablename__ = "label_moves"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64), index=True)
    label: Mapped[str] = mapped_column(String(64))
    version: Mapped[int]
    previous: Mapped[int | None]
    hash: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime.datetime] = mapped_column(default=now)
    who: Mapped[str] = mapped_column(String(64))
    why: Mapped[str] = mapped_column(Text)
    forced: Mapped[bool]
