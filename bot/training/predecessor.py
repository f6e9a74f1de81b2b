"""The version that a new one is held to: the newest that serves here and can be compared with it."""

from __future__ import annotations

from collections.abc import Callable

from bot.adapters.card import Card
from bot.adapters.catalog import AdapterCatalog
from bot.errors import BotError
from bot.runs.progress import Progress
from bot.types import Adapter


def predecessor(
    catalog: AdapterCatalog, name: str, comparable: Callable[[Card], bool], progress: Progress
) -> tuple[Adapter, Card] | None:
    """None where there is none. A version that does not serve is passed over, and told of."""
    for number in reversed(catalog.versions(name) if name in catalog.names() else []):
        try:
            adapter, card = catalog.get(f"{name}@{number}"), catalog.card(f"{name}@{number}")
        except BotError as error:
            progress.note(f"{name}@{number} is not compared with: {error}")
            continue
        if comparable(card):
            return adapter, card
    return None
