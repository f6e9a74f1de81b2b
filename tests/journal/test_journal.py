"""What was said stays said: order, owners, labels, and schemas of other versions."""

from __future__ import annotations

import multiprocessing
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import create_engine, inspect

from bot.errors import Conflict, JournalError, NotFound
from bot.journal.database import alembic_config, open_database
from bot.journal.journal import Exchange, Journal
from bot.journal.models import Base
from bot.types import content_hash


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'var' / 'test.db'}"


@pytest.fixture
def journal(url: str) -> Journal:
    return Journal(url)


def opened(url: str, together: Barrier) -> None:
    together.wait(60)
    Journal(url).close()


def test_of_processes_that_find_no_database_one_makes_it(url: str) -> None:
    context = multiprocessing.get_context("forkserver")
    together = context.Barrier(4)
    processes = [context.Process(target=opened, args=(url, together)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 4


def test_turns_keep_their_order_when_many_are_written_at_once(journal: Journal) -> None:
    conversation = journal.start("someone")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: journal.record(Exchange(conversation, f"q{n}")), range(40)))
    turns = journal.turns(conversation, "someone")
    assert [t.number for t in turns] == list(range(1, 41))
    assert {t.question for t in turns} == {f"q{n}" for n in range(40)}


def test_conversations_survive_a_restart(journal: Journal, url: str) -> None:
    conversation = journal.start("someone")
    journal.record(Exchange(conversation, "hello", reply="hi", finish_reason="stop"))
    journal.close()
    again = Journal(url)
    assert again.latest("someone") == conversation
    assert [t.reply for t in again.turns(conversation, "someone")] == ["hi"]


def test_another_owners_conversation_is_not_found(journal: Journal) -> None:
    conversation = journal.start("someone")
    assert journal.turns(conversation, "someone") == []
    for owner in ("someone else", ""):
        with pytest.raises(NotFound):
            journal.turns(conversation, owner)
    assert journal.latest("someone else") is None


def test_labels_move_only_from_where_they_were_seen(journal: Journal) -> None:
    journal.put_label("support", "production", 1, "h1", "lead", expected=None)
    journal.put_label("support", "production", 2, "h2", "lead", expected=1)
    assert journal.resolve("support", "production") == (2, "h2")
    for stale in (None, 1):
        with pytest.raises(Conflict, match="version 2"):
            journal.put_label("support", "production", 3, "h3", "lead", expected=stale)
    with pytest.raises(NotFound, match="production"):
        journal.resolve("support", "staging")


def test_of_many_movers_exactly_one_wins(journal: Journal) -> None:
    journal.put_label("support", "production", 1, "h", "lead", expected=None)

    def move(version: int) -> bool:
        try:
            journal.put_label("support", "production", version, "h", "lead", expected=1)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(move, range(2, 22))) == 1


def test_seeding_happens_once(journal: Journal) -> None:
    journal.seed_labels(lambda: {("support", "production"): (1, "h")})
    journal.put_label("support", "production", 2, "h2", "lead", expected=1)
    journal.seed_labels(lambda: {("support", "production"): (1, "h")})
    assert journal.resolve("support", "production") == (2, "h2")


def test_of_several_that_seed_at_once_one_does_and_none_fails(url: str) -> None:
    journals = [Journal(url) for _ in range(4)]
    together = threading.Barrier(4)

    def pins() -> dict[tuple[str, str], tuple[int, str]]:
        # All have found the database empty by now.
        together.wait(20)
        return {("support", "production"): (1, "h")}

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda journal: journal.seed_labels(pins), journals))
    assert journals[0].resolve("support", "production") == (1, "h")
    assert len(journals[0].label_moves("support")) == 1


def test_a_database_that_cannot_be_written_is_told_in_words(journal: Journal, url: str) -> None:
    conversation = journal.start("someone")
    turn = journal.record(Exchange(conversation, "q"))
    journal.feedback.give(turn, "someone", "down")
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        for table in ("conversations", "turns", "votes", "feedback", "labels", "label_moves"):
            for verb in ("INSERT", "UPDATE"):
                # What SQLite says of a full disk, without one.
                connection.execute(
                    f"CREATE TRIGGER {table}_{verb} BEFORE {verb} ON {table} "
                    "BEGIN SELECT load_extension('database or disk is full'); END"
                )
    connection.close()
    attempts: list[tuple[str, Callable[[], object]]] = [
        ("conversation was not begun", lambda: journal.start("someone")),
        ("turn was not recorded", lambda: journal.record(Exchange(conversation, "q"))),
        ("vote was not saved", lambda: journal.vote(turn, turn, "tie", "lead")),
        ("first labels were not put", lambda: journal.seed_labels(lambda: {("support", "production"): (1, "h")})),
        ("support@production was not moved", lambda: journal.put_label("support", "production", 1, "h", "lead", None)),
        ("thumb was not kept", lambda: journal.feedback.give(turn, "someone", "up")),
        ("entry was not moved", lambda: journal.feedback.move(turn, "open", "done", "lead")),
    ]
    for failed, attempt in attempts:
        with pytest.raises(JournalError, match=failed):
            attempt()
    assert journal.feedback.thumbs([turn]) == {turn: "down"}


