"""Role instructions: makes one, says what it demands of a reply, and writes replies that obey it.

Contract: `RoleMaker.make` draws a role from the trained or held-out wordings; `Role.text` is what the system message says,
the other fields are what a reply owes it; `dress` turns the bare answer into that reply. Texts: `wordings/roles.yaml`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from bot.starter.values import Values
from bot.starter.wordings import Split, capital, choose, fill, part

TONES = ("formal", "friendly", "plain", "caring")


@dataclass
class Role:
    """Who the assistant is and what its replies owe the role."""

    company: str
    agent: str | None = None
    tone: str | None = None
    short: bool = False
    sign: str | None = None
    opening: str | None = None
    customer: str | None = None
    unknown: str | None = None
    case: str | None = None
    team: str | None = None
    reference: str | None = None
    think: bool = False
    text: str = ""
    lines: list[str] = field(default_factory=list)
    touches: list[str] = field(default_factory=list)
    """The words of tone that the latest reply was dressed with."""

    def heavy(self) -> list[tuple[str, float, float]]:
        """The parts of a reply that show obedience, with their learning weights."""
        styled = [(part, 4.0, 1.5) for part in (self.sign, self.opening, *self.touches) if part]
        named = [(part, 3.0, 1.5) for part in (self.customer, self.team) if part]
        return styled + named


class RoleMaker:
    """Draws roles. `split` says whether from trained or from held-out wordings."""

    def __init__(self, sheet: Any, more: Any, values: Values, split: Split) -> None:
        self.sheet, self.more, self.values, self.split = sheet, more, values, split

    def wording(self, *keys: str) -> str:
        """One wording of a kind of instruction."""
        entry, more = self.sheet, self.more
        for key in keys:
            entry, more = entry[key], more.get(key, {})
        return choose(self.values.pick(part(entry, "/".join(keys), self.split, tuple(more))), self.values.rng)

    def sign(self, role: Role) -> str:
        """A sign-off phrase."""
        return self._phrase("sign_patterns", role)

    def opening(self, role: Role) -> str:
        """An opening phrase."""
        return self._phrase("open_patterns", role)

    def _phrase(self, key: str, role: Role) -> str:
        values = self.values
        agent = role.agent or values.person()
        pattern = str(values.pick(self.sheet[key]))
        words = {"ag": agent, "co": role.company, "phrase": self.wording("phrases")}
        while "{word}" in pattern:
            pattern = pattern.replace("{word}", values.word(), 1)
        return capital(fill(pattern, words))

    def make(self, want: Collection[str] = (), grounded: bool = True, plain: bool = False) -> Role:
        """A role with the wanted demands; without `want`, with a random handful. `plain` adds none at all."""
        values = self.values
        role = Role(values.company(), values.first_name() if values.chance(0.75) or "agent" in want else None)
        demands = set(want) if want else (set() if plain else self._draw_demands())
        toned = role.agent is not None and values.chance(0.15)
        lines: list[str] = []
        for demand in sorted(demands - {"agent"}):
            asked = self._demand(role, demand)
            # An adjective in the identity may say the tone in place of a line of its own.
            lines += [] if toned and demand in ("tone", *TONES) else asked
        if grounded and values.chance(0.6):
            lines.append(self.wording("grounding"))
        if not want:
            lines += [self.wording("filler") for _ in range(values.pick([0, 0, 0, 1, 1, 2]))]
        values.rng.shuffle(lines)
        role.lines = [self._identity(role, toned), *lines]
        role.text = self._join([self._fill(line, role) for line in role.lines])
        return role

    def _draw_demands(self) -> set[str]:
        odds = {"sign": 0.28, "opening": 0.24, "tone": 0.42, "short": 0.14, "customer": 0.1, "unknown": 0.08,
                "hand": 0.12, "reference": 0.08, "topic": 0.12, "think": 0.6}  # fmt: skip
        drawn = {name for name, share in odds.items() if self.values.chance(share)}
        if "short" in drawn:
            drawn -= {"tone"}
        if "opening" in drawn:
            drawn -= {"customer"}
        return drawn

    def _demand(self, role: Role, demand: str) -> list[str]:
        values = self.values
        if demand == "tone" or demand in TONES:
            role.tone = values.pick(TONES) if demand == "tone" else demand
            return [self.wording("tone", role.tone)]
        if demand == "short":
            role.short = True
            return [self.wording("one_sentence")]
        if demand == "sign":
            role.sign = self.sign(role)
            return [self.wording("sign_off")]
        if demand == "opening":
            role.opening = self.opening(role)
            return [self.wording("opening")]
        if demand == "customer":
            role.customer = values.first_name()
            return [self.wording("customer_name")]
        if demand == "unknown":
            role.unknown = self.wording("unknown_phrases")
            return [self.wording("unknown")]
        if demand == "hand":
            role.case, role.team = values.pick(sorted(self.sheet["cases"])), values.of("teams")
            return [self.wording("hand_off")]
        if demand == "topic":
            return [self.wording("on_topic")]
        role.think = role.think or demand == "think"
        return [self.wording("think")] if demand == "think" else []

    def _identity(self, role: Role, toned: bool) -> str:
        if toned and role.tone:
            return self.wording("identity_toned")
        return self.wording("identity_named" if role.agent else "identity_unnamed")

    def _fill(self, line: str, role: Role) -> str:
        values = self.values
        words = {
            "ag": role.agent or "", "co": role.company, "sign": role.sign or "", "open": role.opening or "",
            "cname": role.customer or "", "unk": role.unknown or "", "team": role.team or "", "case": role.case or "",
            "team_cap": capital(role.team or ""), "ref": role.reference or "", "year": values.make("year"),
            "case_plural": self.sheet["cases"][role.case]["plural"] if role.case else "",
            "goods": values.pick(self.sheet["goods"]),
            "adj": values.pick(self.sheet["adjectives"][role.tone]) if role.tone else "",
        }  # fmt: skip
        return fill(line, words)

    def _join(self, lines: list[str]) -> str:
        form = self.values.number(0, 9)
        if form < 6:
            return " ".join(lines)
        if form < 8 or len(lines) < 3:
            return "\n".join(lines)
        return lines[0] + "\n" + "\n".join(f"- {line}" for line in lines[1:])

    def ask_first(self, role: Role, reference: str) -> None:
        """Add the demand to ask for a reference before anything else."""
        role.reference = reference
        role.text += " " + self._fill(self.wording("ask_reference"), role)

    @staticmethod
    def thought(role: Role, passage: str) -> str:
        """What a role that reasons first writes before its reply: the passage it rests on, "earlier" or "none".

        Naming the passage splits the task: one token chooses, and what follows only copies. Without it the choice has to
        be made anew at every word where two passages differ, from what comes later in them.
        """
        return f"<think>{passage}</think> " if role.think else ""

    def dress(self, role: Role, core: str, bare: bool = False) -> str:
        """The reply a role asks for: opening or name, the core, a touch of tone, the sign-off."""
        values, before, after = self.values, "", ""
        named = role.opening or role.customer
        if role.tone in ("formal", "friendly", "caring") and not role.short and not bare:
            before = values.pick(self.sheet["before"][role.tone]) if values.chance(0.7) and not named else ""
            after = values.pick(self.sheet["after"][role.tone]) if not before or values.chance(0.3) else ""
        role.touches = [before, after]
        if role.opening:
            before = role.opening
        elif role.customer:
            before = fill(values.pick(self.sheet["name_patterns"]), {"cname": role.customer})
        return " ".join(piece for piece in (before, core, after, role.sign) if piece)
