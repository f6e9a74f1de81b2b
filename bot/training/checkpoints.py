"""Checkpoints that are whole or do not count: each is sealed last, with the size and hash of all its files.

A process may be killed, and a disk fill up, at any point of saving. Without its seal a checkpoint is not resumed, and
older ones are removed only after the new one has it. Knows nothing of models.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bot.errors import DataError
from bot.files import read_json, sha256_file, sync, write_atomic

SEAL = "complete.json"
_PREFIX = "checkpoint-"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """`last` is whether nothing was left to train after it."""

    path: Path
    last: bool


def seal(folder: Path, last: bool) -> None:
    """Say that `folder` is complete, once all of it is on the disk."""
    files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            sync(path)
            files[path.relative_to(folder).as_posix()] = [path.stat().st_size, sha256_file(path)]
    sync(folder)
    write_atomic(folder / SEAL, json.dumps({"last": last, "files": files}, indent=1) + "\n")


def newest(root: Path) -> Checkpoint | None:
    """The newest complete checkpoint in `root`; those after it are removed, since they were cut off."""
    for path in reversed(_found(root)):
        if (last := _sealed(path)) is not None:
            return Checkpoint(path, last)
        shutil.rmtree(path)
    return None


def keep_only(root: Path, kept: Iterable[Path]) -> None:
    """Remove every other checkpoint in `root`."""
    names = {path.name for path in kept}
    for path in _found(root):
        if path.name not in names:
            # Its seal first: what is removed by half must not count.
            (path / SEAL).unlink(missing_ok=True)
            shutil.rmtree(path)


def _found(root: Path) -> list[Path]:
    """By step, ascending."""
    named = [path for path in root.glob(f"{_PREFIX}*") if path.name.removeprefix(_PREFIX).isdecimal() and path.is_dir()]
    return sorted(named, key=lambda path: int(path.name.removeprefix(_PREFIX)))


def _sealed(path: Path) -> bool | None:
    """Whether it was the last one of its run; None where it is not whole."""
    try:
        stated = read_json(path / SEAL)
        whole = all(
            (path / name).stat().st_size == size and sha256_file(path / name) == digest
            for name, (size, digest) in stated["files"].items()
        )
    except (OSError, DataError, KeyError, TypeError, ValueError, AttributeError):
        return None
    return bool(stated.get("last")) if whole else None
