"""What the commands share: their common options, the desk of a workspace, and how they print."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from bot.desk import Desk

Workspace = Annotated[Path | None, typer.Option("--workspace", "-w", help="Folder with adapters/ prompts/ knowledge/.")]
BaseName = Annotated[str | None, typer.Option("--base", help="starter, a local folder, or a hub id@revision.")]
EngineName = Annotated[str | None, typer.Option("--engine", help="local, remote or scripted.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def open_desk(workspace: Path | None = None, **given: Any) -> Desk:
    """The desk of an existing workspace: a mistyped folder is refused, not made."""
    from bot.desk import Desk
    from bot.errors import SettingsError
    from bot.settings import load

    settings = load(workspace=workspace, **given)
    if not (settings.workspace / "prompts").is_dir():
        raise SettingsError(
            f"{settings.workspace} is no workspace: it has no prompts/.",
            "Give one with --workspace, or: bot init DIR",
        )
    return Desk(settings)


def say(text: str) -> None:
    """A remark for the person at the terminal."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def put(text: str = "", end: str = "\n") -> None:
    print(text, end=end, flush=True)  # noqa: T201


_IN_ONE_PIECE = 40
"""Letters, which leave room for what is told beside them in a narrow terminal."""


def table(rows: Sequence[dict[str, Any]], as_json: bool) -> None:
    """Rows with the same keys, as a table or as JSON."""
    if as_json:
        put(json.dumps(list(rows), indent=1, default=str, ensure_ascii=False))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    # What a row is about stays in one piece, so that it can be found and copied; what is too long for that is folded.
    names = [str(next(iter(row.values()))) for row in rows]
    in_one_piece = all(len(name) <= _IN_ONE_PIECE for name in names)
    for number, key in enumerate(rows[0] if rows else ("nothing here yet",)):
        shown.add_column(key.replace("_", " "), overflow="fold", no_wrap=number == 0 and in_one_piece)
    for row in rows:
        shown.add_row(*(str(value) for value in row.values()))
    Console(markup=False, highlight=False).print(shown)
