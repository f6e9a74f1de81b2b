"""Who may sign in, by password, session cookie or API key. Passwords are kept as Argon2 hashes, the rest as SHA-256: what
the database holds opens nothing.

Methods are synchronous and short but for those that hash a password (some 50 ms); callers on an event loop use
`asyncio.to_thread`. Knows nothing of requests.
"""

from __future__ import annotations

import datetime
import secrets
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from bot.errors import Conflict, InvalidMessage, NotFound
from bot.journal.database import writing
from bot.journal.models import Token, User, now
from bot.refs import check_name
from bot.types import ROLES, PersonRole, content_hash

if TYPE_CHECKING:
    from argon2 import PasswordHasher

SESSION = datetime.timedelta(days=7)
KEY_PREFIX = "sb-"
SHORTEST, LONGEST = 10, 1000
"""Characters of a password."""


@dataclass(frozen=True, slots=True)
class Account:
    """`id` owns the user's conversations. It is drawn anew for each user, whatever the name."""

    id: str
    name: str
    role: PersonRole
    since: datetime.datetime
    keys: int = 0
    """API keys in use."""


class People:
    """The users of one database."""

    def __init__(self, session: sessionmaker[Session]) -> None:
        self._session = session

    def add(self, name: str, role: str, password: str) -> None:
        """Raises Conflict where the name is taken, InvalidMessage for a role or a password that will not do."""
        self.check_new(name, role)
        hashed = self._hasher.hash(_good(name, password))
        try:
            with writing(self._session, f"The user {name!r} was not added") as session:
                session.add(User(name=name, role=role, password=hashed))
        except IntegrityError:
            raise _taken(name) from None

    def check_new(self, name: str, role: str) -> None:
        """What `add` refuses before it looks at a password, so that none is asked for in vain."""
        check_name("user", name)
        if role not in ROLES:
            raise InvalidMessage(f"{role!r} is no role.", f"One of {', '.join(ROLES)}.")
        with self._session() as session:
            if session.get(User, name):
                raise _taken(name)

    def all(self) -> list[Account]:
        """By name."""
        keys = select(Token.user, func.count().label("held")).where(Token.expires.is_(None)).group_by(Token.user).subquery()
        found = select(User, func.coalesce(keys.c.held, 0)).outerjoin(keys, keys.c.user == User.name).order_by(User.name)
        with self._session() as session:
            return [Account(user.id, user.name, user.role, user.at, count) for user, count in session.execute(found)]

    def any(self) -> bool:
        with self._session() as session:
            return session.scalar(select(User.name).limit(1)) is not None

    def remove(self, name: str) -> None:
        """The user, sessions and keys; conversations stay. Raises NotFound."""
        with writing(self._session, f"The user {name!r} was not removed") as session:
            self._known(session, name)
            session.execute(delete(Token).where(Token.user == name))
            session.execute(delete(User).where(User.name == name))

    def set_password(self, name: str, password: str) -> None:
        """Ends all sessions of that user; API keys, which programs hold, go on. Raises NotFound, InvalidMessage."""
        hashed = self._hasher.hash(_good(name, password))
        with writing(self._session, "The password was not changed") as session:
            self._known(session, name).password = hashed
            session.execute(delete(Token).where(Token.user == name, Token.expires.is_not(None)))

    def sign_in(self, name: str, password: str) -> str | None:
        """A new session's token, or None where name or password is wrong; both take alike long."""
        from argon2.exceptions import InvalidHashError, VerificationError

        with self._session() as session:
            user = session.get(User, name)
        try:
            self._hasher.verify(user.password if user else self._nobody, password[:LONGEST])
        except (VerificationError, InvalidHashError):
            return None
        if user is None:
            return None
        token = secrets.token_urlsafe(24)
        with writing(self._session, "The session was not begun") as session:
            session.execute(delete(Token).where(Token.expires < now()))
            session.add(Token(hash=_hash(token), user=name, expires=now() + SESSION))
        return token

    def sign_out(self, token: str) -> None:
        with writing(self._session, "The session was not ended") as session:
            session.execute(delete(Token).where(Token.hash == _hash(token), Token.expires.is_not(None)))

    def new_key(self, name: str) -> str:
        """An API key, told this once. Raises NotFound."""
        key = KEY_PREFIX + secrets.token_urlsafe(32)
        with writing(self._session, "The key was not made") as session:
            self._known(session, name)
            session.add(Token(hash=_hash(key), user=name))
        return key

    def end_keys(self, name: str) -> int:
        """How many there were. Raises NotFound."""
        with writing(self._session, "The keys were not ended") as session:
            self._known(session, name)
            ended = session.execute(delete(Token).where(Token.user == name, Token.expires.is_(None)))
            return int(ended.rowcount)  # type: ignore[attr-defined]

    def keys(self, name: str) -> int:
        """How many are in use. Raises NotFound."""
        with self._session() as session:
            self._known(session, name)
            held = select(func.count()).select_from(Token).where(Token.user == name, Token.expires.is_(None))
            return session.scalar(held) or 0

    def by_session(self, token: str) -> Account | None:
        """Whose session that is; None where it is nobody's or is over."""
        return self._by(token, Token.expires > now())

    def by_key(self, key: str) -> Account | None:
        return self._by(key, Token.expires.is_(None))

    def _by(self, token: str, condition: object) -> Account | None:
        found = select(User).join(Token, Token.user == User.name).where(Token.hash == _hash(token), condition)  # type: ignore[arg-type]
        with self._session() as session:
            user = session.scalar(found)
        return Account(user.id, user.name, user.role, user.at) if user else None  # type: ignore[arg-type]

    def _known(self, session: Session, name: str) -> User:
        user = session.get(User, name)
        if user is None:
            raise NotFound("user", name, session.scalars(select(User.name)))
        return user

    @cached_property
    def _hasher(self) -> PasswordHasher:
        from argon2 import PasswordHasher

        return PasswordHasher()

    @cached_property
    def _nobody(self) -> str:
        """What a password is compared with where there is no such user: the time it takes tells no names."""
        return self._hasher.hash(secrets.token_urlsafe(24))


def _hash(token: str) -> str:
    return content_hash("token", token)


def _taken(name: str) -> Conflict:
    return Conflict(f"There is a user {name!r} already.", "Take another name, or remove that one first.")


def _good(name: str, password: str) -> str:
    if not SHORTEST <= len(password) <= LONGEST:
        raise InvalidMessage(
            f"The password has {len(password):,} characters; it takes {SHORTEST} to {LONGEST:,}.",
            "Four words make a good one.",
        )
    if name.lower() in password.lower():
        raise InvalidMessage("The password holds the user's name.", "Four other words make a good one.")
    return password
