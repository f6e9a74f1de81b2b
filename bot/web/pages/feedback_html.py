"""What the Feedback tab shows of a turn that a customer turned down, as HTML. Pure; all text is escaped here."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

from bot.journal.feedback import Entry
from bot.journal.models import FeedbackRecord, TurnRecord
from bot.prompts.lint import Finding
from bot.prompts.version import PromptVersion
from bot.web.pages.html import chips, escape, lines, notice, sources, state_chip, state_of
from bot.web.pages.inspector import inspect_turn

NONE = '<div class="empty">Nothing here. Replies that customers turn down wait in this list.</div>'
LABEL = 70
"""Characters of a question in the list."""
KINDS = {
    "EMAIL": "e-mail address", "IP": "internet address", "IBAN": "IBAN", "CARD": "card number", "ADDRESS": "address",
    "ORDER": "order number", "ACCOUNT": "account number", "PHONE": "telephone number",
}  # fmt: skip


def entry_label(entry: Entry) -> str:
    """One line of the list, plain text."""
    said = entry.feedback.reason or ("in own words" if entry.feedback.comment else "no reason")
    return f"{entry.feedback.at:%d %b %H:%M} · {said} · {textwrap.shorten(entry.turn.question, LABEL, placeholder=' …')}"


def entry_html(entry: Entry) -> str:
    """The customer's reason, what was said, what answered, and what became of it."""
    turn = entry.turn
    parts = [
        _state(entry.feedback),
        _reason(entry.feedback),
        _earlier(entry.earlier),
        _exchange(turn),
        f'<div class="foot">{state_chip(state_of(turn.adapters, turn.prompt))} {chips(_made_with(turn))}</div>',
        sources(turn.passages),
        f'<details class="section"><summary>How it was made</summary>{inspect_turn(turn)}</details>',
    ]
    return f'<div class="turned-down">{"".join(parts)}</div>'


def _state(feedback: FeedbackRecord) -> str:
    if feedback.state == "open":
        return ""
    by = f" by {feedback.handled_by}" if feedback.handled_by else ""
    at = f", {feedback.handled_at:%d %b %H:%M} UTC" if feedback.handled_at else ""
    became = f" It became {feedback.became}." if feedback.became else ""
    return notice(f"{feedback.state.capitalize()}{by}{at}.{became}", "good" if feedback.state == "done" else "info")


def _reason(feedback: FeedbackRecord) -> str:
    said = f"<b>{escape(feedback.reason or 'No reason given')}</b>"
    comment = f"<br>“{lines(feedback.comment)}”" if feedback.comment else ""
    return f'<p class="turned-down-reason">{said}{comment}</p>'


def _earlier(turns: Sequence[TurnRecord]) -> str:
    """Folded: an entry is about its own turn."""
    if not turns:
        return ""
    said = "".join(map(_exchange, turns))
    count = f'<span class="count">{len(turns)}</span>'
    return f'<details class="section"><summary>Said before {count}</summary>{said}</details>'


def _exchange(turn: TurnRecord) -> str:
    reply = lines(turn.reply) or '<span class="quiet">The reply was empty.</span>'
    return f'<p class="question">{lines(turn.question)}</p><div class="reply">{reply}</div>'


def _made_with(turn: TurnRecord) -> list[str]:
    return [turn.mix] * bool(turn.adapters) + [part for part in (turn.prompt, turn.knowledge) if part]


def target_html(latest: PromptVersion, production: int | None) -> str:
    """Which version an example would make, and what customers meet meanwhile."""
    where = f"Production stays on version {production}." if production else "Nothing of it is in production."
    return (
        f'<p class="description">An example makes version {latest.version + 1}, on top of {escape(latest.ref)} '
        f"({escape(latest.prompt.author)}: {escape(latest.prompt.note)}) {where}</p>"
    )


def replaced_text(counts: Mapping[str, int]) -> str:
    """ "" where nothing was."""
    told = ", ".join(f"{KINDS.get(kind, kind.lower())} ({count})" for kind, count in counts.items())
    return f"Replaced by placeholders: {told}." if told else ""


def look_again_html(counts: Mapping[str, int], findings: Sequence[Finding]) -> str:
    """What a lead is told before it is saved."""
    told = [replaced_text(counts)] if counts else []
    told += [f"{finding.what} {finding.next}" for finding in findings]
    items = "".join(f"<li>{escape(text)}</li>" for text in told)
    return (
        '<div class="notice notice-info" role="status">Look once more; pressing again saves it as it stands.'
        f"<ul>{items}</ul></div>"
    )
