"""Every error that a person may see: the value, the rule, the next step.

One root, `BotError`; edges translate it (HTTP status, exit code, a line on the page). Knows nothing of those edges
but the status number each kind maps to.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi.exceptions import RequestValidationError
    from pydantic import ValidationError


class BotError(Exception):
    """Something a person can mend. `what` says value and rule, `hint` the next step."""

    status = 400
    code = "invalid_request"

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.what} {self.hint}".strip()


class NotFound(BotError):
    """A name that is not there. Lists what is, nearest first."""

    status = 404
    code = "not_found"

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        names = sorted(set(known))
        near = difflib.get_close_matches(name, names, n=1)
        listed = ", ".join(names) if names else "none yet"
        question = f" Did you mean {near[0]!r}?" if near else ""
        super().__init__(f"There is no {kind} {name!r}.{question} There is: {listed}.", hint)


def faults(error: ValidationError | RequestValidationError) -> str:
    """What pydantic found, as place: rule; place: rule."""
    found = ((".".join(map(str, fault["loc"])), fault["msg"].removeprefix("Value error, ")) for fault in error.errors())
    return "; ".join(f"{place}: {rule}" if place else rule for place, rule in found)


class SettingsError(BotError):
    code = "bad_settings"


class InvalidMessage(BotError):
    """A customer's message or a request that breaks a limit."""

    code = "invalid_message"


class PromptError(BotError):
    code = "bad_prompt"


class AdapterError(BotError):
    code = "bad_adapter"


class KnowledgeError(BotError):
    code = "bad_knowledge"


class DataError(BotError):
    """Transcripts or a recipe that cannot be used."""

    code = "bad_data"


class RunError(BotError):
    """A run that cannot begin, stop or go on."""

    code = "run"


class TrainingError(BotError):
    """A training run whose result may not become a version."""

    code = "training"


class Refused(TrainingError):
    """A training run whose result is no good: it cannot go on."""


class JournalError(BotError):
    status = 500
    code = "journal"


class Conflict(BotError):
    """Somebody else was first."""

    status = 409
    code = "conflict"


class Forbidden(BotError):
    status = 403
    code = "forbidden"


class EngineError(BotError):
    status = 502
    code = "engine"


class Overloaded(BotError):
    """The queue is full. `retry_after` in seconds."""

    status = 429
    code = "overloaded"

    def __init__(self, what: str, hint: str = "", retry_after: int = 5) -> None:
        super().__init__(what, hint)
        self.retry_after = retry_after


class DeadlinePassed(EngineError):
    """Nothing of a reply came in time."""

    status = 504
    code = "deadline"

    def __init__(self, seconds: float) -> None:
        super().__init__(f"No reply began within {seconds:g} seconds.", "Try again shortly.")


class NotAvailable(BotError):
    """A verb that this engine does not have."""

    status = 501
    code = "not_available"
