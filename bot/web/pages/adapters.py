"""The engineers' tab: every adapter version, whether it may serve, and its card in words."""

from __future__ import annotations

import asyncio
from typing import Any

import gradio as gr

from bot.adapters.card import Card
from bot.desk import Desk
from bot.errors import BotError
from bot.web.auth import require
from bot.web.pages.handlers import QUIET, Update, spoken
from bot.web.pages.html import escape, notice, short_hash, table

NONE = '<div class="empty">No adapter is trained yet. <code>bot train RECIPE</code> makes one.</div>'


class Adapters:
    """The tab's components and their handlers."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.list = gr.HTML(NONE, padding=False, elem_id="adapter-list")
        with gr.Row(elem_classes="label-row"):
            self.ref = gr.Dropdown([], label="Card of", elem_id="card-of", scale=1)
            self.again = gr.Button("Look again", scale=0, min_width=120, size="md", elem_id="look-again")
        self.card = gr.HTML("", padding=False, elem_id="card")
        self.ref.input(self.show, [self.ref], [self.card], **QUIET)
        self.again.click(self.load, None, self.filled, **QUIET)

    @property
    def filled(self) -> list[Any]:
        """What `load` fills."""
        return [self.list, self.ref, self.card]

    @spoken
    async def load(self, request: gr.Request) -> Update:
        """The adapters as they lie on disk now."""
        require(request, "engineer")
        rows = await asyncio.to_thread(self._rows)
        refs = [ref for ref, _, _ in rows]
        card = await asyncio.to_thread(self._card, refs[0]) if refs else ""
        return {
            self.list: _list(rows) if rows else NONE,
            self.ref: gr.update(choices=refs, value=refs[0] if refs else None),
            self.card: card,
        }

    @spoken
    async def show(self, request: gr.Request, ref: str) -> str:
        require(request, "engineer")
        return await asyncio.to_thread(self._card, ref)

    def _rows(self) -> list[tuple[str, Card | None, str]]:
        """(ref, card, why it may not serve), newest version first."""
        rows = []
        for name in self.desk.adapters.names():
            for version in reversed(self.desk.adapters.versions(name)):
                ref = f"{name}@{version}"
                rows.append((ref, self._card_of(ref), self._fault(ref)))
        return rows

    def _card_of(self, ref: str) -> Card | None:
        try:
            return self.desk.adapters.card(ref)
        except BotError:
            return None

    def _fault(self, ref: str) -> str:
        try:
            self.desk.adapters.get(ref)
        except BotError as error:
            return str(error).removeprefix(f"Adapter {ref} is refused: ")
        return ""

    def _card(self, ref: str) -> str:
        fault = self._fault(ref)
        card = self._card_of(ref)
        told = (
            notice(f"{ref} is refused: {fault}", "bad")
            if fault
            else notice(f"{ref} is verified: it fits this base and may serve.", "good")
        )
        return f'<div class="card">{told}{_card_html(card) if card else ""}</div>'


def _list(rows: list[tuple[str, Card | None, str]]) -> str:
    body = "".join(
        f"<tr><th scope='row'>{escape(ref)}</th><td>{escape(card.method) if card else '–'}</td>"
        f"<td>{_day(card.made) if card else '–'}</td><td>{escape(card.prompt or 'none') if card else '–'}</td>"
        f"<td>{_status(fault, bool(card and card.claimed))}</td></tr>"
        for ref, card, fault in rows
    )
    head = "".join(f"<th scope='col'>{title}</th>" for title in ("Adapter", "Method", "Made", "Prompt", "State"))
    return f'<table class="listing"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _status(fault: str, claimed: bool) -> str:
    if fault:
        return f'<span class="status bad">refused: {escape(fault)}</span>'
    return f'<span class="status good">{"ready, claimed" if claimed else "ready"}</span>'


def _card_html(card: Card) -> str:
    made = [
        ("Adapter", f"{escape(card.name)}, version {card.version}"),
        ("Method", escape(card.method)),
        ("Made", _day(card.made)),
        ("Base", f"{escape(card.base)} {short_hash(card.base_hash)}"),
        ("Prompt in training", f"{escape(card.prompt or 'none')} {short_hash(card.prompt_hash)}"),
        ("Knowledge in training", escape(card.knowledge) or "none"),
        ("Seed", "" if card.seed is None else str(card.seed)),
        ("Source", f"claimed: {escape(card.source)}" if card.claimed else "trained here"),
        ("Intended use", escape(card.intended_use)),
        ("Limits", escape(card.limits)),
    ]
    gates = [
        (_words(gate.name), f"{_number(gate.value)}, limit {_number(gate.limit)}: {escape(gate.words)}")
        for gate in card.gates
    ]
    metrics = [(_words(name), _number(value)) for name, value in card.metrics.items()]
    recipe = [(_words(name), _value(value)) for name, value in card.recipe.items()]
    files = [(name, short_hash(value)) for name, value in {**card.data, **card.files}.items()]
    parts = [("How it was made", made), ("Measured", metrics), ("Gates", gates), ("Recipe", recipe), ("Files", files)]
    sections = "".join(f"<section><h3>{title}</h3>{table(rows)}</section>" for title, rows in parts if rows)
    return f'<div class="card-grid">{sections}</div>'


def _day(made: str) -> str:
    """An ISO time without what nobody reads in a table."""
    return escape(made[:16].replace("T", " "))


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _value(value: Any) -> str:
    return escape(", ".join(map(str, value)) if isinstance(value, list) else str(value))


def _words(name: str) -> str:
    return name.replace("_", " ").capitalize()
