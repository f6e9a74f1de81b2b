"""`card.yaml`, what an adapter is bound to and how it was made. Written by training, read before serving."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from bot.errors import AdapterError, DataError, faults
from bot.files import read_yaml, write_atomic
from bot.types import Method

CARD = "card.yaml"


class Gate(BaseModel):
    """One condition for becoming a version: what was measured, what it was held to, whether it held, in words which."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    value: float
    limit: float
    ok: bool
    words: str


class Card(BaseModel):
    """`files` are the sha256 of each file beside the card; `metrics` are what training measured on held-out rows, `gates`
    what it had to pass. A `claimed` card is of an adapter that was trained elsewhere: it fits the base whose hashes it
    names, and what it was trained on nobody here knows, so those fields are empty; `made` is when it was added, `source`
    whence."""

    model_config = ConfigDict(extra="forbid")

    name: str
    version: int
    method: Method
    made: str
    base: str
    base_hash: str
    tokenizer_hash: str
    template_hash: str
    prompt: str
    prompt_hash: str
    knowledge: str
    data: dict[str, str]
    recipe: dict[str, Any]
    seed: int | None
    metrics: dict[str, float]
    files: dict[str, str]
    labels: tuple[str, ...] = ()
    """A classifier's, in its head's order."""
    gates: tuple[Gate, ...] = ()
    intended_use: str = ""
    limits: str = ""
    claimed: bool = False
    source: str = ""


def read_card(folder: Path) -> Card:
    """Raises AdapterError when the card is missing or not valid."""
    try:
        return Card.model_validate(read_yaml(folder / CARD))
    except DataError as error:
        raise AdapterError(error.what, "Without its card an adapter's base is unknown, so it is not served.") from None
    except ValidationError as error:
        raise AdapterError(f"{folder / CARD} is not valid: {faults(error)}.", "Train the adapter again.") from None


def write_card(folder: Path, card: Card) -> None:
    write_atomic(folder / CARD, yaml.safe_dump(card.model_dump(mode="json"), sort_keys=False, allow_unicode=True))
