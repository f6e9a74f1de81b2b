"""One turn laid open: the prompt as sent, passages with scores, the reasoning that its customer did not get, tokens,
timings and what it was made with. For staff."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from bot.journal.models import TurnRecord
from bot.types import AgentSpec
from bot.web.pages.html import escape, lines, milliseconds, notice, short_hash, speed, state_chip, state_of, table

EMPTY = '<div class="empty">Send a message, then click it here or in the chat to see how its reply was made.</div>'
STAGES = {
    "resolve_ms": "Names resolved",
    "load_ms": "Base ready",
    "search_ms": "Knowledge searched",
    "render_ms": "Prompt rendered",
    "first_token_ms": "First token after",
    "total_ms": "Total",
}
ALWAYS = ("seed", "temperature")
"""Settings that are told also where they are 0; others are off then."""
ENDS = {
    "stop": "the model ended it",
    "length": "cut off at the token limit",
    "deadline": "cut off at the deadline",
    "cancelled": "stopped by the customer",
    "error": "failed",
}


def inspect_turn(turn: TurnRecord) -> str:
    """The whole turn as HTML."""
    parts = [
        _head(turn),
        notice(turn.error, "bad"),
        _section("Prompt as sent", _messages(turn.messages), f"{len(turn.messages)} messages", is_open=True),
        _section("Passages", _passages(turn), str(len(turn.passages)), is_open=True),
        _reasoning(turn),
        _section("Tokens and timings", table(_figures(turn)), is_open=True),
        _section("Made with", table(_provenance(turn))),
        _section("The same in a terminal", _code(command(_spec(turn), turn.question, turn.sampling))),
    ]
    return f'<div class="inspector">{"".join(parts)}</div>'


def _section(title: str, body: str, count: str = "", is_open: bool = False) -> str:
    extra = f' <span class="count">{escape(count)}</span>' if count else ""
    opened = " open" if is_open else ""
    return f'<details class="section"{opened}><summary>{escape(title)}{extra}</summary>{body}</details>'


def _head(turn: TurnRecord) -> str:
    names = [n for n in (turn.mix if turn.adapters else "", turn.prompt, turn.knowledge) if n]
    shown = " · ".join(names) or "no prompt, no adapter, no knowledge"
    return f'<div class="inspector-head">{state_chip(state_of(turn.adapters, turn.prompt))} {escape(shown)}</div>'


def messages_html(messages: Sequence[dict[str, Any]]) -> str:
    """Messages with their roles, as an engine gets them."""
    return "".join(
        f'<div class="sent sent-{escape(m["role"])}"><span class="role">{escape(m["role"])}</span>'
        f"<pre>{escape(m['content'])}</pre></div>"
        for m in messages
    )


def _messages(messages: Sequence[dict[str, Any]]) -> str:
    return messages_html(messages) or '<div class="empty">Nothing was sent.</div>'


def _passages(turn: TurnRecord) -> str:
    if not turn.passages:
        reason = "Nothing relevant was found." if turn.knowledge else "Knowledge was off."
        return f'<div class="empty">{reason}</div>'
    return "".join(
        f'<details class="passage"><summary><span class="score" style="--score:{max(0.0, p["score"]):.2f}">'
        f"{p['score']:.2f}</span><span>{escape(p['title'])}</span></summary>"
        f'<div>{lines(p["text"])}<p class="id">{escape(p["id"])}</p></div></details>'
        for p in turn.passages
    )


def _reasoning(turn: TurnRecord) -> str:
    """Folded, and only where there is any."""
    shown = f'<div class="reasoning">{lines(turn.reasoning)}</div>'
    return _section("Reasoning", shown, "not shown to the customer") if turn.reasoning else ""


def _figures(turn: TurnRecord) -> list[tuple[str, str]]:
    usage = turn.usage
    rows = [
        ("Prompt tokens", f"{usage.get('prompt_tokens', 0):,}"),
        ("Reply tokens", f"{usage.get('completion_tokens', 0):,}"),
        *[(title, milliseconds(turn.timings[key])) for key, title in STAGES.items() if key in turn.timings],
    ]
    if speed(turn):
        rows.append(("Speed", speed(turn)))
    return [*rows, ("End", f"{escape(turn.finish_reason)} ({ENDS.get(turn.finish_reason, '')})")]


def _provenance(turn: TurnRecord) -> list[tuple[str, str]]:
    adapters = [(f"Adapter {a['ref']}", f"weight {a['weight']:g}, {short_hash(a['hash'])}") for a in turn.adapters]
    sampling = ", ".join(f"{key} {value}" for key, value in turn.sampling.items() if value or key in ALWAYS)
    prompt = f"{escape(turn.prompt)} {short_hash(turn.prompt_hash)}" if turn.prompt else "none"
    return [
        ("Agent", short_hash(turn.agent_hash)),
        ("Base", short_hash(turn.base_hash)),
        ("Mix", f"<code>{escape(turn.mix)}</code>"),
        *adapters,
        ("Prompt", prompt),
        ("Knowledge", escape(turn.knowledge) or "off"),
        ("Sampling", escape(sampling)),
        ("Turn", f"{turn.id}, {turn.at:%Y-%m-%d %H:%M:%S} UTC"),
    ]


def _code(text: str) -> str:
    return f'<pre class="command">{escape(text)}</pre>'


def _spec(turn: TurnRecord) -> AgentSpec:
    return AgentSpec(turn.mix if turn.adapters else "", turn.prompt, turn.knowledge)


def command(spec: AgentSpec, question: str, sampling: dict[str, Any]) -> str:
    """A line for a shell that asks the same of the same agent."""
    words = ["bot", "chat"]
    for option, value in (("--prompt", spec.prompt), ("--adapters", spec.adapters), ("--knowledge", spec.knowledge)):
        words += [option, value or "none"]
    words += ["--seed", str(sampling.get("seed", 0))]
    if sampling.get("temperature") is not None:
        words += ["--temperature", f"{sampling['temperature']:g}"]
    return f"echo {shlex.quote(question)} | {shlex.join(words)}" if question else shlex.join(words)
