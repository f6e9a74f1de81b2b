"""The evaluation's items: prompts in the desk's layout, made from held-out wordings and topics with a seed of its own.

Contract: `make_items` gives plain data (so that it can be cached): the chat messages up to the reply, and what is
right. Passages are ranked by the real encoder over the finished text, its mistakes included.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bot.starter import labels
from bot.starter.corpus import EVALUATION_SEED, World
from bot.starter.documents import Turn, user
from bot.starter.labels import LabelMaker
from bot.starter.meaning import Encoder
from bot.starter.ranking import THRESHOLD
from bot.starter.roles import Role
from bot.starter.shelf import Passage, Question, Statement, find_answer
from bot.starter.support import SupportMaker, facts_of
from bot.starter.talk import TalkMaker
from bot.starter.wordings import Split

Item = dict[str, Any]
SETS: dict[str, tuple[Split, Split]] = {"held wording": ("held", "train"), "held topic": ("held", "held"),
                                        "trained wording": ("train", "train")}  # fmt: skip
"""Name → (wordings, topics)."""


class ItemMaker:
    """Makes items. One per evaluation; numbers items so that each has its own random source."""

    def __init__(self, world: World, encoder: Encoder) -> None:
        self.world, self.encoder, self.number = world, encoder, 0

    def support(self, wording: Split, topic: Split) -> SupportMaker:
        """A fresh maker with its own random source."""
        self.number += 1
        maker = self.world.support(self.world.values(EVALUATION_SEED, self.number), wording, topic)
        maker.layout = maker.layouts["desk"]
        return maker

    def retrieve(self, question: str, statements: Sequence[Statement], count: int = 3) -> list[Passage]:
        """The desk's ranking: real embeddings of the finished text."""
        texts = [f"{statement.title}: {statement.sentence}" for statement in statements]
        vectors = self.encoder.encode([question, *texts])
        scores = vectors[1:] @ vectors[0]
        order = [int(place) for place in np.argsort(-scores) if scores[place] >= THRESHOLD]
        return [Passage(statements[place].title, (statements[place],)) for place in order[:count]]

    def question(self, maker: SupportMaker, known: bool) -> tuple[list[Statement], Question]:
        """A shelf and a question that it answers with a value that can be checked, or does not answer."""
        while True:
            statements, missing = maker.shelf.make(5)
            valued = [statement for statement in statements if statement.answers()]
            if known and valued:
                return statements, maker.ask(maker.values.pick(valued))
            if not known and missing:
                return statements, maker.values.pick(missing)

    def fact_item(
        self, name: str, known: bool, shuffle: bool = False, want: Sequence[str] = (), measure: str = "", steps: bool = True
    ) -> Item:
        """One question over retrieved passages; with `steps` the role has the passage named first."""
        maker = self.support(*SETS[name])
        statements, question = self.question(maker, known)
        role = maker.roles.make(want={"agent", *want, *(["think"] if steps else [])})
        typed = maker.message(question.text)
        passages = self.retrieve(typed, statements)
        if shuffle:
            maker.values.rng.shuffle(passages)
        while known and want and find_answer(question, passages) is None:
            statements, question = self.question(maker, known)
            typed = maker.message(question.text)
            passages = self.retrieve(typed, statements)
        facts = facts_of(question, passages)
        item = {"measure": measure, "set": name, "want": list(want), "facts": facts["facts"], "wrong": facts["wrong"],
                "fact": question.fact.id, "retrieved": facts["kind"] == "answer", "shown": len(passages),
                "first": find_answer(question, passages[:1]) is not None, "role": _role(role)}  # fmt: skip
        return item | {"messages": _messages([maker.head(role, passages), user(typed)])}

    def pair_items(self, measure: str) -> list[Item]:
        """One message and its passages under two roles, each with two demands of its own."""
        maker = self.support("held", "train")
        passages: list[Passage] = []
        while not passages:
            statements, question = self.question(maker, True)
            typed = maker.message(question.text)
            passages = self.retrieve(typed, statements)
        found = []
        for demands in maker.values.rng.sample(
            [("sign", "short"), ("opening", "formal"), ("sign", "friendly"), ("opening",)], 2
        ):
            role = maker.roles.make(want={"agent", *demands})
            messages = _messages([maker.head(role, passages), user(typed)])
            found.append({"measure": measure, "set": "two roles", "want": demands, "role": _role(role), "pair": self.number,
                          "messages": messages})  # fmt: skip
        return found

    def identity_item(self, name: str, measure: str) -> Item:
        """Who are you: the company and the agent's name."""
        maker = self.support(*SETS[name])
        role = maker.roles.make(want={"agent"})
        talk = TalkMaker(self.world.wordings, maker)
        asked = maker.message(talk.line(talk.talk["who"]["say"], "who", {"co": role.company, "ag": role.agent or ""}))
        messages = _messages([maker.head(role, []), user(asked)])
        return {"measure": measure, "set": name, "want": ["company", "name"], "role": _role(role), "messages": messages}

    def label_item(self, shots: int, measure: str) -> Item:
        """One message, four labels that training never saw."""
        self.number += 1
        values = self.world.values(EVALUATION_SEED, self.number)
        world = self.world
        document = LabelMaker(world.wordings, world.bank, world.intents, values, "held").make(4, shots, 1)
        return {"measure": measure, "set": "held labels", "labels": document.meta["labels"],
                "label": document.meta["label"], "messages": document.messages()[:-1]}  # fmt: skip

    def recall_item(self, measure: str, reference: bool) -> Item:
        """A fact from an earlier turn, or the customer's reference, wanted back."""
        while True:
            maker = self.support("held", "train")
            role = maker.roles.make(want={"agent"})
            if reference:
                talk = TalkMaker(self.world.wordings, maker)
                # The case adds to the role what it asks for, so it comes before the head is written.
                said = talk.case(role)
                turns = [maker.head(role, []), *said]
                asked = [place for place, turn in enumerate(turns) if turn.wants]
                if not asked:
                    continue
                return {"measure": measure, "set": "reference", "facts": [turns[asked[-1]].wants], "wrong": [],
                        "role": _role(role), "messages": _messages(turns[: asked[-1] + 1])}  # fmt: skip
            statements, missing = maker.shelf.make(4)
            turns, meta = maker.conversation(role, statements, missing)
            elsewhere = turns[0].text + turns[-2].text
            if meta["kind"] == "recall" and not any(fact in elsewhere for fact in meta["facts"]):
                return {"measure": measure, "set": "earlier fact", "facts": meta["facts"], "wrong": [],
                        "role": _role(role), "messages": _messages(turns[:-1])}  # fmt: skip


