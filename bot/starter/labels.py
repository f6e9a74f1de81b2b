"""Label tasks: classify messages into label sets that change with every document.

Contract: `LabelMaker.make` gives one document with several messages to label, zero-shot or with examples; labels keep
their meaning, or (with examples only) are invented words or letters. A fifth of all labels is held out by a stable
hash and appears in evaluation only. Sources: intent files of the data folder, the corpus's own topics, sentiments.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bot.starter.documents import Choice, Document, Turn, reply, system, user
from bot.starter.ranking import Bank
from bot.starter.values import Values
from bot.starter.wordings import Split, Wordings, choose, fill, part, stable_hash

Intents = Mapping[str, Mapping[str, Sequence[str]]]
"""Source → label → messages."""

_DULL = ("outofdomain", "contentonly", "openinggreeting", "closinggreeting", "confirmation", "rejection", "thankyou")


def read_intents(data: Path | None, spaced: Mapping[str, str] | None = None) -> Intents:
    """Labelled messages of the data folder; empty where there is none. `spaced` respells or drops labels."""
    found: dict[str, dict[str, list[str]]] = {}
    for path in sorted((data / "intents").rglob("*.gz")) if data else []:
        if "test" in path.name:
            continue
        source = path.name.split("_")[1] if path.name.startswith("multidogo") else path.parent.name
        for label, message in _rows(path):
            label = (spaced or {}).get(label, label)
            if label and len(message) < 160 and label not in _DULL:
                found.setdefault(source, {}).setdefault(label, []).append(message)
    return {source: {label: rows for label, rows in labels.items() if len(rows) >= 12} for source, labels in found.items()}


def _rows(path: Path) -> Iterator[tuple[str, str]]:
    with gzip.open(path, "rt") as file:
        if ".csv" in path.name:
            for row in csv.DictReader(file):
                yield row["category"].lower().strip("?"), row["text"].strip()
        else:
            for row in csv.DictReader(io.StringIO(file.read()), delimiter="\t", quoting=csv.QUOTE_NONE):
                if row["intent"] and "<div>" not in row["intent"]:
                    yield row["intent"], row["utterance"].strip()


def is_held(label: str) -> bool:
    """True for labels that only evaluation may use."""
    return stable_hash(f"label {label}") % 5 == 0


class LabelMaker:
    """Writes label documents of the trained or the held-out labels."""

    def __init__(self, wordings: Wordings, bank: Bank, intents: Intents, values: Values, split: Split = "train") -> None:
        self.sheet: Any = wordings.sheet("labels")
        self.more: Any = wordings.sheet("more_roles")["labels"]["instructions"]
        self.values, self.bank, self.split = values, bank, split
        self.intents = {
            source: {label: rows for label, rows in labels.items() if is_held(label) == (split == "held")}
            for source, labels in intents.items()
        }
        self.intents = {source: labels for source, labels in self.intents.items() if len(labels) >= 4}
        self.topics = {name: facts for name, facts in wordings.topics(split).items() if not facts[0].names}

    def label_set(self, count: int) -> dict[str, list[str]]:
        """Labels with messages: real intents, the corpus's own topics, or sentiments."""
        form = self.values.number(0, 9)
        if form < 5 and self.intents:
            labels = self.intents[self.values.pick(sorted(self.intents))]
            names = self.values.rng.sample(sorted(labels), min(count, len(labels)))
            return {name: self.values.rng.sample(list(labels[name]), 10) for name in names}
        if form < 9 or self.split == "held":
            names = self.values.rng.sample(sorted(self.topics), min(count, len(self.topics)))
            return {self.values.pick(self.topics[name][0].titles): self._questions(name) for name in names}
        found = {}
        for mood, messages in self.sheet["sentiment"].items():
            words = {"n": self.values.make("n"), "country": self.values.make("country")}
            texts = [fill(choose(message, self.values.rng), words) for message in messages]
            found[self.values.pick(self.sheet["sentiment_names"][mood])] = self.values.rng.sample(texts, 6)
        return found

    def _questions(self, topic: str) -> list[str]:
        phrases = [phrase for fact in self.topics[topic] for phrase in self.bank.phrases(fact, "ask", self.split)]
        drawn = self.values.rng.sample(phrases, min(10, len(phrases)))
        slots = set().union(*(fact.slots for fact in self.topics[topic]))
        return [fill(phrase.text, self.values.fill_slots(slots)) for phrase in drawn]

    def make(self, count: int | None = None, shots: int | None = None, queries: int | None = None) -> Document:
        """One document. `count` labels, `shots` examples per label, `queries` messages to label."""
        values = self.values
        messages = self.label_set(count or values.number(2, 6))
        shown = values.pick([0, 0, 0, 1, 1, 2]) if shots is None else shots
        disguise = "spaced" if shots is not None else values.pick(["plain", "spaced", "spaced", "invented", "letter"])
        if disguise in ("invented", "letter") and not shown:
            disguise = "spaced"
        names = {label: self._name(label, place, disguise) for place, label in enumerate(messages)}
        examples = [(text, names[label]) for label, texts in messages.items() for text in texts[:shown]]
        values.rng.shuffle(examples)
        turns = [self._instruction([names[label] for label in messages])]
        for text, name in examples:
            turns += [user(text), reply(name, weight=0.0)]
        asked = []
        for _ in range(queries or values.number(3, 9)):
            label = values.pick(sorted(messages))
            if len(messages[label]) > shown:
                text = messages[label].pop()
                asked.append((text, names[label]))
                choice = self._choice(turns[0].text, names[label]) if disguise in ("plain", "spaced") else None
                turns += [user(text), reply(names[label], [(names[label], 8.0, 4.0)], 2.0, choice)]
        if not asked:
            return self.make(count, shots, queries)
        return Document("labels", turns, {"kind": "label", "labels": sorted(names.values()), "label": asked[-1][1]})

    @staticmethod
    def _choice(instruction: str, name: str) -> Choice | None:
        """Where the label stands in the list, so that the heads that choose passages choose labels too. Only for labels that
        mean something: the likeness of words says nothing of others."""
        found = re.search(rf"(?:^- |, |: ){re.escape(name)}(?=,|\.|$)", instruction, re.M)
        return Choice(0, name, found.end() - len(name)) if found else None

    def _name(self, label: str, place: int, disguise: str) -> str:
        if disguise == "invented":
            return self.values.word()
        if disguise == "letter":
            return "ABCDEFGH"[place]
        return label.replace("_", " ") if disguise == "spaced" else label

    def _instruction(self, names: list[str]) -> Turn:
        self.values.rng.shuffle(names)
        found = part(self.sheet["instructions"], "labels", self.split, self.more)
        wording = choose(self.values.pick(found), self.values.rng)
        return system(fill(wording, {"l": ", ".join(names), "lines": "\n".join(f"- {name}" for name in names)}))
