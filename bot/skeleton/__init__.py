"""`bot init`: a new workspace, copied from the files in `workspace/` beside this one."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from bot.errors import Conflict

SOURCE = Path(__file__).parent / "workspace"


def make_workspace(folder: Path) -> list[Path]:
    """Fill `folder`, which must be missing or empty → the files made. None of it is half-written."""
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise Conflict(f"{folder} is not an empty folder.", "Nothing was changed: choose a new name.")
    folder = folder.resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
        made = Path(temporary) / "workspace"
        shutil.copytree(SOURCE, made, ignore=shutil.ignore_patterns("__pycache__"))
        # Into an empty folder that is there already, which may be the one somebody stands in.
        if folder.is_dir():
            for path in made.iterdir():
                path.rename(folder / path.name)
        else:
            made.rename(folder)
    return sorted(path for path in folder.rglob("*") if path.is_file())
