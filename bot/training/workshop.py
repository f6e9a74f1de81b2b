"""Training as the workshop's page begins it: the recipes there are, one started under overrides in one line.

Loads no model and no torch.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from bot.errors import DataError, NotFound
from bot.files import read_text
from bot.runs.folder import TRAINING
from bot.runs.workshop import Workshop
from bot.training.recipe import read_recipe

_LONGEST = 1_000


class Recipes:
    """The recipes of one workspace."""

    def __init__(self, workspace: Path) -> None:
        self._workspace = workspace

    def names(self) -> list[str]:
        """The adapters that have one."""
        return sorted(path.parent.name for path in self._workspace.glob("adapters/*/recipe.yaml"))

    def text(self, name: str) -> str:
        """Raises NotFound for one that is not listed, DataError for one that cannot be read."""
        return read_text(self._workspace / self._place(name))

    def start(self, workshop: Workshop, name: str, overrides: Sequence[str] = ()) -> None:
        """Begin a run of that adapter's recipe. Raises DataError for a recipe or overrides that are not valid, Conflict
        while another run is at work."""
        place = self._place(name)
        read_recipe(self._workspace / place, overrides)
        workshop.start(TRAINING, place, [part for text in overrides for part in ("--set", text)])

    def _place(self, name: str) -> str:
        if name not in self.names():
            raise NotFound("recipe", name, self.names(), "A recipe lies in adapters/<name>/recipe.yaml.")
        return f"adapters/{name}/recipe.yaml"


def split_overrides(line: str) -> list[str]:
    """`epochs=2 rank=16` → each of them; quotes hold together what has spaces. Raises DataError."""
    if len(line) > _LONGEST:
        raise DataError(
            f"The overrides have {len(line):,} characters; {_LONGEST:,} are allowed.", "Edit the recipe instead."
        )
    try:
        return shlex.split(line)
    except ValueError as error:
        raise DataError(f"{line!r} cannot be read: {str(error).lower()}.", "Write like: epochs=2 rank=16") from None
