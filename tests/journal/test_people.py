"""Who may sign in: what is kept of a password, and what opens the door after it."""

from __future__ import annotations

import datetime
import io
import runpy
import sqlite3
from pathlib import Path
from types import SimpleNamespace

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from typer.testing import CliRunner

from bot.errors import BotError, Conflict, InvalidMessage, NotFound
from bot.journal import people as module
from bot.journal.journal import Journal
from bot.journal.people import People
from bot.refs import BadName
from bot.types import ROLES
from bot.users import users_app

PASSWORD = "four plain words here"


@pytest.fixture
def people(tmp_path: Path) -> People:
    return Journal(f"sqlite:///{tmp_path / 'test.db'}").people


def test_a_password_opens_and_nothing_else_does(people: People) -> None:
    people.add("mika", "lead", PASSWORD)
    assert people.sign_in("mika", PASSWORD + "!") is None
    assert people.sign_in("nobody", PASSWORD) is None
    token = people.sign_in("mika", PASSWORD)
    assert token
    account = people.by_session(token)
    assert account
    assert (account.name, account.role) == ("mika", "lead")
    assert people.by_key(token) is None
    assert people.by_session("mika") is None


def test_the_database_holds_neither_password_nor_token_nor_key(people: People, tmp_path: Path) -> None:
    people.add("mika", "lead", PASSWORD)
    secrets = [PASSWORD, people.sign_in("mika", PASSWORD) or "?", people.new_key("mika")]
    with sqlite3.connect(tmp_path / "test.db") as database:
        held = "\n".join(database.iterdump())
    assert "argon2id" in held
    assert not [secret for secret in secrets if secret in held]


def test_sessions_end(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    people.add("mika", "lead", PASSWORD)
    first, second = people.sign_in("mika", PASSWORD), people.sign_in("mika", PASSWORD)
    assert first
    assert second
    people.sign_out(first)
    assert people.by_session(first) is None
    assert people.by_session(second)
    later = module.now() + module.SESSION + datetime.timedelta(seconds=1)
    monkeypatch.setattr(module, "now", lambda: later)
    assert people.by_session(second) is None


def test_a_new_password_ends_sessions_and_keeps_keys(people: People) -> None:
    people.add("mika", "operator", PASSWORD)
    token, key = people.sign_in("mika", PASSWORD), people.new_key("mika")
    assert token
    people.set_password("mika", "other plain words here")
    assert people.by_session(token) is None
    assert people.by_key(key)
    assert people.sign_in("mika", PASSWORD) is None
    assert people.sign_in("mika", "other plain words here")


def test_keys_end_when_that_is_asked_for(people: People) -> None:
    for name in ("mika", "kim"):
        people.add(name, "operator", PASSWORD)
    token, keys, other = people.sign_in("mika", PASSWORD), [people.new_key("mika") for _ in range(2)], people.new_key("kim")
    assert token
    assert (people.keys("mika"), people.end_keys("mika"), people.keys("mika"), people.end_keys("mika")) == (2, 2, 0, 0)
    assert [people.by_key(key) for key in keys] == [None, None]
    assert people.by_session(token)
    assert people.by_key(other)


def test_removal_takes_everything_at_once(people: People) -> None:
    people.add("mika", "operator", PASSWORD)
    token, key = people.sign_in("mika", PASSWORD), people.new_key("mika")
    assert token
    assert [(a.name, a.role, a.keys) for a in people.all()] == [("mika", "operator", 1)]
    people.remove("mika")
    assert not people.any()
    assert people.by_session(token) is None
    assert people.by_key(key) is None
    people.add("mika", "customer", PASSWORD)
    assert people.by_key(key) is None


def test_who_takes_a_removed_users_name_is_another(people: People) -> None:
    ids = set()
    for name in ("mika", "mika", "kim"):
        people.add(name, "customer", PASSWORD)
        account = people.by_session(people.sign_in(name, PASSWORD) or "")
        assert account
        assert (account, account.id) == (people.by_key(people.new_key(name)), people.all()[0].id)
        ids.add(account.id)
        people.remove(name)
    assert len(ids) == 3
    assert all(len(id) == 32 for id in ids)


@pytest.mark.parametrize(
    ("name", "role", "password", "says"),
    [
        ("Mika!", "lead", PASSWORD, "not valid"),
        ("mika", "boss", PASSWORD, "customer, operator"),
        ("mika", "lead", "short", "5 characters"),
        ("mika", "lead", "x" * 1001, "1,001 characters"),
        ("mika", "lead", "MIKA-is-my-name", "user's name"),
    ],
)
def test_what_will_not_do_is_told(people: People, name: str, role: str, password: str, says: str) -> None:
    with pytest.raises(BotError, match=says):
        people.add(name, role, password)
    assert not people.any()


def test_names_are_taken_once_and_must_be_known(people: People) -> None:
    people.add("mika", "lead", PASSWORD)
    with pytest.raises(Conflict, match="already"):
        people.add("mika", ROLES[0], PASSWORD)
    for act in (people.remove, people.new_key, people.end_keys, people.keys):
        with pytest.raises(NotFound, match="mika"):
            act("mikka")
    with pytest.raises(InvalidMessage):
        people.set_password("mika", "")


def test_no_password_is_asked_for_in_vain(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("bot.users._password", lambda: asked.append("once") or PASSWORD)

    def add(name: str, role: str) -> BaseException | None:
        return CliRunner().invoke(users_app, ["add", name, "--role", role, "--workspace", str(workspace)]).exception

    assert add("mika", "lead") is None
    assert [type(add(*wish)) for wish in (("mika", "lead"), ("Mika", "lead"), ("ben", "boss"))] == [
        Conflict,
        BadName,
        InvalidMessage,
    ]
    assert asked == ["once"]


@pytest.mark.parametrize(("dialect", "dropped"), [("postgresql", True), ("sqlite", False)])
def test_users_ids_have_no_default_where_the_database_can_take_it_off(
    monkeypatch: pytest.MonkeyPatch, dialect: str, dropped: bool
) -> None:
    path = Path(module.__file__).with_name("migrations") / "versions" / "0006_user_ids.py"
    migration = runpy.run_path(str(path))
    written = io.StringIO()
    context = MigrationContext.configure(dialect_name=dialect, opts={"as_sql": True, "output_buffer": written})
    connection = SimpleNamespace(dialect=context.dialect, scalars=lambda query: SimpleNamespace(all=list))
    monkeypatch.setattr(migration["op"], "get_bind", lambda: connection)
    with Operations.context(context):
        migration["upgrade"]()
    assert "ADD COLUMN id VARCHAR(32) DEFAULT '' NOT NULL" in written.getvalue()
    assert ("ALTER TABLE users ALTER COLUMN id DROP DEFAULT" in written.getvalue()) is dropped
