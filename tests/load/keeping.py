"""Files of results: the rows that a script measured, with when, where and by which command, among those that stand already."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from bot.bench.rows import Row
from bot.files import read_json, write_atomic

LIBRARIES = ("torch", "transformers", "peft", "scikit-learn")


def circumstances(command: str) -> dict[str, object]:
    """To be asked for before anything is measured: the load is the machine's own then."""
    return {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "versions": {name: version(name) for name in LIBRARIES},
        "load_before": os.getloadavg()[0],
    }


def keep(out: Path, rows: Sequence[Row], measured: dict[str, object]) -> None:
    """Rows of the same measures are replaced, the file's others kept; each is told."""
    new = {row.id for row in rows}
    before = [row for row in read_json(out)["rows"] if row["id"] not in new] if out.exists() else []
    found = sorted([*before, *(row.as_dict() | {"measured": measured} for row in rows)], key=lambda row: str(row["id"]))
    write_atomic(out, json.dumps(measured | {"rows": found}, indent=1, ensure_ascii=False) + "\n")
    for row in rows:
        print(f"{row.id}  {row.measure}: {row.value} {row.unit} (target {row.target})", flush=True)
