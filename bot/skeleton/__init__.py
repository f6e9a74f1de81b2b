"""`bot init`: a new workspace, copied from the files in `workspace/` beside this one."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from bot.errors import Conflict

SOURCE = Path(__file__).parent / "workspace"


def make_workspace(folder: Path) -> list[Path]:
    """Fill `folder`, which must be missing or empty → the files made. All of it appears, or nothing does."""
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise Conflict(f"{folder} is not an empty folder.", "Nothing was changed: choose a new name.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
        made = Path(temporary) / "workspace"
        shutil.copytree(SOURCE, made, ignore=shutil.ignore_patterns("__pycache__"))
        made.rename(folder)
    return sorted(path for path in folder.rglob("*") if path.is_file())
