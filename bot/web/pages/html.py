"""Pieces of HTML that pages share. Everything that is not ours is escaped here, so a reply, a passage or a prompt can
show text and nothing else."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from html import escape as escape
from typing import Any

from bot.journal.models import TurnRecord

STATES = ("base", "prompt", "adapter", "both")
SHOWN = 2_000
"""Characters of a question that a chat shows; the journal has all."""


def lines(text: str) -> str:
    """Escaped text with its line breaks. No line is blank, or Markdown would take over from there."""
    return escape(text).replace("\r", "").replace("\n", "<br>")


def state_of(adapters: object, prompt: object) -> str:
    """base, prompt, adapter or both."""
    return "both" if adapters and prompt else "adapter" if adapters else "prompt" if prompt else "base"


def state_chip(state: str) -> str:
    return f'<span class="state state-{state}">{state}</span>'


def chips(texts: Iterable[str]) -> str:
    return "".join(f'<span class="chip">{escape(text)}</span>' for text in texts)


def notice(text: str, kind: str = "info") -> str:
    """`kind` is info, good or bad."""
    role = "alert" if kind == "bad" else "status"
    return f'<div class="notice notice-{kind}" role="{role}">{lines(text)}</div>' if text else ""


def table(rows: Sequence[tuple[str, str]]) -> str:
    """Keys and values; the values are HTML."""
    body = "".join(f"<tr><th scope='row'>{escape(key)}</th><td>{value}</td></tr>" for key, value in rows)
    return f'<table class="facts"><tbody>{body}</tbody></table>'


def sources(passages: Sequence[dict[str, Any]]) -> str:
    """The passages under a reply: titles that open."""
    if not passages:
        return ""
    items = "".join(
        f'<details class="source"><summary>{escape(p["title"])}</summary><div>{lines(p["text"])}</div></details>'
        for p in passages
    )
    return f'<div class="sources"><span class="sources-label">Sources</span>{items}</div>'


def said(text: str) -> str:
    """A customer's words as they were typed, as Markdown that changes nothing in them."""
    short = text if len(text) <= SHOWN else f"{text[:SHOWN]} … ({len(text):,} characters)"
    return _LINE_START.sub(r"\1\\\2", _ACTIVE.sub(r"\\\1", escape(short, quote=False)))


def reply_markdown(text: str) -> str:
    """A model's reply as Markdown that can neither bring HTML nor fetch an image from elsewhere."""
    return re.sub(r"!+(?=\[)", "", escape(text, quote=False))


def short_hash(value: str) -> str:
    """The beginning of a hash; the whole of it under the pointer."""
    return f'<code title="{escape(value)}">{escape(value[:12])}</code>' if value else "–"


def milliseconds(value: float) -> str:
    return f"{value / 1000:.2f} s" if value >= 1000 else f"{value:.0f} ms"


def speed(turn: TurnRecord) -> str:
    """Tokens a second after the first one, or "" where that cannot be told."""
    first, total = turn.timings.get("first_token_ms"), turn.timings.get("total_ms")
    made = turn.usage.get("completion_tokens", 0)
    if first is None or total is None or made < 2 or total <= first:
        return ""
    return f"{(made - 1) / (total - first) * 1000:.0f} tokens/s"


def figures(turn: TurnRecord) -> str:
    """Timings and tokens of a turn in one line."""
    parts = []
    if "first_token_ms" in turn.timings:
        parts.append(f"first token {milliseconds(turn.timings['first_token_ms'])}")
    if "total_ms" in turn.timings:
        parts.append(f"total {milliseconds(turn.timings['total_ms'])}")
    if turn.usage.get("prompt_tokens"):
        parts.append(f"{turn.usage['prompt_tokens']} + {turn.usage['completion_tokens']} tokens")
    return " · ".join([*parts, speed(turn)] if speed(turn) else parts)


_ACTIVE = re.compile(r"([\\`*_\[\]~|#!])")
_LINE_START = re.compile(r"^(\s*\d*)([-+=.)])", re.MULTILINE)
"""Lists, rules and underlined headings begin a line."""
_WORD = re.compile(r"\{\w+\}|\s+|\w+|[^\w\s]")


def _steps(before: str, after: str) -> Iterator[tuple[bool, str, str]]:
    """Runs of words, escaped, in order: whether they are the same, what was there, what is there now."""
    left, right = _WORD.findall(before), _WORD.findall(after)
    for tag, a, b, c, d in difflib.SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        yield tag == "equal", lines("".join(left[a:b])), lines("".join(right[c:d]))


def _marked(tag: str, text: str, same: bool) -> str:
    return text if same or not text else f"<{tag}>{text}</{tag}>"


def differences(before: str, after: str) -> tuple[str, str]:
    """Both texts, escaped, each with the words marked that the other lacks."""
    steps = list(_steps(before, after))
    left = "".join(_marked("del", gone, same) for same, gone, _ in steps)
    return left, "".join(_marked("ins", new, same) for same, _, new in steps)


def inline_difference(before: str, after: str) -> str:
    """One escaped text with what went struck out and what came underlined."""
    steps = _steps(before, after)
    return "".join(gone if same else _marked("del", gone, False) + _marked("ins", new, False) for same, gone, new in steps)
