"""The ways to give a customer's message a label, alike from outside: messages → a score of each label.

A labeller's scores are log-probabilities (messages, labels), the labels in the order it was given; higher is likelier. A
prompt's label is scored by how likely its words are as the reply, a token, against how likely they are after messages at
large: a base prefers some labels whatever is asked. Nothing here knows which messages are held out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from bot.files import read_yaml
from bot.prompts.render import render
from bot.prompts.schema import Example, Prompt
from bot.training.labelled import Labelled
from bot.types import Adapter, Embedder, Engine, Message, Mix

_WORDS = Path(__file__).with_name("label_words.yaml")
SHOTS = 4
"""Examples that a few-shot prompt shows, as far as they fit. On the demo's training messages four told intents best, of 4, 8
and 16; the nearest did three times as well as the same ones for all, or the nearest of each label."""
_TYPICAL = 64
"""Messages that tell what a label's words cost at large. With it macro-F1 on the demo's training messages rose from 0.22 to
0.39 (intent) and from 0.27 to 0.44 (sentiment); a message without content in their place did worse."""
_REPLY = 32
"""Tokens that a label may take."""
_LEAST = 1e-9
"""A probability below this is counted as this: its logarithm stays a number."""


class Labeller(Protocol):
    async def scores(self, messages: Sequence[Labelled]) -> np.ndarray:
        """(messages, labels). Their own labels are not looked at."""
        ...


@dataclass(frozen=True)
class Head:
    """A fine-tuned classifier, asked as it is served."""

    engine: Engine
    adapter: Adapter
    labels: tuple[str, ...]

    async def scores(self, messages: Sequence[Labelled]) -> np.ndarray:
        found = [await self.engine.classify(message.text, self.adapter) for message in messages]
        return _logs([[shares.get(label, 0.0) for label in self.labels] for shares in found])


@dataclass(frozen=True)
class WordModel:
    """A fitted scikit-learn model of texts."""

    model: Any
    labels: tuple[str, ...]

    async def scores(self, messages: Sequence[Labelled]) -> np.ndarray:
        return _of_model(self.model, [message.text for message in messages], self.labels)


@dataclass(frozen=True)
class VectorModel:
    """A fitted scikit-learn model of an embedder's vectors."""

    model: Any
    embedder: Embedder
    labels: tuple[str, ...]

    async def scores(self, messages: Sequence[Labelled]) -> np.ndarray:
        vectors = await self.embedder.embed([message.text for message in messages])
        return _of_model(self.model, vectors, self.labels)


def _of_model(model: Any, features: Any, labels: Sequence[str]) -> np.ndarray:
    places = [list(model.classes_).index(label) for label in labels]
    return _logs(model.predict_proba(features)[:, places])


def _logs(shares: Any) -> np.ndarray:
    return np.log(np.maximum(np.asarray(shares, dtype=np.float64), _LEAST))


@dataclass(frozen=True)
class Pool:
    """Labelled messages to take examples from, with their unit vectors (messages, dimensions)."""

    messages: tuple[Labelled, ...]
    vectors: np.ndarray
    embedder: Embedder

    async def nearest(self, messages: Sequence[Labelled], count: int) -> list[list[Labelled]]:
        """For each message so many of its likes, the likest last; none of its own conversation."""
        wanted = await self.embedder.embed([message.text for message in messages])
        found = []
        for message, likeness in zip(messages, wanted @ self.vectors.T, strict=True):
            order = (self.messages[place] for place in np.argsort(-likeness, kind="stable"))
            others = (other for other in order if other.conversation != message.conversation)
            found.append([other for _, other in zip(range(count), others, strict=False)][::-1])
        return found


async def make_pool(messages: Sequence[Labelled], embedder: Embedder) -> Pool:
    return Pool(tuple(messages), await embedder.embed([message.text for message in messages]), embedder)


@dataclass
class Prompted:
    """The base, or a mix on it, under a prompt with the variables `task` and `labels`. `training` are messages whose labels
    it does not see, but for those in `pool`: with a pool it is shown the messages that are most like the one at hand, with
    their labels, as few-shot examples."""

    engine: Engine
    prompt: Prompt
    task: str
    labels: tuple[str, ...]
    training: tuple[Labelled, ...]
    pool: Pool | None = None
    mix: Mix = Mix()
    _at_large: np.ndarray | None = field(default=None, init=False)

    async def scores(self, messages: Sequence[Labelled]) -> np.ndarray:
        if self._at_large is None:
            self._at_large = (await self.likelihoods(spread(self.training, _TYPICAL))).mean(0)
        found: np.ndarray = await self.likelihoods(messages) - self._at_large
        return found

    async def likelihoods(self, messages: Sequence[Labelled]) -> np.ndarray:
        """Mean log-probability of a token of each label's words, their end included: (messages, labels)."""
        shown = await self.pool.nearest(messages, SHOTS) if self.pool else [[]] * len(messages)
        replies = [words(self.task, label) for label in self.labels]
        sent = [self._messages(message.text, examples) for message, examples in zip(messages, shown, strict=True)]
        found = await self.engine.score_each(sent, replies, self.mix)
        return np.array([[sum(logprobs) / len(logprobs) for logprobs in row] for row in found])

    def _messages(self, text: str, examples: Sequence[Labelled]) -> tuple[Message, ...]:
        """The farthest examples are left out where not all can be read."""
        told = {"task": about(self.task), "labels": ", ".join(words(self.task, label) for label in self.labels)}
        variables = {name: value for name, value in told.items() if name in self.prompt.variables}
        shown = [Example(customer=_plain(e.text), agent=words(self.task, e.label), source=e.conversation) for e in examples]
        while True:
            sent = render(self.prompt, shown, variables, None, [Message("user", text)])
            if not shown or self.engine.fits(sent, _REPLY, self.mix):
                return sent
            shown = shown[1:]


def spread(messages: Sequence[Labelled], most: int) -> list[Labelled]:
    """At most so many, evenly from all."""
    return [messages[place] for place in np.linspace(0, len(messages) - 1, min(most, len(messages))).astype(int)]


def _plain(text: str) -> str:
    """As a text of a prompt, in which braces stand for variables."""
    return text.replace("{", "{{").replace("}", "}}")


@cache
def _told() -> dict[str, Any]:
    return read_yaml(_WORDS)


def about(task: str) -> str:
    """What the prompt says that the label is about."""
    return str(_told()[task]["about"])


def words(task: str, label: str) -> str:
    """How a label is written in a prompt and in its reply."""
    return str(_told()[task].get("words", {}).get(label, label.replace("_", " ")))
