"""How the verdict and the table say a figure, an arm, a list: plain words for a support lead.

Knows results and nothing of how they came about. The sentences themselves stand in the YAML files beside their users.
"""

from __future__ import annotations

from collections.abc import Sequence

from bot.evaluation.measured import SHARE
from bot.evaluation.results import ArmResult, Figure, MeasureResult


def figure_of(measure: MeasureResult, arm: str) -> Figure | None:
    """None where the arm has no value of that measure."""
    return next((figure for figure in measure.figures if figure.arm == arm), None)


def said(value: float, unit: str) -> str:
    """0.412 of unit "share" → "41 %"; 1.904 nats a token → "1.9 nats a token"."""
    if unit == SHARE:
        return f"{100 * value:.{0 if abs(value) >= 0.0995 or not value else 1}f} %"
    return f"{value:.3g} {unit}".strip()


def said_with_interval(figure: Figure, unit: str) -> str:
    """41 % (33 % to 50 %); the mean alone where there are too few conversations for an interval."""
    if figure.low is None or figure.high is None:
        return said(figure.mean, unit)
    return f"{said(figure.mean, unit)} ({said(figure.low, unit)} to {said(figure.high, unit)})"


def said_bytes(size: float) -> str:
    """1,234,567 → "1.2 MB"."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.3g} {unit}"


def said_seconds(seconds: float) -> str:
    """90 → "90 seconds"; 600 → "10 minutes"."""
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"


def listed(names: Sequence[str], most: int = 4) -> str:
    """ "a, b and c"; beyond `most` the rest is counted."""
    shown = [*names] if len(names) <= most else [*names[: most - 1], f"{len(names) - most + 1} others"]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def parts_of(arm: ArmResult) -> str:
    """Which of "base", "prompt", "adapter", "both" an arm is made of, by the references it names."""
    if arm.prompt:
        return "both" if arm.adapters else "prompt"
    return "adapter" if arm.adapters else "base"
