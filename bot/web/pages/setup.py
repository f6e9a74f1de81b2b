"""The controls of one set-up: the switch base · prompt · adapter · both, a prompt version, and adapters with weights.

The switch turns parts on and off and keeps what was chosen. Handlers get the controls' values as one flat list, in the
order of `controls`, and read them with `Setup.spec`; so a message goes out with what was on the screen at that moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from bot.desk import Desk
from bot.errors import AdapterError, BotError, InvalidMessage
from bot.types import AgentSpec
from bot.web.pages.html import notice, state_of

ROWS = 8
"""Adapters that can be ticked: as many as a mix takes. The rows are a fixed pool, so that no message overtakes a redraw."""
SLIDER_END = 2.0
SWITCH = [("Base", "base"), ("Prompt", "prompt"), ("Adapter", "adapter"), ("Both", "both")]
UNKNOWN = "The page is older than the server. Reload it."

Updates = list[Any]


@dataclass
class Parts:
    """What can be chosen: adapter names with their versions, prompt names with their pointers."""

    adapters: dict[str, list[int]] = field(default_factory=dict)
    prompts: dict[str, list[tuple[str, str]]] = field(default_factory=dict)

    @classmethod
    def of(cls, desk: Desk) -> Parts:
        adapters: dict[str, list[int]] = {}
        for name in desk.adapters.names():
            versions = desk.adapters.versions(name)
            try:
                fits = desk.adapters.card(f"{name}@{versions[-1]}").method != "classifier"
            except AdapterError:
                fits = True  # Choosing it tells why it cannot serve.
            if fits:
                adapters[name] = versions
        return cls(adapters, {name: pointers(desk, name) for name in desk.prompts.names()})


def pointers(desk: Desk, name: str) -> list[tuple[str, str]]:
    """Labels first, then versions, newest first: (what is shown, what stands after the @)."""
    labels = sorted(desk.journal.labels(name).items(), key=lambda item: (item[0] != "production", item[0]))
    shown = [(f"{label} (v{version})", label) for label, version in labels]
    return shown + [(f"v{version}", str(version)) for version in reversed(desk.prompts.versions(name))]


class Setup:
    """One set-up on a page. `name` makes its element ids."""

    def __init__(self, name: str, title: str = "") -> None:
        self.names = gr.State([])
        self.switch = gr.Radio(
            SWITCH, value="both", label=title or "Switch", elem_id=f"{name}-switch", elem_classes="switch"
        )
        with gr.Row(elem_classes="tight"):
            self.prompt = gr.Dropdown([], label="Prompt", elem_id=f"{name}-prompt", min_width=120)
            self.pointer = gr.Dropdown([], label="Version", elem_id=f"{name}-version", min_width=120)
        self.ticks: list[gr.Checkbox] = []
        self.versions: list[gr.Dropdown] = []
        self.weights: list[gr.Slider] = []
        with gr.Column(elem_classes="adapters"):
            gr.HTML('<span class="field-label">Adapters and their weights</span>', padding=False)
            self.empty = gr.HTML("", padding=False, elem_classes="slot")
            self._rows = [self._row(name, number) for number in range(ROWS)]

    def _row(self, name: str, number: int) -> Any:
        with gr.Row(visible=False, elem_classes="adapter-row") as row:
            tick = gr.Checkbox(False, label="", container=False, min_width=90, elem_id=f"{name}-tick-{number}")
            version = gr.Dropdown(
                [],
                label="Version",
                show_label=False,
                container=False,
                min_width=88,
                scale=0,
                visible=False,
                elem_classes="framed",
            )
            weight = gr.Slider(
                0, SLIDER_END, 1.0, step=0.05, label="", show_label=False, container=False, min_width=120,
                elem_id=f"{name}-weight-{number}", buttons=[],
            )  # fmt: skip
        self.ticks.append(tick)
        self.versions.append(version)
        self.weights.append(weight)
        return row

    @property
    def controls(self) -> list[Any]:
        """Inputs of every handler that reads this set-up."""
        return [self.names, self.switch, self.prompt, self.pointer, *self.ticks, *self.versions, *self.weights]

    @property
    def filled(self) -> list[Any]:
        """Outputs of `fill`."""
        return [*self.controls, self.empty, *self._rows]

    @staticmethod
    def chosen(values: Sequence[Any]) -> AgentSpec:
        """The prompt and the mix as chosen, whatever the switch says."""
        names, _, prompt, pointer, *rows = values
        ticks, versions, weights = rows[:ROWS], rows[ROWS : 2 * ROWS], rows[2 * ROWS :]
        if any(ticks) and not names:
            raise InvalidMessage(UNKNOWN)
        terms = []
        for name, tick, version, weight in zip(names, ticks, versions, weights, strict=False):
            if tick:
                terms.append(f"{name}@{version}" + (f"*{weight:g}" if weight != 1 else ""))
        return AgentSpec("+".join(terms), f"{prompt}@{pointer}" if prompt and pointer else "")

    @classmethod
    def spec(cls, values: Sequence[Any], knowledge: str = "") -> AgentSpec:
        """What the switch lets through."""
        chosen, state = cls.chosen(values), values[1]
        if state in ("adapter", "both") and not chosen.adapters:
            raise InvalidMessage(f"The switch is on {state}, but no adapter is ticked.", "Tick one, or switch to prompt.")
        return AgentSpec(
            chosen.adapters if state in ("adapter", "both") else "",
            chosen.prompt if state in ("prompt", "both") else "",
            knowledge,
        )

    def fill(self, parts: Parts, agent: AgentSpec) -> Updates:
        """Updates for `filled`: everything that there is, with `agent` chosen as far as it is there."""
        mix = _terms(agent.adapters)
        names = list(parts.adapters)[:ROWS]
        ticks, versions, weights = [], [], []
        for number in range(ROWS):
            name = names[number] if number < len(names) else ""
            known = parts.adapters.get(name, [])
            version, weight = mix.get(name, (None, 1.0))
            ticks.append(gr.update(label=name, value=name in mix))
            newest = known[-1] if known else None
            versions.append(
                gr.update(
                    choices=[(f"v{n}", n) for n in reversed(known)],
                    value=version if version in known else newest,
                    visible=len(known) > 1,
                )
            )
            weights.append(gr.update(value=weight, label=f"Weight of {name}"))
        prompt, pointer = _prompt(parts, agent.prompt)
        state = state_of([name for name in mix if name in names], agent.prompt)
        return [
            names,
            state,
            gr.update(choices=list(parts.prompts), value=prompt),
            gr.update(choices=parts.prompts.get(prompt or "", []), value=pointer),
            *ticks, *versions, *weights,
            _remark(parts, mix),
            *[gr.update(visible=number < len(names)) for number in range(ROWS)],
        ]  # fmt: skip

    def refresh(self, parts: Parts, values: Sequence[Any]) -> list[tuple[Any, Any]]:
        """(component, update) that offer what is there now and keep what is chosen."""
        names, chosen = values[0], self.chosen(values)
        if not names and not values[2]:
            return [(self.names, gr.skip())]  # The page is not filled yet: what stands there is nobody's choice.
        updates = list(zip(self.filled, self.fill(parts, chosen), strict=True))
        # The rows are redrawn only where the adapters changed, for that resets the weights of those not ticked.
        kept = (self.prompt, self.pointer) if names == list(parts.adapters)[:ROWS] else self.filled
        return [(c, u) for c, u in updates if any(c is k for k in kept) and c is not self.switch]


def _terms(mix: str) -> dict[str, tuple[int | None, float]]:
    """`returns@1*0.7+friendly` → {"returns": (1, 0.7), "friendly": (None, 1.0)}."""
    terms: dict[str, tuple[int | None, float]] = {}
    for term in mix.split("+") if mix not in ("", "base") else []:
        ref, _, weight = term.strip().partition("*")
        name, _, version = ref.partition("@")
        terms[name] = (int(version) if version.isdecimal() else None, min(float(weight or 1), SLIDER_END))
    return terms


def _prompt(parts: Parts, ref: str) -> tuple[str | None, str | None]:
    """Name and pointer of a prompt reference; of the first prompt where it names none that there is."""
    name, _, pointer = ref.partition("@")
    if name not in parts.prompts:
        name, pointer = next(iter(parts.prompts), ""), ""
    known = [value for _, value in parts.prompts.get(name, [])]
    wanted = pointer or "production"
    return name or None, wanted if wanted in known else next(iter(known), None)


def _remark(parts: Parts, mix: dict[str, tuple[int | None, float]]) -> str:
    missing = [name for name in mix if name not in parts.adapters]
    if not parts.adapters:
        return notice("No adapter is trained yet. bot train makes one.")
    if missing:
        return notice(f"Not trained here: {', '.join(missing)}.")
    return notice(f"{len(parts.adapters) - ROWS} more are not shown.") if len(parts.adapters) > ROWS else ""


def pointer_update(desk: Desk, name: str | None) -> Any:
    """The version choices after another prompt was picked."""
    try:
        choices = pointers(desk, name) if name else []
    except BotError:
        choices = []
    return gr.update(choices=choices, value=choices[0][1] if choices else None)
