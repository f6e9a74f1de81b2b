"""What the Proof tab shows of evaluations, as HTML. Pure; all text is escaped here."""

from __future__ import annotations

from collections.abc import Sequence

from bot.evaluation.shelf import PAGE
from bot.runs.folder import Run, RunFolder
from bot.runs.watching import Seen
from bot.web.pages.html import escape, notice, table
from bot.web.pages.runs_html import KINDS, head, left, options, outcome, remarks, runs_table, stage, started, state
from bot.web.reports import address

NONE = '<div class="empty">Nothing is measured yet. Choose whose scenarios and press Start.</div>'
HEADS = ("Scenarios of", "Started", "State", "Stage", "Left", "Report", "Verdict")


def run_list(folders: Sequence[RunFolder], seen: Sequence[Seen], chosen: str | None) -> str:
    """The evaluations as a table, the chosen one marked."""
    if not folders:
        return NONE
    rows = [(folder.run.id, _cells(folder, said)) for folder, said in zip(folders, seen, strict=True)]
    return runs_table(HEADS, rows, chosen)


def _cells(folder: RunFolder, seen: Seen) -> Sequence[str]:
    run = folder.run
    link = _link(folder, "open") or "–"
    return f"<b>{escape(run.name)}</b>", started(run), state(run), stage(run, seen), left(run, seen), link, outcome(run)


def run_head(folder: RunFolder, seen: Seen) -> str:
    """The chosen evaluation: how it stands and how far it is, or its verdict."""
    run = folder.run
    return head(run, seen, [("Stage", stage(run, seen)), ("Left in this stage", left(run, seen))], _told(folder))


def _told(folder: RunFolder) -> str:
    run = folder.run
    if run.state == "running":
        return ""
    if run.state == "done":
        return f'<div class="verdict-line"><p>{escape(run.outcome)}</p>{_link(folder, "Open the report")}</div>'
    return notice(run.message or "Its process ended without a word.", KINDS.get(run.state, "info"))


def run_details(run: Run, seen: Seen) -> str:
    """What it was started with, and its last remarks."""
    rows = [
        ("Scenarios of", escape(run.source)),
        ("Options", options(run)),
        ("Started", started(run)),
        ("Process", str(run.pid)),
    ]
    return f"{table(rows)}{remarks(seen)}"


def _link(folder: RunFolder, text: str) -> str:
    if folder.run.state != "done" or not (folder.path / PAGE).is_file():
        return ""
    return f'<a class="report-link" href="{escape(address(folder.run.id))}" target="_blank" rel="noopener">{text}</a>'
