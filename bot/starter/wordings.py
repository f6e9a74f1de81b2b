"""The corpus's texts: reads the YAML files in `wordings/` and splits them into trained and held-out wordings.

Contract: a wording may hold alternatives `[a|b|]` (one is taken) and slots `{name}` (filled by `values.py`). Of every
list of wordings one or two are held out, chosen by a stable hash, and about one topic in nine is held out whole: those
appear in evaluation only. Further wordings in `more/` are trained only, so that what is held out stays the same and
figures of different runs compare. Knows nothing of roles, dialogues or models.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal

import yaml

Split = Literal["train", "held"]
FOLDER = Path(__file__).parent / "wordings"
CONTEXT_SLOTS = frozenset({"prod", "plan", "country", "word", "x", "X"})
"""Slots that name what a question is about; all other slots are facts."""

_INNERMOST = re.compile(r"\[([^\[\]]*)\]")
_SLOT = re.compile(r"\{(\w+)\}")
_HELD_TOPIC_PERCENT = 11
# "topic96" below is a salt under which the demo company's own topics (returns, billing, technical help) are trained.


def stable_hash(text: str) -> int:
    """The same number in every process and on every machine."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def choose(pattern: str, rng: random.Random) -> str:
    """One reading of a pattern: an alternative taken at every `[a|b]`."""
    while match := _INNERMOST.search(pattern):
        pattern = pattern[: match.start()] + rng.choice(match.group(1).split("|")) + pattern[match.end() :]
    return tidy(pattern)


def tidy(text: str) -> str:
    """Close the gaps that an empty alternative leaves."""
    return re.sub(r" +([?.,!:])", r"\1", re.sub(r" {2,}", " ", text)).strip()


def readings(pattern: str, limit: int, rng: random.Random) -> list[str]:
    """Up to `limit` different readings of a pattern."""
    found: dict[str, None] = {}
    for _ in range(limit * 3):
        found.setdefault(choose(pattern, rng))
        if len(found) == limit:
            break
    return list(found)


class Synonyms:
    """Swaps phrases for others of the same meaning, so that few wordings become many."""

    def __init__(self, groups: Sequence[Sequence[str]]) -> None:
        self._group = {phrase: tuple(group) for group in groups for phrase in group}
        phrases = sorted(self._group, key=len, reverse=True)
        self._pattern = re.compile(r"(?<![\w{])(" + "|".join(map(re.escape, phrases)) + r")(?![\w}])")

    def swap(self, text: str, rng: random.Random, share: float = 0.5) -> str:
        """The text with a share of its known phrases swapped."""
        if not self._group:
            return text
        return self._pattern.sub(lambda match: rng.choice(self._group[match[1]]) if rng.random() < share else match[1], text)


def fill(template: str, values: Mapping[str, str]) -> str:
    """A template with its slots filled."""
    return _SLOT.sub(lambda match: values[match.group(1)], template)


def slots(texts: Sequence[str]) -> set[str]:
    """The names of all slots in the texts."""
    return {name for text in texts for name in _SLOT.findall(text)}


def capital(text: str) -> str:
    """The text with a capital first letter."""
    return text[:1].upper() + text[1:]


def part(wordings: Sequence[str], key: str, split: Split, more: Sequence[str] = ()) -> tuple[str, ...]:
    """The trained or the held-out wordings of a list. Lists under three are too short to hold any out; `more` only train."""
    found = _part(tuple(wordings), key, split)
    return (*found, *more) if split == "train" else found


@cache
def _part(wordings: tuple[str, ...], key: str, split: Split) -> tuple[str, ...]:
    if len(wordings) < 3:
        return wordings
    ranked = sorted(wordings, key=lambda wording: stable_hash(f"{key}\n{wording}"))
    held = ranked[: 2 if len(wordings) >= 9 else 1]
    return tuple(wording for wording in wordings if (wording in held) == (split == "held"))


