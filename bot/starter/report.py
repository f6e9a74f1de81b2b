"""Outcomes → the results format that the repository's benchmarks share, and the model card's table.

Contract: an outcome's name is "ID measure, set" (`B1 right fact, no wrong one, held topic`); names without an id in
`TARGETS` are diagnostics: they have no target. Knows nothing of models.
"""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

TARGETS: Mapping[str, float] = {
    "B1 right fact, no wrong one, held wording": 0.9,
    "B1 right fact, no wrong one, held topic": 0.8,
    "B1b right fact, no wrong one, held wording": 0.6,
    "B1b right fact, no wrong one, held topic": 0.5,
    "B2 answerable question refused, held wording": -0.05,
    "B2 answerable question refused, held topic": -0.08,
    "B3 says so and offers a person, held wording": 0.9,
    "B3 says so and offers a person, held topic": 0.9,
    "B4 company": 0.8,
    "B4 agent name": 0.8,
    "B4 sign-off": 0.8,
    "B4 opening": 0.8,
    "B4 length": 0.8,
    "B4 tone": 0.8,
    "B5 0-shot": 0.7,
    "B5 1-shot": 0.8,
    "B6 recall, earlier fact": 0.95,
    "B6 recall, reference": 0.95,
    "B7 each of two roles obeyed": 0.9,
    "B8 loops at T = 0.7": -0.005,
}
"""Least share wanted; a negative number is the most that is allowed."""


def interval(right: int, count: int) -> tuple[float, float]:
    """Wilson's 95 % interval."""
    share, z = right / count, 1.96
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return round(middle - half, 3), round(middle + half, 3)


def row(name: str, found: Sequence[bool]) -> dict[str, Any]:
    """One measure's row."""
    value, target = sum(found) / len(found), TARGETS.get(name)
    identity, _, measure = name.partition(" ")
    known = identity[0] == "B" and identity[1:2].isdigit()
    holds = None if target is None else (value >= target if target > 0 else value <= -target)
    return {"id": identity if known else "", "measure": measure if known else name, "value": round(value, 3),
            "unit": "share", "target": abs(target) if target is not None else None, "most": bool(target and target < 0),
            "holds": holds, "n": len(found),
            "interval": interval(sum(found), len(found))}  # fmt: skip


def results(outcomes: Mapping[str, Sequence[bool]], command: str) -> dict[str, Any]:
    """All rows, with where and when they were measured."""
    machine = f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}"
    rows = [row(name, outcomes[name]) for name in sorted(outcomes)]
    return {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "machine": machine,
        "rows": rows,
    }


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as a Markdown table."""
    lines = ["| # | measure | value | 95 % interval | items | target |", "|---|---|---|---|---|---|"]
    for entry in rows:
        sign, mark = "≤" if entry["most"] else "≥", "✓" if entry["holds"] else "✗"
        target = "" if entry["target"] is None else f"{sign} {_figure(entry['target'], entry['unit'])} {mark}"
        bounds = [_figure(bound, entry["unit"]) for bound in entry.get("interval", [])]
        cells = [
            entry["id"],
            entry["measure"],
            _figure(entry["value"], entry["unit"]),
            "–".join(bounds),
            str(entry.get("n", "")),
            target,
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _figure(value: float, unit: str) -> str:
    return f"{100 * value:.3g} %" if unit == "share" else f"{value:g} {unit}"
