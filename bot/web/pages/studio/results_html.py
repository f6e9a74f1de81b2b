"""What was tried, and who published what, as HTML: replies side by side, cases and how old and new do in them, the labels'
history. Pure; all text is escaped here."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence

from bot.agent import Answer
from bot.journal.models import LabelMove
from bot.prompts.assertions import Assertion
from bot.prompts.cases import Case, Cases
from bot.publishing.trial import Outcome
from bot.web.pages.html import differences, escape, lines, notice
from bot.web.pages.inspector import ENDS
from bot.web.pages.race import WAITING, reply_html
from bot.web.pages.studio.form import Form

Replies = Mapping[tuple[int, str], str | Exception]
"""By question and side: the reply so far."""


def since_html(tried: Form | None, form: Form) -> str:
    """Said over what was tried, where the form holds something else by now. Where another version is open nothing of it
    stays."""
    changed = tried is not None and tried[0] == form[0] and tried[1] != form[1]
    return notice("You have edited the form since: this is of what it held before.") if changed else ""


def side_by_side_html(
    questions: Sequence[str], heads: tuple[str, str], replies: Replies, done: Mapping[tuple[int, str], Answer]
) -> str:
    """Each question with its old and its new reply; those of `done` with their ends, and the words marked that differ."""
    blocks = []
    for number, question in enumerate(questions):
        cells = _replies(number, replies, done)
        columns = "".join(f"<div><h4>{escape(head)}</h4>{cell}</div>" for head, cell in zip(heads, cells, strict=True))
        blocks.append(f'<p class="question">{lines(question)}</p><div class="sides">{columns}</div>')
    return "".join(blocks)


def _replies(number: int, replies: Replies, done: Mapping[tuple[int, str], Answer]) -> list[str]:
    keys = [(number, "old"), (number, "new")]
    if all(key in done for key in keys):
        marked = differences(*(done[key].reply for key in keys))
        return [_finished(text, done[key]) for text, key in zip(marked, keys, strict=True)]
    return [reply_html(replies[key]) if replies.get(key) else WAITING for key in keys]


def _finished(text: str, answer: Answer) -> str:
    shown = f'<div class="reply">{text or "<em>The reply was empty.</em>"}</div>'
    if answer.reasoning:
        thought = f'<div class="reasoning">{lines(answer.reasoning)}</div>'
        shown += f'<details class="section"><summary>Reasoning</summary>{thought}</details>'
    foot = f"{answer.usage.completion_tokens} tokens, {ENDS.get(answer.finish_reason, '')}"
    return f'{shown}<div class="foot">{escape(foot)}</div>'


def progress_html(done: int, total: int) -> str:
    """How many cases have been run."""
    share = done / total if total else 0
    return (
        f'<div class="progress" role="progressbar" aria-valuenow="{share * 100:.0f}" aria-valuemin="0" aria-valuemax="100">'
        f'<div style="width: {share:.1%}"></div></div><p class="count-line" role="status">{done} of {total} cases</p>'
    )


def results_html(new: str, after: Sequence[Outcome], old: str = "", before: Sequence[Outcome] = ()) -> str:
    """A table of cases: what each version replies, and what the reply lacks."""
    columns = [(name, found) for name, found in ((old, before), (new, after)) if found]
    head = "".join(f"<th scope='col'>{escape(name)}</th>" for name, _ in columns)
    rows = "".join(
        f"<tr><th scope='row'>{_titled(outcome.case, outcome.message)}</th>"
        f"{''.join(f'<td>{_outcome(found[number])}</td>' for _, found in columns)}</tr>"
        for number, outcome in enumerate(after)
    )
    head = f'<thead><tr><th scope="col">Case</th>{head}</tr></thead>'
    return f'<table class="both-texts results">{head}<tbody>{rows}</tbody></table>'


def _titled(title: str, message: str) -> str:
    """A case by its name and by what the customer says in it, which may be the same."""
    return escape(title) + (f"<p>“{lines(message)}”</p>" if message != title else "")


def cases_html(cases: Cases) -> str:
    """What the customer says in each case, and what a reply must hold."""
    rows: list[tuple[str, Iterable[str]]] = [("Every reply", map(_rule, cases.every_reply))] if cases.every_reply else []
    rows += [(_titled(case.title, case.message) + _earlier(case), _asked(case)) for case in cases.cases]
    body = "".join(
        f"<tr><th scope='row'>{head}</th><td>{''.join(f'<p>{lines(text)}</p>' for text in asked)}</td></tr>"
        for head, asked in rows
    )
    head = '<thead><tr><th scope="col">Case</th><th scope="col">A reply must hold</th></tr></thead>'
    return f'<table class="both-texts results">{head}<tbody>{body}</tbody></table>'


def _earlier(case: Case) -> str:
    """The conversation before the message."""
    said = "".join(f"<p>Customer: {lines(said.customer)}</p><p>Agent: {lines(said.agent)}</p>" for said in case.history)
    return f"<details><summary>Said before</summary>{said}</details>" if said else ""


def _asked(case: Case) -> Iterator[str]:
    """What it is run with, where that is said, and what its reply must hold."""
    for name, value in case.variables.items():
        yield f"with {{{name}}}: {value}"
    if case.knowledge is not None:
        yield f"with knowledge: {case.knowledge or 'none'}"
    yield from map(_rule, case.expect)


def _rule(wanted: Assertion) -> str:
    """In the words of cases.yaml."""
    [(kind, value)] = wanted.model_dump(exclude_none=True, by_alias=True).items()
    return f"{kind.replace('_', ' ')}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"


def _outcome(outcome: Outcome) -> str:
    mark = '<span class="status good">passes</span>' if outcome.passed else '<span class="status bad">fails</span>'
    faults = "".join(f'<p class="fault">{lines(failure)}</p>' for failure in outcome.failures)
    reply = f"<details><summary>Reply</summary>{lines(outcome.reply)}</details>" if outcome.reply else ""
    return f"{mark}{faults}{reply}"


def tally(name: str, outcomes: Sequence[Outcome]) -> str:
    failed = sum(not outcome.passed for outcome in outcomes)
    return f"{name} passes {len(outcomes) - failed} of {len(outcomes)} cases."


def labels_html(labels: Mapping[str, int]) -> str:
    """Where each label is now."""
    chips = "".join(f'<span class="chip"><b>{escape(label)}</b> version {n}</span>' for label, n in sorted(labels.items()))
    return f'<div class="variables">{chips}</div>' if chips else '<div class="empty">No label is put yet.</div>'


def history_html(moves: Sequence[LabelMove]) -> str:
    """Who moved which label where, when and why, the latest first."""
    rows = "".join(
        f"<tr><td>{move.at:%d %b %Y, %H:%M}</td><td><b>{escape(move.label)}</b> "
        f"{f'{move.previous} → {move.version}' if move.previous else f'→ {move.version}'}"
        f"{' <span class=mark>forced</span>' if move.forced else ''}</td>"
        f"<td>{escape(move.who)}</td><td>{lines(move.why)}</td></tr>"
        for move in moves
    )
    head = "".join(f"<th scope='col'>{title}</th>" for title in ("When (UTC)", "Label", "Who", "Why"))
    return f'<table class="listing history"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>' if rows else ""
