"""Files of results: the rows that a script measured, with when, where and by which command, among those that stand already."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bot.bench.machine import machine
from bot.bench.rows import Row
from bot.files import read_json, write_atomic

LIBRARIES = ("torch", "transformers", "peft", "scikit-learn", "trl")
"""Of the last one only where it is installed."""
ROOT = Path(__file__).parents[2]


def circumstances(command: str) -> dict[str, object]:
    """To be asked for before anything is measured: the load is the machine's own then. `commit` ends in + where files differed
    from it."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty=+"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.strip()
    return {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "machine": machine(),
        "commit": commit,
        "versions": _versions(),
        "load_before": os.getloadavg()[0],
    }


def _versions() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def keep(out: Path, rows: Sequence[Row], measured: dict[str, object]) -> None:
    """Rows of the same ids are replaced, the file's others kept; each is told."""
    new = {row.id for row in rows}
    before = [row for row in read_json(out)["rows"] if row["id"] not in new] if out.exists() else []
    found = sorted([*before, *(row.as_dict() | {"measured": measured} for row in rows)], key=lambda row: str(row["id"]))
    write_atomic(out, json.dumps(measured | {"rows": found}, indent=1, ensure_ascii=False) + "\n")
    for row in rows:
        print(f"{row.id}  {row.measure}: {row.value} {row.unit} (target {row.target})", flush=True)
