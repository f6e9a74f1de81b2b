"""Opening the database: SQLite in the workspace or any SQLAlchemy URL, brought to this version's schema; and writing to it,
so that a disk that refuses is told in words.

A database made by a newer Switchboard is refused in words and left as it is.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from bot.errors import JournalError
from bot.files import alone

MIGRATIONS = Path(__file__).parent / "migrations"
_MIGRATING = 0x5357_4244
"""The lock's number among a PostgreSQL server's."""


def open_database(url: str) -> Engine:
    """A SQLAlchemy engine on an up-to-date schema. Raises JournalError when the database cannot be used."""
    try:
        if url.startswith("sqlite:///"):
            Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(url, pool_pre_ping=not url.startswith("sqlite"))
        if engine.dialect.name == "sqlite":
            event.listen(engine, "connect", _prepare_sqlite)
        _migrate(engine)
    # A driver that is not installed is an ImportError, a folder that cannot be made an OSError.
    except (SQLAlchemyError, ImportError, OSError) as error:
        raise JournalError(
            f"The database {_shown(url)} cannot be used: {_reason(error)}.", "Check the setting database."
        ) from None
    return engine


@contextlib.contextmanager
def writing(sessions: sessionmaker[Session], failed: str) -> Iterator[Session]:
    """A session whose changes are saved together when it ends. Raises JournalError, which begins with `failed` ("The vote
    was not saved"), where the database refuses; nothing has changed then. An IntegrityError passes: what it means, that
    somebody else was first, is the caller's to say."""
    try:
        with sessions.begin() as session:
            yield session
    except IntegrityError:
        raise
    except SQLAlchemyError as error:
        raise JournalError(f"{failed}: {_reason(error)}.", "Make room on the database's disk, then try again.") from None


def storable(text: str) -> str:
    """`text` without what no database takes, lone surrogates: a question refused for them is still recorded."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _reason(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error).splitlines()[0]


def _shown(url: str) -> str:
    """The URL without its password."""
    return re.sub(r"://([^:/@]*):[^@]*@", r"://\1:***@", url)


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=10000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def alembic_config(engine: Engine) -> Any:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["engine"] = engine
    return config


def _migrate(engine: Engine) -> None:
    from alembic import command
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    config = alembic_config(engine)
    scripts = ScriptDirectory.from_config(config)

    def revision() -> str | None:
        with engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()

    current = revision()
    known = {script.revision for script in scripts.walk_revisions()}
    if current is not None and current not in known:
        raise JournalError(
            f"The database has schema {current!r}, which a newer Switchboard made; this one knows up to "
            f"{scripts.get_current_head()!r}.",
            "Install the newer version, or point the setting database at another file.",
        )
    if current != scripts.get_current_head():
        with _one_at_a_time(engine):
            # Another process may have done it while this one waited.
            if revision() != scripts.get_current_head():
                command.upgrade(config, "head")


@contextlib.contextmanager
def _one_at_a_time(engine: Engine) -> Iterator[None]:
    """Of all processes that find an old schema, or none, one makes the new one."""
    if engine.dialect.name == "sqlite":
        with alone(Path(engine.url.database or "").parent):
            yield
    elif engine.dialect.name == "postgresql":
        with engine.connect() as connection:
            # Let go of with the connection.
            connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _MIGRATING})
            yield
    else:
        yield
