"""What leads typed and did not save, as plain data that their browser keeps: by person, the edits with the versions that
they were made from.

It comes back from the browser, so it is checked like any other input; what is broken or too large is left out and raises
nothing. Each person gets their own alone; who may use the browser's own tools can read all that it keeps. Knows nothing of
components.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ValidationError, field_validator

from bot.web.pages.studio.answering import words
from bot.web.pages.studio.form import Aside, CheckedOpened, Fields

MAX_KEPT = 500_000
"""Bytes of everybody's edits together: with the form they fit into a request, and well into what a browser keeps."""
Stored = dict[str, list[Any]]
"""By a person's id, edits that are not checked yet."""


class _Edits(BaseModel):
    """An Aside."""

    opened: CheckedOpened
    fields: Fields
    note: str

    @field_validator("fields")
    @classmethod
    def _offered(cls, fields: Fields) -> Fields:
        """A choice that is not offered would have the page refuse whatever is done next."""
        for key in ("technique", "shown"):
            if getattr(fields.answering, key) not in words()[key]["choices"]:
                raise ValueError(f"{key} is none of the choices")
        return fields


def checked(value: object) -> Stored:
    """What the browser sent, where it has that form and fits; else nothing."""
    if not isinstance(value, dict) or not _fits(value):
        return {}
    # Gradio takes `__type__` in what a handler returns for an order.
    return {who: edits for who, edits in value.items() if isinstance(edits, list) and who != "__type__"}


def edits_of(stored: Stored, who: str) -> list[Aside]:
    """One person's, those that are whole."""
    found = []
    for edits in stored.get(who, ()):
        with contextlib.suppress(ValidationError):
            read = _Edits.model_validate(edits)
            found.append(Aside(read.opened.plain, read.fields, read.note))
    return found


def with_edits(stored: Stored, who: str, edits: Sequence[Aside]) -> Stored:
    """One person's edits in place of those before. Where there is too much, other people's go first, then the oldest."""
    mine = [plain for plain in (json.loads(json.dumps(dataclasses.asdict(aside))) for aside in edits) if _fits(plain)]
    kept = {name: theirs for name, theirs in stored.items() if name != who}
    while kept and not _fits({**kept, who: mine}):
        del kept[next(iter(kept))]
    while not _fits({who: mine}):
        del mine[0]
    return {**kept, who: mine} if mine else kept


def _fits(value: object) -> bool:
    try:
        return len(json.dumps(value, ensure_ascii=False).encode("utf-8")) <= MAX_KEPT
    except (TypeError, ValueError, RecursionError):
        return False
