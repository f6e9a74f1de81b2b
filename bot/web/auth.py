"""Who is asking, and may they? One decision for the API's routes and the pages' handlers.

Once there are users, a person is who signed in (cookie) or whose API key a program shows; everybody else is anonymous,
and may chat on the customers' page only where the setting `visitors` says so. Without users the desk is open on loopback:
whoever reaches it is an engineer, told apart by a random cookie so that conversations stay with the browser that began them;
any other address is refused, and so is what a proxy on this machine passes on.
"""

from __future__ import annotations

import ipaddress
import re
import secrets
from dataclasses import dataclass
from typing import Any, Literal

from starlette.requests import Request

from bot.errors import Forbidden, SettingsError, Unauthorized
from bot.journal.people import People
from bot.settings import Settings
from bot.types import ROLES, PersonRole, content_hash

Rank = PersonRole | Literal["anonymous"]
RANKS: tuple[Rank, ...] = ("anonymous", *ROLES)
COOKIE = "switchboard"
OPEN = frozenset({("GET", "/health"), ("GET", "/login"), ("POST", "/login"), ("POST", "/logout")})
"""What anybody may ask, exactly so: the pages' library has routes of its own beside and below these."""
API = "/v1"
PATHS: dict[str, Rank] = {
    API: "customer",
    "/metrics": "operator",
    "/desk": "operator",
    "/evaluations": "operator",
    "/": "customer",
}
"""Who may open what lies at and below a path; the longest one that fits counts. What happens there may take more."""
_PASSED_ON = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip")
"""Headers that a proxy adds."""
_TOKEN = re.compile(r"[A-Za-z0-9_-]{22,64}")
_BEARER = re.compile(r"Bearer\s+(\S+)", re.I)


@dataclass(frozen=True, slots=True)
class Person:
    """`id` owns conversations: a user's own, or a hash of what a browser shows, which the database does not hold. `name` is
    a user's.
    A role includes all that stand before it in RANKS."""

    id: str
    role: Rank
    name: str = ""

    @property
    def who(self) -> str:
        """As records name them."""
        return self.name or self.id

    def may(self, role: Rank) -> bool:
        return RANKS.index(self.role) >= RANKS.index(role)


NOBODY = Person("", "anonymous")


class Doorkeeper:
    """Tells persons apart by the users of one desk."""

    def __init__(self, people: People, settings: Settings) -> None:
        self._people, self._visitors = people, settings.visitors
        self._loopback = is_loopback(settings.host)

    def person(self, request: Request) -> Person:
        """Asks the database: not for the event loop. Raises Forbidden where the desk is open and a proxy passed this on."""
        if bearer := _BEARER.fullmatch(request.headers.get("authorization", "")):
            account = self._people.by_key(bearer[1])
            # A program on this machine may show any key while nobody has one: OpenAI's clients insist on sending some.
            if account or not self._open():
                return Person(account.id, account.role, account.name) if account else NOBODY
        token = token_of(request)
        if token and (account := self._people.by_session(token)):
            return Person(account.id, account.role, account.name)
        browser = content_hash(token)[:32] if token else ""
        if self._open():
            # Loopback is where the proxy sits then, not the person.
            if any(header in request.headers for header in _PASSED_ON):
                raise Forbidden(
                    "A proxy passed this request on, and the desk has no users: it is open to this machine alone.",
                    "Add one with: bot users add NAME --role engineer.",
                )
            return Person(browser, "engineer")
        on_page = _place(request.scope["path"]) != API
        return Person(browser, "customer" if self._visitors and on_page else "anonymous")

    def _open(self) -> bool:
        return self._loopback and not self._people.any()


def is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_address(host: str, people: People) -> None:
    """Raises SettingsError for an address that others can reach while there are no users."""
    if not is_loopback(host) and not people.any():
        raise SettingsError(
            f"Serving on {host} needs users, and there are none: anybody on the network could read every conversation.",
            "Add one with: bot users add NAME --role engineer. Or serve on 127.0.0.1.",
        )


def new_token() -> str:
    """What tells a browser that has not signed in from others."""
    return secrets.token_urlsafe(24)


def role_of(method: str, path: str) -> Rank:
    """The least role that may ask for that."""
    return "anonymous" if (method, path) in OPEN else PATHS[_place(path)]


def person_of(request: Any) -> Person:
    """The person behind a Starlette or Gradio request, as the guard at the server's door found; nobody where there is no
    request."""
    # Gradio wraps the request it got.
    inner = getattr(request, "request", request)
    found = getattr(getattr(inner, "state", None), "person", None)
    return found if isinstance(found, Person) else NOBODY


def require(request: Any, role: Rank) -> Person:
    """The person, or an error where the role does not include `role`: Unauthorized for who is not signed in, else
    Forbidden. Every handler calls this itself."""
    return check_role(person_of(request), role)


def check_role(person: Person, role: Rank) -> Person:
    if person.may(role):
        return person
    if person.role == "anonymous":
        raise Unauthorized(
            f"This takes the role {role}, and nobody is signed in.", "Sign in at /login; a program shows an API key."
        )
    raise Forbidden(f"This takes the role {role}; yours is {person.role}.", "Ask an engineer for it.")


def token_of(request: Request) -> str:
    """What the request's cookie holds; "" where it cannot be one of ours."""
    token = request.cookies.get(COOKIE, "")
    return token if _TOKEN.fullmatch(token) else ""


def _place(path: str) -> str:
    """The key of PATHS under which it lies."""
    while path not in PATHS:
        path = path.rpartition("/")[0] or "/"
    return path