@dataclass(frozen=True)
class Fact:
    """Something that an article may state: wordings of the question, of the passage, of the reply."""

    id: str
    topic: str
    titles: tuple[str, ...]
    ask: tuple[str, ...]
    say: tuple[str, ...]
    reply: tuple[str, ...]
    names: tuple[str, ...] = ()
    named: bool = False
    wording_key: str = ""
    more_ask: tuple[str, ...] = ()
    more_say: tuple[str, ...] = ()
    """Wordings of `more/`: they are trained and never held out."""

    def wordings(self, which: Literal["ask", "say"], split: Split) -> tuple[str, ...]:
        """Trained or held-out wordings of the question or the passage."""
        own, more = (self.ask, self.more_ask) if which == "ask" else (self.say, self.more_say)
        return part(own, f"{self.wording_key or self.id}/{which}", split, more)

    @cached_property
    def slots(self) -> frozenset[str]:
        """Every slot that a value is needed for."""
        return frozenset(slots([*self.ask, *self.say, *self.reply, *self.names]) - {"x", "X"})

    @cached_property
    def facts(self) -> tuple[str, ...]:
        """The slots whose values are what the customer wants to know. A rule or a procedure has none: its sentences are
        different answers, and the reply quotes the one that the passage gives."""
        return tuple(sorted(set.intersection(*(slots([text]) for text in self.say)) - CONTEXT_SLOTS))


@dataclass(frozen=True)
class Wordings:
    """Everything read from the YAML files."""

    facts: tuple[Fact, ...]
    sheets: Mapping[str, Any]

    def topics(self, split: Split) -> dict[str, list[Fact]]:
        """Topic → its facts, of the trained or the held-out topics."""
        return self._topics[split]

    @cached_property
    def synonyms(self) -> dict[str, Synonyms]:
        """Interchangeable phrases of questions ("ask") and passages ("say")."""
        return {which: Synonyms(groups) for which, groups in self.sheets.get("synonyms", {}).items()}

    @cached_property
    def _topics(self) -> dict[Split, dict[str, list[Fact]]]:
        found: dict[Split, dict[str, list[Fact]]] = {"train": {}, "held": {}}
        for fact in self.facts:
            split: Split = "held" if stable_hash(f"topic96 {fact.topic}") % 100 < _HELD_TOPIC_PERCENT else "train"
            found[split].setdefault(fact.topic, []).append(fact)
        return found

    def sheet(self, name: str) -> Any:
        """One YAML file's content, by its name."""
        return self.sheets[name]


def load(folder: Path = FOLDER) -> Wordings:
    """Read every wording file of a folder."""
    sheets = {path.stem: yaml.safe_load(path.read_text()) for path in sorted(folder.glob("*.yaml"))}
    facts: list[Fact] = []
    for path in sorted((folder / "topics").glob("*.yaml")):
        for topic, entry in yaml.safe_load(path.read_text()).items():
            facts += _topic_facts(topic, entry)
    if "things" in sheets:
        facts += _thing_facts(sheets["kinds"], sheets["things"]["groups"])
    more = _read_more(folder / "more")
    return Wordings(tuple(_with_more(fact, more) for fact in facts), sheets)


def _read_more(folder: Path) -> dict[str, dict[str, tuple[str, ...]]]:
    """Fact id, or "kind NAME" for all facts of a kind → its further lines by their mark."""
    found = {}
    for path in sorted(folder.glob("*.yaml")):
        prefix = "kind " if path.stem == "kinds" else ""
        for key, block in yaml.safe_load(path.read_text()).items():
            found[prefix + key] = _lines(block)
    return found


def _with_more(fact: Fact, more: Mapping[str, Mapping[str, tuple[str, ...]]]) -> Fact:
    lines = more.get(fact.wording_key or fact.id)
    return replace(fact, more_ask=lines["?"], more_say=lines["="]) if lines else fact


def _lines(block: str) -> dict[str, tuple[str, ...]]:
    rows = [line.strip() for line in block.splitlines() if line.strip()]
    return {mark: tuple(row[1:].strip() for row in rows if row[0] == mark) for mark in "?=>"}


def _topic_facts(topic: str, entry: Mapping[str, str]) -> Iterator[Fact]:
    titles = tuple(title.strip() for title in entry["titles"].split("/"))
    for number, block in enumerate(entry["facts"].split("\n\n")):
        lines = _lines(block)
        yield Fact(f"{topic}/{number}", topic, titles, lines["?"], lines["="], lines[">"])


def _thing_facts(kinds: Mapping[str, str], groups: Sequence[Mapping[str, Any]]) -> Iterator[Fact]:
    for group in groups:
        for thing in group["things"]:
            names = tuple(name.strip() for name in thing.split(" / "))
            titles = tuple(capital(re.sub(r"^(the|a|an) ", "", name)) for name in names)
            for kind in group["kinds"]:
                lines = _lines(kinds[kind])
                yield Fact(
                    f"{names[0]}/{kind}", names[0], titles, lines["?"], lines["="], lines[">"], names,
                    bool(group.get("named")), f"kind {kind}",
                )  # fmt: skip