def _messages(turns: Sequence[Turn]) -> list[dict[str, str]]:
    return [{"role": turn.speaker, "content": turn.text} for turn in turns]


def _role(role: Role) -> dict[str, Any]:
    return {name: value for name, value in vars(role).items() if name not in ("text", "lines", "touches") and value}


def make_items(bank: Path, data: Path | None, count: int) -> list[Item]:
    """All items, `count` per measure and set."""
    world = World.open(bank, None)
    intents = labels.read_intents(data, world.wordings.sheet("labels").get("spaced"))
    maker = ItemMaker(World(world.wordings, world.bank, intents, None), Encoder(fast=True))
    plans: list[tuple[Callable[..., Item], dict[str, Any]]] = []
    for name in ("held wording", "held topic"):
        plans += [(maker.fact_item, {"name": name, "known": True, "measure": "B1"}),
                  (maker.fact_item, {"name": name, "known": True, "shuffle": True, "measure": "B1b"}),
                  (maker.fact_item, {"name": name, "known": False, "measure": "B3"})]  # fmt: skip
        plans.append((maker.fact_item, {"name": name, "known": True, "measure": "B1 plain", "steps": False}))
    plans.append((maker.fact_item, {"name": "trained wording", "known": True, "measure": "B1"}))
    for want in ("sign", "opening", "short", "formal", "friendly", "caring"):
        plan = {"name": "held wording", "known": True, "want": (want,), "measure": f"B4 {want}", "steps": False}
        plans.append((maker.fact_item, plan))
    plans.append((maker.identity_item, {"name": "held wording", "measure": "B4 identity"}))
    plans += [(maker.label_item, {"shots": shots, "measure": f"B5 {shots}-shot"}) for shots in (0, 1)]
    plans += [(maker.recall_item, {"measure": "B6", "reference": reference}) for reference in (False, True)]
    found = [make(**plan) for make, plan in plans for _ in range(count)]
    return found + [item for _ in range(count) for item in maker.pair_items("B7")]
