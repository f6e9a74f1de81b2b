"""Talk that needs no passage: small talk, hand-offs, cases with a reference, rude, unclear and off-topic messages.

Contract: `TalkMaker.make` gives one document. Its system message mostly carries the desk's "no article matches" line
or stray passages, because the desk retrieves for every message, so that a greeting is still answered as a greeting.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bot.starter.documents import Document, Turn, reply, system, user
from bot.starter.roles import Role
from bot.starter.support import SupportMaker
from bot.starter.wordings import Wordings, choose, fill, part

_SMALL = ("greeting", "thanks", "bye", "who", "who", "who", "who", "who", "who", "robot", "how", "what_can", "human", "rude",
          "unclear", "joke", "praise", "bored", "wait", "injection", "personal", "off_topic", "off_topic")  # fmt: skip


class TalkMaker:
    """Writes documents without facts; borrows roles, layout and stray passages from a `SupportMaker`."""

    def __init__(self, wordings: Wordings, support: SupportMaker) -> None:
        self.support, self.values, self.roles = support, support.values, support.roles
        self.talk: Any = wordings.sheet("talk")
        self.cases: Any = wordings.sheet("cases")
        self.wording = support.wording

    def line(self, sheet: Any, key: str, words: dict[str, str] | None = None, split: bool = True) -> str:
        """One wording of a list, filled."""
        pool = part(sheet, key, self.wording) if split else sheet
        return fill(choose(self.values.pick(pool), self.values.rng), words or {})

    def head(self, role: Role) -> Turn:
        """The system message of a turn that found no passage, or only stray ones."""
        form = self.values.number(0, 9)
        if form < 2:
            return system(role.text)
        if form < 8:
            return self.support.head(role, [])
        statements, _ = self.support.shelf.make(2)
        stray = self.support.shelf.retrieve(self.support.ask(self.values.pick(statements)), statements, 2)
        return self.support.head(role, stray)

    def make(self) -> Document:
        """A random document of talk."""
        values = self.values
        form = values.number(0, 9)
        if form < 5:
            role = self.roles.make(grounded=False)
            turns = self.small(role)
        elif form < 6:
            role = self.roles.make(want={"hand", *self._extra()}, grounded=False)
            turns = [*(self.exchange(role, "greeting") if values.chance(0.3) else []), *self.hand_off(role)]
        elif form < 7:
            role = self.roles.make(grounded=False)
            turns = self.refused_then(role)
        else:
            role = self.roles.make(grounded=False, want=set(self._extra()) or {"agent"})
            turns = self.case(role)
        return Document("talk", [self.head(role), *turns], {"kind": "talk", "role": role})

    def _extra(self) -> list[str]:
        odds = {"think": 0.5, "sign": 0.25, "opening": 0.12, "tone": 0.25, "customer": 0.08}
        return [name for name, share in odds.items() if self.values.chance(share)]

    def exchange(self, role: Role, kind: str) -> list[Turn]:
        """One message of small talk and its reply."""
        values = self.values
        words = {"co": role.company, "ag": role.agent or role.company, "country": values.of("countries"),
                 "n": str(values.number(2, 99)), "n2": str(values.number(2, 99))}  # fmt: skip
        entry = self.talk[kind]
        asked = self.support.typed(self.line(entry["say"], kind, words))
        answers = entry["reply_unnamed"] if kind == "who" and not role.agent else entry["reply"]
        core = self.line(answers, kind, words, split=False)
        heavy = [*role.heavy(), (role.company, 3.0, 1.5), (role.agent or "", 3.0, 2.0), (core, 2.5, 1.0)]
        return [user(asked), reply(self.roles.thought(role, "none") + self.roles.dress(role, core, bare=True), heavy)]

    def small(self, role: Role) -> list[Turn]:
        """A few exchanges of small talk."""
        kinds = [self.values.pick(_SMALL) for _ in range(self.values.pick([1, 2, 2, 3]))]
        if self.values.chance(0.4):
            kinds = ["greeting", *(kind for kind in kinds if kind != "greeting")]
        return [turn for kind in kinds for turn in self.exchange(role, kind)]

    def hand_off(self, role: Role) -> list[Turn]:
        """A message that the role hands to a team, or, for contrast, one that it does not."""
        cases = self.roles.sheet["cases"]
        said = self.support.message(self.line(cases[role.case]["say"], f"case {role.case}"))
        core = self.line(self.roles.sheet["hand_replies"], "hand", {"team": role.team or ""}, split=False)
        turns = [user(said), self._reply(role, core, role.team or "")]
        return turns if self.values.chance(0.8) else [*self.exchange(role, "what_can"), *turns]

    def refused_then(self, role: Role) -> list[Turn]:
        """A question nobody can answer, the offer of a person, and what the customer says to it."""
        statements, missing = self.support.shelf.make(2)
        question = self.support.pick_question(statements, missing)
        refusal = self.roles.dress(role, self.support.refusal(role), bare=True)
        said = [user(self.support.message(question.text)), reply(refusal, role.heavy(), weight=0.0)]
        return [*said, *self.exchange(role, self.values.pick(["yes_person", "yes_person", "no_person", "human"]))]

    def case(self, role: Role) -> list[Turn]:
        """A problem that needs a reference: asked for, noted, repeated when the customer wants it back."""
        values, cases = self.values, self.cases
        problem = values.pick(cases["problems"])
        reference = values.pick(problem["refs"] if values.chance(0.5) else cases["references"])
        if values.chance(0.8):
            self.roles.ask_first(role, reference)
        words = {"ref": reference, "v": values.reference(reference), "name": values.first_name()}
        said = self.line(problem["say"], "problem " + problem["say"][0])
        greeting = self._introduction(role, words) if values.chance(0.25) else []
        if values.chance(0.3):
            first = self.line(cases["give_first"], "give_first", words | {"problem": said})
            told = [user(self.support.message(first)), self._noted(role, words)]
            return [*greeting, *told, *self._later(role, words, bool(greeting))]
        ask = values.pick(problem["sorry"]) + " " + self.line(cases["ask"], "ask", words, split=False)
        turns = [*greeting, user(self.support.message(said)), self._reply(role, ask, reference)]
        if values.chance(0.2):
            missing = self.line(cases["missing"], "missing", words)
            core = self.line(cases["missing_reply"], "", words, split=False)
            return [*turns, user(self.support.message(missing)), self._reply(role, core, "")]
        given = self.line(cases["give"], "give", words)
        return [*turns, user(given), self._noted(role, words), *self._later(role, words, bool(greeting))]

    def _reply(self, role: Role, core: str, key: str) -> Turn:
        heavy = [*role.heavy(), (key, 4.0, 2.5), (core, 2.5, 1.0)]
        return reply(self.roles.thought(role, "none") + self.roles.dress(role, core, bare=True), heavy)

    def _noted(self, role: Role, words: dict[str, str]) -> Turn:
        return self._reply(role, self.line(self.cases["noted"], "", words, split=False), words["v"])

    def _introduction(self, role: Role, words: dict[str, str]) -> list[Turn]:
        core = self.line(self.cases["name_reply"], "", words, split=False)
        said = self.support.message(self.line(self.cases["name_say"], "name_say", words))
        return [user(said), self._reply(role, core, words["name"])]

    def _later(self, role: Role, words: dict[str, str], named: bool) -> list[Turn]:
        turns: list[Turn] = []
        for kind in self._later_kinds(named):
            key = words["name"] if kind == "name" else words["v"]
            say, answer = ("name_ask", "name_recall") if kind == "name" else (kind, f"{kind}_reply")
            if kind == "thanks":
                turns += self.exchange(role, "thanks")
                continue
            asked = self.support.message(self.line(self.cases[say], say, words))
            wants = key if kind == "repeat" else ""
            turns += [
                user(asked, wants=wants),
                self._reply(role, self.line(self.cases[answer], "", words, split=False), key),
            ]
        return turns

    def _later_kinds(self, named: bool) -> Sequence[str]:
        kinds = ["repeat", "repeat", "extra", "thanks", *(["name", "name"] if named else [])]
        return self.values.rng.sample(kinds, self.values.pick([0, 1, 1, 2]))
