"""Turns as messages of a Gradio Chatbot: always two a turn, so that message n belongs to turn n // 2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from bot.journal.models import TurnRecord
from bot.web.pages.html import escape, figures, lines, reply_markdown, said, sources, state_chip, state_of

Bubble = dict[str, Any]
THUMBS = {"up": "Like", "down": "Dislike"}
"""In Gradio's words."""
WAITING = '<span class="waiting" role="status">Writing a reply …</span>'


def chatbot(label: str, height: str, elem_id: str, placeholder: str = "") -> gr.Chatbot:
    """A chat whose text is escaped before it gets there and sanitised once more when it is shown."""
    return gr.Chatbot(
        label=label,
        show_label=False,
        elem_id=elem_id,
        height=height,
        placeholder=placeholder,
        sanitize_html=True,
        # A price is no formula.
        latex_delimiters=[],
        allow_tags=False,
        allow_file_downloads=False,
        buttons=[],
        layout="bubble",
        elem_classes="chat",
    )


def user(text: str) -> Bubble:
    return {"role": "user", "content": said(text)}


def under_way(question: str, reply: str) -> list[Bubble]:
    """The turn that is being answered now."""
    said_so_far: Any = reply_markdown(reply) if reply.strip() else _html(WAITING)
    return [user(question), {"role": "assistant", "content": said_so_far}]


def bubbles(turns: Sequence[TurnRecord], staff: bool = False) -> list[Bubble]:
    """Finished turns. Staff see under each reply which set-up gave it."""
    return [b for turn in turns for b in (user(turn.question), {"role": "assistant", "content": _reply(turn, staff)})]


def thumbed(turns: Sequence[TurnRecord], thumbs: Sequence[str | None]) -> Bubble:
    """An update of a customer's chat: finished turns, each with the thumb that it was given."""
    return gr.update(value=bubbles(turns), feedback_value=[THUMBS.get(thumb or "") for thumb in thumbs])


def _reply(turn: TurnRecord, staff: bool) -> list[Any]:
    """The reply's text, and what stands under it as a part of its own: a screen reader reads text and not markup."""
    parts = []
    if turn.finish_reason == "error":
        parts.append(f'<div class="fault">This message was not answered. {lines(turn.error)}</div>')
    elif turn.finish_reason == "cancelled":
        parts.append('<div class="cut">Stopped.</div>')
    elif not turn.reply.strip():
        parts.append('<div class="cut">The reply was empty.</div>')
    parts += [sources(turn.passages)] * bool(turn.passages) + [_foot(turn)] * staff
    text = [reply_markdown(turn.reply)] * bool(turn.reply.strip())
    return text + [_html("".join(parts))] * bool(parts)


def _html(text: str) -> gr.HTML:
    return gr.HTML(text, padding=False)


def _foot(turn: TurnRecord) -> str:
    state = state_of(turn.adapters, turn.prompt)
    names = [turn.mix] * bool(turn.adapters) + [turn.prompt] * bool(turn.prompt)
    text = escape(" · ".join([*names, figures(turn)] if figures(turn) else names))
    return f'<div class="foot">{state_chip(state)} {text}</div>'
