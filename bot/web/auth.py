"""Who is asking, and may they? One decision for the API's routes and the pages' handlers.

On loopback the desk is open: whoever reaches it is an engineer, told apart only by a random cookie so that
conversations stay with the browser that began them. Any other address is refused until there are users.
"""

from __future__ import annotations

import ipaddress
import re
import secrets
from dataclasses import dataclass
from typing import Any, Literal

from bot.errors import Forbidden, SettingsError
from bot.types import content_hash

PersonRole = Literal["customer", "operator", "lead", "engineer"]
RANKS: tuple[PersonRole, ...] = ("customer", "operator", "lead", "engineer")
COOKIE = "switchboard"
_TOKEN = re.compile(r"[A-Za-z0-9_-]{22,64}")


@dataclass(frozen=True, slots=True)
class Person:
    """`id` owns conversations; it is a hash, so that the database does not hold what a browser shows. A role includes
    all that stand before it in RANKS."""

    id: str
    role: PersonRole


def new_token() -> str:
    return secrets.token_urlsafe(24)


def check_address(host: str) -> None:
    """Raises SettingsError for an address that others can reach."""
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise SettingsError(
            f"Serving on {host} needs users, and there are none: anybody on the network could read every conversation.",
            "Serve on 127.0.0.1, behind a proxy that signs people in.",
        )


def person_of(request: Any) -> Person:
    """The person behind a Starlette or Gradio request."""
    token = request.cookies.get(COOKIE, "") if request is not None else ""
    return Person(content_hash(token)[:32] if _TOKEN.fullmatch(token) else "", "engineer")


def require(request: Any, role: PersonRole) -> Person:
    """The person, or Forbidden where the role does not include `role`. Every handler calls this itself."""
    person = person_of(request)
    if RANKS.index(person.role) < RANKS.index(role):
        raise Forbidden(f"This takes the role {role}; yours is {person.role}.", "Ask an engineer for it.")
    return person
