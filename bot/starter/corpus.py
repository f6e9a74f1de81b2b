"""The corpus as a function: (seed, number) → document. The same pair gives the same document on every machine.

Contract: documents are made on the fly and never stored, so a corpus is as long as a training run wants it to be.
Training uses wordings and topics of the trained half only; evaluation draws its own through the same makers with
`held` and a seed that training refuses.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

from bot.starter import labels, real
from bot.starter.documents import Document
from bot.starter.labels import Intents, LabelMaker
from bot.starter.loose import Loose
from bot.starter.ranking import Bank
from bot.starter.real import RealMaker, RealText
from bot.starter.support import SupportMaker
from bot.starter.talk import TalkMaker
from bot.starter.values import Values
from bot.starter.wordings import FOLDER, Split, Wordings, load, stable_hash

EVALUATION_SEED = 2_000_003
SHARES = {"support": 0.42, "talk": 0.14, "labels": 0.11, "matching": 0.16, "faq": 0.08, "dialogue": 0.09}
"""Share of documents; real text (`faq`, `dialogue` and half of `matching`) is a quarter of them."""


@dataclass(frozen=True)
class World:
    """Everything a document may be made from. Reading it takes about a second; workers read it once."""

    wordings: Wordings
    bank: Bank
    intents: Intents
    text: RealText | None
    loose: Loose | None = None

    @classmethod
    def open(cls, bank: Path, data: Path | None, wordings: Path = FOLDER) -> World:
        """Read wordings, bank, near words and, where there is one, the data folder."""
        read = load(wordings)
        intents = labels.read_intents(data, read.sheet("labels").get("spaced"))
        loose = Loose.load(bank / "near.json", read.sheet("follow")["small_words"])
        return cls(read, Bank.load(bank), intents, real.read(data) if data else None, loose)

    def values(self, seed: int, number: int) -> Values:
        """The random source of one document."""
        return Values(self.wordings.sheet("names"), random.Random(stable_hash(f"{seed}/{number}")))

    def support(self, values: Values, wording: Split = "train", topic: Split = "train") -> SupportMaker:
        """A maker of grounded documents."""
        return SupportMaker(self.wordings, self.bank, values, wording, topic)

    def document(self, seed: int, number: int) -> Document:
        """One training document."""
        if seed == EVALUATION_SEED:
            raise ValueError(f"seed {seed} is kept for evaluation; train with another one")
        values = self.values(seed, number)
        kind = values.rng.choices(list(SHARES), list(SHARES.values()))[0]
        maker = self.support(values)
        maker.loose = self.loose
        if kind == "labels":
            return LabelMaker(self.wordings, self.bank, self.intents, values).make()
        if kind == "talk":
            return TalkMaker(self.wordings, maker).make()
        if kind == "support" or (self.text is None and kind != "matching"):
            return maker.make()
        if kind == "matching" and (self.text is None or values.chance(0.5)):
            return maker.matching()
        assert self.text is not None
        reader = RealMaker(self.wordings, self.text, maker)
        if kind == "matching":
            return reader.matching()
        return reader.answered() if kind == "faq" else reader.dialogue()
