"""What the workshop's tab shows, as HTML and as tables for its plots. Pure; all text is escaped here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bot.runs.folder import Run, RunFolder
from bot.runs.watching import Seen
from bot.web.pages.html import escape, notice, table
from bot.web.pages.runs_html import KINDS, head, left, options, outcome, remarks, runs_table, stage, started, state

if TYPE_CHECKING:
    import pandas as pd

NONE = '<div class="empty">No run yet. Choose a recipe and press Start.</div>'
HEADS = ("Adapter", "Started", "State", "Stage", "Loss", "Held-out", "Tokens/s", "Left", "Outcome")


def run_list(folders: Sequence[RunFolder], seen: Sequence[Seen], chosen: str | None) -> str:
    """The runs as a table, the chosen one marked."""
    if not folders:
        return NONE
    rows = [(folder.run.id, _cells(folder.run, said)) for folder, said in zip(folders, seen, strict=True)]
    return runs_table(HEADS, rows, chosen)


def _cells(run: Run, seen: Seen) -> Sequence[str]:
    trained = seen.trained
    return (
        f"<b>{escape(run.name)}</b>",
        started(run),
        state(run),
        stage(run, seen),
        f"{trained.loss:.3f}" if trained and trained.loss is not None else "–",
        f"{seen.held_out[-1][1]:.3f}" if seen.held_out else "–",
        f"{trained.tokens_per_second:,.0f}" if trained and trained.tokens_per_second is not None else "–",
        left(run, seen),
        outcome(run),
    )


def run_head(run: Run, seen: Seen) -> str:
    """The chosen run: how it stands, how far it is, its figures."""
    trained = seen.trained
    figures = [
        ("Stage", stage(run, seen)),
        ("Loss", f"{trained.loss:.4f}" if trained and trained.loss is not None else "–"),
        ("Held-out loss", f"{seen.held_out[-1][1]:.4f}, best {seen.best:.4f}" if seen.held_out else "–"),
        ("Tokens/s", f"{trained.tokens_per_second:,.0f}" if trained and trained.tokens_per_second is not None else "–"),
        ("Left in this stage", left(run, seen)),
    ]
    return head(run, seen, figures, _told(run))


def _told(run: Run) -> str:
    if run.state == "done":
        return notice(f"{run.outcome} is made. The desk offers it already.", "good")
    if run.state == "running":
        return ""
    return notice(run.message or "Its process ended without a word.", KINDS.get(run.state, "info"))


def run_details(run: Run, seen: Seen) -> str:
    """What it was started with, and its last remarks."""
    rows = [
        ("Recipe", f"<code>{escape(run.source)}</code>"),
        ("Overrides", options(run)),
        ("Started", started(run)),
        ("Process", str(run.pid)),
    ]
    return f"{table(rows)}{remarks(seen)}"


def recipe_html(text: str) -> str:
    return f'<pre class="recipe">{escape(text)}</pre>' if text else ""


def loss_table(seen: Seen) -> pd.DataFrame:
    """Columns step, loss, curve ("training" or "held-out")."""
    import pandas as pd

    curves = {"training": seen.loss, "held-out": seen.held_out}
    # A plot that is already shown gives a curve that comes later no colour: each has a point without a value from the start.
    rows: list[tuple[int, float | None, str]] = [(0, None, name) for name in curves]
    rows += [(step, loss, name) for name, points in curves.items() for step, loss in points]
    return pd.DataFrame(rows, columns=["step", "loss", "curve"])


def speed_table(seen: Seen) -> pd.DataFrame:
    """Columns step, tokens/s."""
    import pandas as pd

    return pd.DataFrame(seen.speed, columns=["step", "tokens/s"])
