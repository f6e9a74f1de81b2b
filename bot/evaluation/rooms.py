"""What an evaluation needs of the desk, so that it is handed its rooms and builds none."""

from __future__ import annotations

from typing import Protocol

from bot.errors import SettingsError
from bot.settings import Settings
from bot.training import rooms
from bot.types import Embedder, Engine


class Rooms(rooms.Rooms, Protocol):
    """`bot.desk.Desk` fits: what training needs, what runs the arms, and what tells how alike two texts are. Open it with
    `exact(settings)`."""

    @property
    def engine(self) -> Engine: ...

    @property
    def embedder(self) -> Embedder: ...


def exact(settings: Settings) -> Settings:
    """The settings with the precision that arms are compared in: float32, whatever the desk serves in."""
    return settings.model_copy(update={"dtype": "float32"})


def check_exact(settings: Settings) -> None:
    """Raises SettingsError where the local engine would run in another precision."""
    if settings.engine == "local" and settings.dtype != "float32":
        raise SettingsError(f"dtype is {settings.dtype}; arms are compared in float32.", "Set dtype: float32.")
