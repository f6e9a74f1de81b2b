"""The plots of the data report: SVG to stand inside a page, the figures also told in words for who cannot see them."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = ("#1f5fa8", "#c25b3a")
_MOST_BARS = 40


def histogram(values: Mapping[str, Sequence[int]], of: str, what: str) -> Markup:
    """How often each number occurs; beyond the 99th percentile all in the last bar."""
    import numpy as np

    figure, axes = _figure(2.6)
    top = int(max(np.percentile(numbers, 99) for numbers in values.values())) + 1
    width = max(1, -(-top // 40))
    edges = np.arange(0, top + 2 * width, width) - 0.5
    axes.hist(
        [np.minimum(numbers, edges[-1] - 0.5) for numbers in values.values()],
        bins=list(edges),
        label=list(values),
        color=list(_COLOURS[: len(values)]),
    )
    axes.set_xlabel(of, fontsize=9)
    axes.set_ylabel(what, fontsize=9)
    if len(values) > 1:
        axes.legend(frameon=False, fontsize=9)
    told = "; ".join(f"{name}: median {median(numbers):g}, at most {max(numbers)}" for name, numbers in values.items())
    return _svg(figure, f"How many {what} have how many {of}. {told}.")


def bars(counts: Mapping[str, int], what: str) -> Markup:
    """A bar for each name, the longest first; at most forty."""
    shown = dict(sorted(counts.items(), key=lambda item: -item[1])[:_MOST_BARS])
    figure, axes = _figure(0.5 + 0.27 * len(shown))
    axes.barh(range(len(shown)), list(shown.values()), color=_COLOURS[0], height=0.7)
    for place, count in enumerate(shown.values()):
        axes.text(count, place, f" {count:,}", va="center", fontsize=9)
    _named(axes, list(shown), what)
    return _svg(figure, f"{what}: " + ", ".join(f"{name} {count}" for name, count in shown.items()))


def shares(strata: Mapping[str, tuple[int, int]]) -> Markup:
    """Training and held-out conversations of each stratum in one bar; at most forty."""
    shown = dict(list(strata.items())[:_MOST_BARS])
    figure, axes = _figure(0.8 + 0.27 * len(shown))
    training = [counts[0] for counts in shown.values()]
    held_out = [counts[1] for counts in shown.values()]
    axes.barh(range(len(shown)), training, color=_COLOURS[0], height=0.7, label="training")
    axes.barh(range(len(shown)), held_out, left=training, color=_COLOURS[1], height=0.7, label="held out")
    for place, (one, other) in enumerate(shown.values()):
        axes.text(one + other, place, f" {one:,} + {other:,}", va="center", fontsize=9)
    _named(axes, list(shown), "conversations")
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    return _svg(figure, "; ".join(f"{name}: {a} training, {b} held out" for name, (a, b) in shown.items()))


def _figure(height: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.6, height), layout="constrained")
    axes = figure.subplots()
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(labelsize=9)
    return figure, axes


def _named(axes: Axes, names: Sequence[str], what: str) -> None:
    # A dollar sign would begin a formula.
    axes.set_yticks(range(len(names)), [name[:40].replace("$", r"\$") for name in names], fontsize=9)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set_xlabel(what, fontsize=9)


def _svg(figure: Figure, told: str) -> Markup:
    """As an image of the page with its text alternative."""
    import matplotlib

    file = io.StringIO()
    # Fixed ids: the same data gives the same page. Text stays text, so that it can be found and read out.
    with matplotlib.rc_context({"svg.hashsalt": told, "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    drawn = re.sub(r"^.*?(?=<svg)", "", file.getvalue(), count=1, flags=re.S)
    return Markup(drawn.replace("<svg ", Markup('<svg role="img" aria-label="{}" ').format(escape(told)), 1))  # noqa: S704
