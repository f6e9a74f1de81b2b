"""What the workshop's tab shows, as HTML and as tables for its plots. Pure; all text is escaped here."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bot.runs.folder import Run, RunFolder
from bot.runs.watching import Seen
from bot.web.pages.html import escape, notice, table

if TYPE_CHECKING:
    import pandas as pd

NONE = '<div class="empty">No run yet. Choose a recipe and press Start.</div>'
HEADS = ("Adapter", "Started", "State", "Stage", "Loss", "Held-out", "Tokens/s", "Left", "Outcome")
_KINDS = {"running": "info", "done": "good", "failed": "bad"}
_REASON, _REMARK = 110, 300
"""Characters of a reason in the table, and of a remark."""


def run_list(folders: Sequence[RunFolder], seen: Sequence[Seen], chosen: str | None) -> str:
    """The runs as a table, the chosen one marked."""
    if not folders:
        return NONE
    head = "".join(f"<th scope='col'>{title}</th>" for title in HEADS)
    body = "".join(
        f"<tr{' class=chosen' if folder.run.id == chosen else ''}>{_cells(folder.run, said)}</tr>"
        for folder, said in zip(folders, seen, strict=True)
    )
    return f'<table class="listing runs"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _cells(run: Run, seen: Seen) -> str:
    trained = seen.trained
    values = (
        f"<b>{escape(run.name)}</b>",
        _time(run.started),
        state(run),
        _stage(run, seen),
        f"{trained.loss:.3f}" if trained and trained.loss is not None else "–",
        f"{seen.held_out[-1][1]:.3f}" if seen.held_out else "–",
        f"{trained.tokens_per_second:,.0f}" if trained and trained.tokens_per_second is not None else "–",
        left(seen.seconds_left) if run.state == "running" else "–",
        _outcome(run),
    )
    return "".join(f'<td data-label="{title}">{value}</td>' for title, value in zip(HEADS, values, strict=True))


def state(run: Run) -> str:
    return f'<span class="run-state run-{run.state}">{run.state}</span>'


def left(seconds: float | None) -> str:
    """`75` → 1:15."""
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _stage(run: Run, seen: Seen) -> str:
    step = seen.step
    if step is None:
        return "starting" if run.state == "running" else "–"
    return f"{escape(step.stage)} {step.done:,}/{step.total:,}"


def _outcome(run: Run) -> str:
    if run.outcome:
        return f"<b>{escape(run.outcome)}</b>"
    return escape(textwrap.shorten(run.message, _REASON, placeholder=" …")) or "–"


def run_head(run: Run, seen: Seen) -> str:
    """The chosen run: how it stands, how far it is, its figures."""
    step, trained = seen.step, seen.trained
    share = step.done / step.total if step and step.total else 0.0
    bar = (
        f'<div class="progress" role="progressbar" aria-valuenow="{share * 100:.0f}" aria-valuemin="0" aria-valuemax="100">'
        f'<div style="width: {min(share, 1) * 100:.1f}%"></div></div>'
        if run.state == "running"
        else ""
    )
    figures = [
        ("Stage", _stage(run, seen)),
        ("Loss", f"{trained.loss:.4f}" if trained and trained.loss is not None else "–"),
        ("Held-out loss", f"{seen.held_out[-1][1]:.4f}, best {seen.best:.4f}" if seen.held_out else "–"),
        ("Tokens/s", f"{trained.tokens_per_second:,.0f}" if trained and trained.tokens_per_second is not None else "–"),
        ("Left in this stage", left(seen.seconds_left) if run.state == "running" else "–"),
    ]
    tiles = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in figures)
    title = f'<div class="run-title"><h3>{escape(run.id)}</h3>{state(run)}</div>'
    return f'<div class="run-head">{title}{bar}<dl class="tiles">{tiles}</dl>{_told(run)}</div>'


def _told(run: Run) -> str:
    if run.state == "done":
        return notice(f"{run.outcome} is made. The desk offers it already.", "good")
    if run.state == "running":
        return ""
    return notice(run.message or "Its process ended without a word.", _KINDS.get(run.state, "info"))


def run_details(run: Run, seen: Seen) -> str:
    """What it was started with, and its last remarks."""
    overrides = "".join(f"<code>{escape(text)}</code> " for text in run.options)
    rows = [("Recipe", f"<code>{escape(run.source)}</code>"), ("Overrides", overrides or "none")]
    rows.append(("Started", _time(run.started)))
    rows.append(("Process", str(run.pid)))
    count = f"the last {len(seen.notes):,} of {seen.noted:,}" if seen.noted > len(seen.notes) else f"{seen.noted:,}"
    notes = "".join(f"<li>{escape(textwrap.shorten(note, _REMARK, placeholder=' …'))}</li>" for note in seen.notes)
    remarks = f'<h4>Remarks <span class="count">{count}</span></h4><ul class="remarks">{notes}</ul>' if notes else ""
    return f"{table(rows)}{remarks}"


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


def _time(started: str) -> str:
    """An ISO time without what nobody reads in a table."""
    return f"<span title='{escape(started)}'>{escape(started[5:16].replace('T', ' '))}</span>"
