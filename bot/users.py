"""The command `bot users`: who may sign in, and with which role. Part of `cli.py`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from bot.commands import AsJson, Workspace, open_desk, put, say, table

users_app = typer.Typer(no_args_is_help=True, help="Who may sign in: customers, operators, leads, engineers.")


@users_app.command("list")
def users_list(workspace: Workspace = None, as_json: AsJson = False) -> None:
    """Every user with role and number of API keys."""
    accounts = open_desk(workspace).people.all()
    table([{"user": a.name, "role": a.role, "since": f"{a.since:%Y-%m-%d}", "api keys": a.keys} for a in accounts], as_json)


@users_app.command("add")
def users_add(
    name: str,
    role: Annotated[str, typer.Option(help="customer, operator, lead or engineer; each may do what those before it may.")],
    workspace: Workspace = None,
) -> None:
    """Add a user. The password is asked for, or read from a pipe."""
    people = open_desk(workspace).people
    people.check_new(name, role)
    first = not people.any()
    people.add(name, role, _password())
    put(f"{name}  {role}")
    if first:
        say("From now on everybody signs in. A desk that is being served asks for it at once.")


@users_app.command("password")
def users_password(name: str, workspace: Workspace = None) -> None:
    """Set a new password; the user is signed out everywhere. API keys go on working."""
    people = open_desk(workspace).people
    people.set_password(name, _password())
    put(f"{name}  has a new password")
    if keys := people.keys(name):
        count = "1 API key goes" if keys == 1 else f"{keys} API keys go"
        say(f"Sessions are over, but {count} on working. To end that too: bot users key {name} --end.")


@users_app.command("key")
def users_key(
    name: str,
    end: Annotated[bool, typer.Option("--end", help="End all API keys of that user instead.")] = False,
    workspace: Workspace = None,
) -> None:
    """Make an API key with that user's role. It is printed this once."""
    people = open_desk(workspace).people
    if end:
        put(f"{name}  API keys ended: {people.end_keys(name)}")
        return
    put(people.new_key(name))
    say(f"Send it as: Authorization: Bearer …. It is kept as a hash, so note it now; bot users key {name} --end ends it.")


@users_app.command("remove")
def users_remove(name: str, workspace: Workspace = None) -> None:
    """Remove a user with sessions and API keys. Conversations stay."""
    people = open_desk(workspace).people
    people.remove(name)
    put(f"{name}  removed")
    if not people.any():
        say("No users are left: on this machine the desk is open to everybody again, elsewhere to nobody.")


def _password() -> str:
    if not sys.stdin.isatty():
        from bot.terminal import piped

        return piped()
    return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
