"""Questions said loosely, so that few are met twice: words left out, put in another order, swapped for near ones.

Contract: `neighbours(texts, encoder, small)` finds the near words of all words in the texts once; `Loose.say` then changes a
text at random. Only plain lower-case words change: values, names and numbers are the same afterwards. Training alone
uses it; without it a model learns the trained wordings by heart and takes any other for a question without an answer.
"""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bot.files import write_atomic
from bot.starter.meaning import Encoder

_WORD = re.compile(r"(?<![\w{'@./-])[a-z]{3,}(?![\w}'@/-]|\.\w)")
_NEAR = 0.6
"""Cosine of two words' meanings from which one may stand for another: inflections, synonyms, a few that just go together."""
_MOST = 6
_COMMON = 12_000
"""Words looked at: MiniLM's vocabulary stands in the order of how frequent its words are."""


@dataclass(frozen=True)
class Loose:
    """Says texts loosely."""

    near: Mapping[str, Sequence[str]]
    small: Collection[str]
    """Words that a question can do without; they are left out, and never swapped."""

    def say(self, text: str, rng: random.Random) -> str:
        """The text; half of them are left as they are."""
        form = rng.random()
        if form < 0.5:
            return text
        if form < 0.55:
            text = self._short(text)
        elif form < 0.75:
            text = self._drop(text, rng)
        if form > 0.7:
            share = rng.choice((0.1, 0.15, 0.25))
            text = _WORD.sub(lambda match: self._other(match[0], rng) if rng.random() < share else match[0], text)
        return text

    def _other(self, word: str, rng: random.Random) -> str:
        found = self.near.get(word)
        return rng.choice(found) if found and word not in self.small else word

    def _short(self, text: str) -> str:
        """Only the words that carry the meaning, as one types into a search box."""
        kept = [word for word in text.split() if word.lower().strip(",") not in self.small]
        return " ".join(kept) if len(kept) >= 2 else text

    def _drop(self, text: str, rng: random.Random) -> str:
        words = text.split()
        kept = [word for word in words if not _plain(word) or rng.random() >= (0.4 if word in self.small else 0.06)]
        if len(kept) > 3 and rng.random() < 0.3:
            place = rng.randrange(len(kept) - 1)
            kept[place], kept[place + 1] = kept[place + 1], kept[place]
        return " ".join(kept) if len(kept) >= 2 else text

    def save(self, path: Path) -> None:
        """Write the near words to a file."""
        write_atomic(path, json.dumps(self.near))

    @classmethod
    def load(cls, path: Path, small: Collection[str]) -> Loose:
        """Read what `save` wrote."""
        return cls(json.loads(path.read_text()), frozenset(small))


def _plain(word: str) -> bool:
    return word.isalpha() and word.islower()


def neighbours(texts: Iterable[str], encoder: Encoder, small: Collection[str]) -> Loose:
    """The near words of every word of the texts that is met twice, out of the vocabulary's common words and the texts'."""
    met = Counter(word for text in texts for word in _WORD.findall(text))
    words = sorted(word for word, count in met.items() if count > 1 and word not in small)
    common = [word for word in encoder.vocabulary() if re.fullmatch("[a-z]{3,}", word)][:_COMMON]
    others = sorted({*words, *common} - set(small))
    place = {word: row for row, word in enumerate(others)}
    vectors = encoder.encode(others)
    near: dict[str, list[str]] = {}
    for word in words:
        scores = vectors @ vectors[place[word]]
        ranked = np.argsort(-scores)[1 : _MOST + 1]
        found = [others[row] for row in ranked if scores[row] >= _NEAR]
        if found:
            near[word] = found
    return Loose(near, small)