def test_votes_are_one_of_three(journal: Journal) -> None:
    left, right = (journal.record(Exchange("", "q")) for _ in range(2))
    journal.vote(left, right, "tie", "lead")
    with pytest.raises(JournalError, match="left, right, tie"):
        journal.vote(left, right, "both", "lead")


def test_a_newer_schema_is_refused_in_words_and_left_alone(journal: Journal, url: str) -> None:
    journal.close()
    path = url.removeprefix("sqlite:///")
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(JournalError, match=r"9999.*newer Switchboard"):
        Journal(url)


def test_a_file_that_is_no_database_is_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    path.write_bytes(b"this is no database, " * 100)
    with pytest.raises(JournalError, match="cannot be used"):
        Journal(f"sqlite:///{path}")


def test_migrations_make_exactly_the_models(url: str) -> None:
    engine = open_database(url)
    found = inspect(engine)
    assert set(found.get_table_names()) == {*Base.metadata.tables, "alembic_version"}
    for table in Base.metadata.sorted_tables:
        columns = {column["name"]: column["nullable"] for column in found.get_columns(table.name)}
        assert columns == {column.name: column.nullable for column in table.columns}
        indexes = {(index["name"], bool(index["unique"])) for index in found.get_indexes(table.name)}
        assert indexes == {(index.name, index.unique) for index in table.indexes}
    engine.dispose()


def made_by_an_older_one(url: str, revision: str) -> str:
    """An empty database of that schema → its path."""
    path = url.removeprefix("sqlite:///")
    Path(path).parent.mkdir()
    old = create_engine(url)
    command.upgrade(alembic_config(old), revision)
    old.dispose()
    return path


def test_turns_of_an_older_schema_are_kept(url: str) -> None:
    path = made_by_an_older_one(url, "0001")
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO conversations VALUES ('c', 'someone', '2026-11-20')")
        names = [row[1] for row in connection.execute("PRAGMA table_info(turns)")]
        known = {"conversation_id": "c", "number": 1, "at": "2026-11-20 00:00:00", "question": "hello", "reply": "hi"}
        values = [known.get(name, "[]" if name != "id" else 1) for name in names]
        connection.execute(f"INSERT INTO turns VALUES ({', '.join('?' * len(names))})", values)
    connection.close()
    journal = Journal(url)
    assert [(t.reply, t.reasoning) for t in journal.turns("c", "someone")] == [("hi", "")]
    journal.close()


def test_users_of_an_older_schema_keep_their_conversations_sessions_and_keys(url: str) -> None:
    path = made_by_an_older_one(url, "0005")
    # As it was made then: by the user's name.
    owners = {name: content_hash("user", name)[:32] for name in ("mika", "kim")}
    with sqlite3.connect(path) as connection:
        for name, owner in owners.items():
            connection.execute("INSERT INTO users VALUES (?, 'lead', 'hash', '2026-11-20')", [name])
            connection.execute("INSERT INTO tokens VALUES (?, ?, '2026-11-20', NULL)", [content_hash("token", name), name])
            connection.execute("INSERT INTO conversations VALUES (?, ?, '2026-11-20')", [f"of {name}", owner])
            connection.execute("INSERT INTO conversations VALUES (?, ?, '2026-11-20')", [f"at {name}", f"console:{owner}"])
    connection.close()
    journal = Journal(url)
    for name in owners:
        account = journal.people.by_key(name)
        assert account
        assert account.name == name
        assert journal.latest(account.id) == f"of {name}"
        assert journal.latest(f"console:{account.id}") == f"at {name}"
    journal.people.remove("mika")
    journal.people.add("mika", "lead", "four plain words here")
    assert journal.latest({account.name: account for account in journal.people.all()}["mika"].id) is None
    journal.close()
    again = create_engine(url)
    command.downgrade(alembic_config(again), "0005")
    again.dispose()
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT name FROM users ORDER BY name").fetchall() == [("kim",), ("mika",)]
        assert connection.execute("SELECT user FROM tokens").fetchall() == [("kim",)]
    connection.close()


def test_sqlite_is_in_wal_mode(journal: Journal, url: str) -> None:
    connection = sqlite3.connect(url.removeprefix("sqlite:///"))
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()
