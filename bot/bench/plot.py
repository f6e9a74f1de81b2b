"""A report's rows as a picture: every figure as a bar, its target as a line, in one look what holds and what does not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

_MOST = 3.0
"""Longer bars are cut: how far beyond its target a figure lies is told beside it."""
_COLOURS = {True: "#2e7d5b", False: "#c25b3a"}


def draw(report: dict[str, Any], path: Path) -> None:
    """Bars of value over target (the other way round where less is better), so that 1 is the target in every row."""
    from matplotlib.figure import Figure

    rows = [row for row in report["rows"] if row["value"] is not None and row["target"]][::-1]
    figure = Figure(figsize=(11, 1 + 0.38 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for place, row in enumerate(rows):
        sign, target = re.split(r"\s+", row["target"], maxsplit=1)
        value, wanted = row["value"], float(target)
        share = value / wanted if sign == "≥" else wanted / value if value > 0 and wanted > 0 else _MOST * row["holds"]
        share = min(share, _MOST)
        axes.barh(place, share, color=_COLOURS[row["holds"]], height=0.6)
        axes.text(share, place, f" {row['value']:g} {row['unit']} ({row['target']})", va="center", fontsize=8)
    axes.set_yticks(range(len(rows)), [f"{row['id']}  {row['measure']}" for row in rows], fontsize=8)
    axes.axvline(1, color="#333333", linewidth=1)
    axes.set_xlabel("share of the target (1 = reached; further right is better)", fontsize=8)
    axes.set_title(f"{report['machine']}, {report['dtype']}, {report['made'][:10]}", fontsize=9, loc="left")
    axes.margins(x=0.25)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    made = path.with_name(f".new-{path.name}")
    figure.savefig(made, format="svg")
    made.replace(path)
