"""What the tabs of runs share, as HTML: a run's state and stage, the table of runs, the bar, the last remarks. Pure; all
text is escaped here."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from bot.runs.folder import Run
from bot.runs.watching import Seen
from bot.web.pages.html import escape

REASON = 110
"""Characters of a reason in the table."""
_REMARK = 300
KINDS = {"running": "info", "done": "good", "failed": "bad"}
"""The kind of notice that tells how a run ended."""


def runs_table(heads: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]], chosen: str | None) -> str:
    """Rows of (run's id, cells as HTML), the chosen one marked."""
    head = "".join(f"<th scope='col'>{title}</th>" for title in heads)
    body = "".join(
        f"<tr{' class=chosen' if id == chosen else ''}>"
        + "".join(f'<td data-label="{title}">{cell}</td>' for title, cell in zip(heads, cells, strict=True))
        + "</tr>"
        for id, cells in rows
    )
    return f'<table class="listing runs"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def state(run: Run) -> str:
    return f'<span class="run-state run-{run.state}">{run.state}</span>'


def left(run: Run, seen: Seen) -> str:
    """Time left in its stage: `75` seconds → 1:15."""
    if seen.seconds_left is None or run.state != "running":
        return "–"
    minutes, rest = divmod(round(seen.seconds_left), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def stage(run: Run, seen: Seen) -> str:
    step = seen.step
    if step is None:
        return "starting" if run.state == "running" else "–"
    return f"{escape(step.stage)} {step.done:,}/{step.total:,}"


def outcome(run: Run) -> str:
    if run.outcome:
        return f"<b>{escape(run.outcome)}</b>"
    return escape(textwrap.shorten(run.message, REASON, placeholder=" …")) or "–"


def started(run: Run) -> str:
    """Its time without what nobody reads in a table."""
    return f"<span title='{escape(run.started)}'>{escape(run.started[5:16].replace('T', ' '))}</span>"


def head(run: Run, seen: Seen, figures: Sequence[tuple[str, str]], told: str) -> str:
    """The chosen run: how it stands, how far it is, `figures` (name, HTML), and what is `told` of its end."""
    step = seen.step
    share = step.done / step.total if step and step.total else 0.0
    bar = (
        f'<div class="progress" role="progressbar" aria-valuenow="{share * 100:.0f}" aria-valuemin="0" aria-valuemax="100">'
        f'<div style="width: {min(share, 1) * 100:.1f}%"></div></div>'
        if run.state == "running"
        else ""
    )
    tiles = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in figures)
    title = f'<div class="run-title"><h3>{escape(run.id)}</h3>{state(run)}</div>'
    return f'<div class="run-head">{title}{bar}<dl class="tiles">{tiles}</dl>{told}</div>'


def options(run: Run) -> str:
    return "".join(f"<code>{escape(text)}</code> " for text in run.options) or "none"


def remarks(seen: Seen) -> str:
    """The last of what it said."""
    count = f"the last {len(seen.notes):,} of {seen.noted:,}" if seen.noted > len(seen.notes) else f"{seen.noted:,}"
    notes = "".join(f"<li>{escape(textwrap.shorten(note, _REMARK, placeholder=' …'))}</li>" for note in seen.notes)
    return f'<h4>Remarks <span class="count">{count}</span></h4><ul class="remarks">{notes}</ul>' if notes else ""
