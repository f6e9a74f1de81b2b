"""A prompt's texts as HTML: variables, the messages as sent, advice, and what differs between two versions. Pure; all text
is escaped here."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from bot.prompts.lint import Finding
from bot.prompts.schema import Prompt
from bot.prompts.version import PromptVersion
from bot.types import Message
from bot.web.pages.html import differences, escape, inline_difference, table
from bot.web.pages.inspector import messages_html
from bot.web.pages.studio.answering import Answering, Row, technique_of
from bot.web.pages.studio.form import Fields

FINDINGS = 12
"""Findings that are shown at once."""
GIVEN = {
    "message": "the customer's message; in the template",
    "passages": "the passages that were found; in the text for where some were",
}


def variables_html(variables: Sequence[Row]) -> str:
    """The variables that texts may hold, to be put in by a click, with what they stand for."""
    told = {row.name: row.told() for row in variables if row.name} | GIVEN
    chips = "".join(
        f'<button type="button" class="chip" data-insert="{{{escape(name)}}}" title="{escape(text)}">'
        f"<code>{{{escape(name)}}}</code></button>"
        for name, text in told.items()
    )
    rows = [(f"{{{name}}}", escape(text)) for name, text in told.items()]
    return (
        f'<div class="variables"><span>Variables</span>{chips}'
        f"<details><summary>What they stand for</summary>{table(rows)}</details></div>"
    )


def about_html(found: PromptVersion) -> str:
    """Who wrote a version, when, why, and how it answers, at a glance."""
    prompt = found.prompt
    rows = [
        ("Technique", escape(prompt.technique)),
        ("Date", f"{prompt.date:%Y-%m-%d}"),
        ("Author", escape(prompt.author)),
        *((label, escape(text)) for label, text in Answering.of(prompt).chosen().items()),
        ("Hash", f"<code>{prompt.hash[:12]}</code>"),
    ]
    return f'<p class="description">{escape(prompt.note)}</p>{table(rows)}'


def preview_html(messages: Sequence[Message], tokens: int, context: int) -> str:
    """The messages as sent, and how much they take of the `context` tokens that the base reads."""
    count = f"{len(messages)} messages, {f'{tokens:,} tokens' if tokens else 'not counted by this engine'}"
    body = messages_html([dataclasses.asdict(message) for message in messages])
    return f'<p class="count-line">{count}{_share(tokens, context)}</p>{body}'


def _share(tokens: int, context: int) -> str:
    if not tokens or not context:
        return ""
    share = tokens / context
    over = " over" if share > 0.5 else ""
    said = ": more than half, which leaves little for the conversation and the reply" if over else ""
    return (
        f" of the {context:,} that the base reads ({share:.0%}){said}"
        f'<span class="progress{over}"><span style="width: {min(share, 1):.0%}"></span></span>'
    )


def findings_html(findings: Sequence[Finding]) -> str:
    """What lint found, errors first."""
    items = "".join(
        f'<li><span class="mark mark-{finding.severity}">{finding.severity}</span> <b>{escape(finding.place)}</b> '
        f'{escape(finding.what)} <span class="quiet">{escape(finding.next)}</span></li>'
        for finding in findings[:FINDINGS]
    )
    more = len(findings) - FINDINGS
    rest = f'<li class="quiet">{more} more; they show once these are mended.</li>' if more > 0 else ""
    return f'<ul class="findings">{items}{rest}</ul>' if findings else '<p class="count-line">Nothing to advise.</p>'


def places(prompt: Prompt) -> dict[str, str]:
    """Everything that a version says, by the place where it stands, for a comparison that people read."""
    return {**Fields.of(prompt).named(), "Technique": prompt.technique, **Answering.of(prompt).named()}


def draft_places(fields: Fields) -> dict[str, str]:
    """The same of what the form holds, also where it is no valid prompt yet."""
    technique = technique_of(fields.answering, bool(fields.examples))
    return {**fields.named(), "Technique": technique, **fields.answering.named()}


def changes_html(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """What went, struck out, and what came, underlined; places that are the same are left out."""
    rows = [
        f"<h4>{escape(place)}</h4><p class='diff'>{inline_difference(before.get(place, ''), after.get(place, ''))}</p>"
        for place in dict.fromkeys([*before, *after])
        if before.get(place, "") != after.get(place, "")
    ]
    return "".join(rows) or '<div class="empty">The two say the same.</div>'


def both_html(theirs: Mapping[str, str], version: int, mine: Mapping[str, str]) -> str:
    """Another's version beside the form's texts, where they differ."""
    rows = ""
    for place in dict.fromkeys([*theirs, *mine]):
        if theirs.get(place, "") != mine.get(place, ""):
            left, right = differences(theirs.get(place, ""), mine.get(place, ""))
            rows += f"<tr><th scope='row'>{escape(place)}</th><td>{left}</td><td>{right}</td></tr>"
    head = f"<tr><td></td><th scope='col'>Version {version}</th><th scope='col'>Yours</th></tr>"
    return f'<table class="both-texts"><thead>{head}</thead><tbody>{rows}</tbody></table>' if rows else ""
