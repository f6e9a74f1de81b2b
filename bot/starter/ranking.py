"""The bank of wordings with their meanings, so that passages are ranked as the desk's retriever would rank them.

Contract: `build` embeds a sample of every fact's readings once (minutes, cached on disk); `Bank` then ranks by one
product per question, which keeps generation at thousands of documents a second. Values are filled in afresh later:
numbers move a sentence's meaning little. Evaluation does not use this shortcut but embeds the finished text.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from bot.starter.meaning import Encoder, Vectors
from bot.starter.values import Values
from bot.starter.wordings import Fact, Split, Synonyms, Wordings, capital, fill, readings

THRESHOLD = 0.2
"""Cosine below which the desk keeps no passage: low, because one right passage in ten scores under 0.3."""

Which = Literal["ask", "say"]
_SAMPLES: dict[tuple[Which, Split], int] = {
    ("ask", "train"): 32, ("ask", "held"): 5, ("say", "train"): 12, ("say", "held"): 3,
}  # fmt: skip


@dataclass(frozen=True)
class Phrase:
    """One reading of a wording, slots still open, and its row among the vectors."""

    text: str
    row: int


class Bank:
    """Readings per fact, with vectors."""

    def __init__(self, phrases: dict[str, list[Phrase]], vectors: Vectors) -> None:
        self._phrases = phrases
        self._vectors = vectors

    def phrases(self, fact: Fact, which: Which, split: Split) -> Sequence[Phrase]:
        """Readings of one fact's questions or passages."""
        return self._phrases[f"{fact.id}|{which}|{split}"]

    def scores(self, question: Phrase, sentences: Sequence[Phrase]) -> Vectors:
        """Cosine of a question with each sentence."""
        rows = [sentence.row for sentence in sentences]
        return np.asarray(self._vectors[rows].astype(np.float32) @ self._vectors[question.row].astype(np.float32))

    def save(self, folder: Path) -> None:
        """Write the bank to a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        rows = {key: [[phrase.text, phrase.row] for phrase in found] for key, found in self._phrases.items()}
        np.save(folder / "bank.npy", self._vectors.astype(np.float16))
        (folder / "bank.json").write_text(json.dumps(rows))

    @classmethod
    def load(cls, folder: Path) -> Bank:
        """Read a bank that `save` wrote."""
        rows = json.loads((folder / "bank.json").read_text())
        phrases = {key: [Phrase(text, row) for text, row in found] for key, found in rows.items()}
        return cls(phrases, np.load(folder / "bank.npy", mmap_mode="r"))


def _templates(fact: Fact, which: Which, split: Split, rng: random.Random, synonyms: Mapping[str, Synonyms]) -> list[str]:
    wordings = fact.wordings(which, split)
    wanted = _SAMPLES[(which, split)]
    each = max(1, -(-wanted // len(wordings))) + 1
    found = [reading for wording in wordings for reading in readings(wording, each, rng)]
    rng.shuffle(found)
    if split == "train" and which in synonyms:
        found = list(dict.fromkeys(synonyms[which].swap(text, rng) for text in found))
    if not fact.names:
        return found[:wanted]
    named = []
    for template in found[:wanted]:
        name = rng.choice(fact.names)
        named.append(template.replace("{X}", capital(name)).replace("{x}", name))
    return named


def build(wordings: Wordings, encoder: Encoder | None, seed: int = 0) -> Bank:
    """Sample and embed every fact's readings. Without an encoder (tests) the meanings are random."""
    rng = random.Random(seed)
    phrases: dict[str, list[Phrase]] = {}
    texts: list[str] = []
    for fact in wordings.facts:
        examples = Values(wordings.sheet("names"), rng).fill_slots(fact.slots)
        for which, split in _SAMPLES:
            rows = phrases.setdefault(f"{fact.id}|{which}|{split}", [])
            for template in _templates(fact, which, split, rng, wordings.synonyms):
                rows.append(Phrase(template, len(texts)))
                filled = fill(template, examples)
                texts.append(filled if which == "ask" else f"{fact.titles[0]}: {filled}")
    if encoder is None:
        vectors = np.random.default_rng(seed).standard_normal((len(texts), 8)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    else:
        vectors = encoder.encode(texts)
    return Bank(phrases, vectors)
