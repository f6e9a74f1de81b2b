"""The words every room shares: plain frozen data and the protocols rooms are handed.

Knows nothing of files, models, databases or the web, and imports nothing of ours.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np

Role = Literal["system", "user", "assistant"]
ROLE_OF: dict[str, Role] = {"system": "system", "human": "user", "ai": "assistant"}
"""LangChain's word for who speaks → ours."""
Method = Literal["lora", "soft-prompt", "classifier"]
FinishReason = Literal["stop", "length", "deadline", "cancelled", "error"]
PersonRole = Literal["customer", "operator", "lead", "engineer"]
ROLES: tuple[PersonRole, ...] = ("customer", "operator", "lead", "engineer")
"""What people may be; each may do what those before it may."""


def content_hash(*parts: str | bytes) -> str:
    """Hex SHA-256 over the parts, each length-prefixed so that ("ab", "c") and ("a", "bc") differ."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Message:
    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn. `no_repeat_ngram_size` looks at generated tokens only, so copying from the prompt stays
    possible (the transformers option of that name counts the prompt too)."""

    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 160
    min_tokens: int = 0
    stop: tuple[str, ...] = ()
    ignore_eos: bool = False
    no_repeat_ngram_size: int = 0
    logprobs: int | None = None
    """How many likeliest tokens to tell beside each one chosen; None tells nothing."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """One verified version of an adapter on disk."""

    name: str
    version: int
    path: Path
    hash: str
    method: Method
    virtual_tokens: int = 0
    """Places that a soft prompt takes before the prompt."""
    labels: tuple[str, ...] = ()
    """What a classifier tells apart, in its head's order."""
    encoder: Path | None = None
    """Folder of the encoder that a classifier stands on; None where that is the base."""

    @property
    def ref(self) -> str:
        return f"{self.name}@{self.version}"


@dataclass(frozen=True, slots=True)
class Mix:
    """Zero or more adapters with weights, in the order they were named. `bot.limits.check_mix` says what may stand
    together."""

    parts: tuple[tuple[Adapter, float], ...] = ()

    @property
    def soft_prompt(self) -> Adapter | None:
        return next((adapter for adapter, _ in self.parts if adapter.method == "soft-prompt"), None)

    @property
    def loras(self) -> tuple[tuple[Adapter, float], ...]:
        return tuple((adapter, weight) for adapter, weight in self.parts if adapter.method == "lora")

    @property
    def virtual_tokens(self) -> int:
        return sum(adapter.virtual_tokens for adapter, _ in self.parts)

    @property
    def hash(self) -> str:
        """Identity by content: same weights on the same adapter contents, whatever they are called or ordered."""
        return content_hash(*sorted(f"{adapter.hash}*{weight!r}" for adapter, weight in self.parts))

    def __str__(self) -> str:
        return "+".join(a.ref if w == 1 else f"{a.ref}*{w:g}" for a, w in self.parts) or "base"


@dataclass(frozen=True, slots=True)
class Passage:
    """A section of an article. `score` is the cosine similarity to the question, -1 … 1."""

    id: str
    title: str
    text: str
    article: str
    score: float = 0.0


@dataclass(frozen=True, slots=True)
class AgentSpec:
    """What a caller asks for, by name: `adapters` is a mix like "returns*0.7+friendly*0.3" ("" is the bare base),
    `prompt` is like "support@production" ("" is no role at all), `knowledge` a collection ("" is none)."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    adapters: str = ""
    prompt: str = ""
    knowledge: str = ""


@dataclass(frozen=True, slots=True)
class Turn:
    """One question to an agent: the conversation so far, the last message being the customer's."""

    messages: tuple[Message, ...]
    agent: AgentSpec = AgentSpec()
    variables: dict[str, str] = field(default_factory=dict)
    sampling: dict[str, object] = field(default_factory=dict)
    """Overrides of the prompt's decoding defaults, by Sampling's field names."""
    seed: int = 0
    conversation: str = ""
    passages: tuple[Passage, ...] | None = None
    """Passages to use instead of searching, so that two set-ups can be compared on the same ones."""


@dataclass(frozen=True, slots=True)
class Usage:
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True)
class TokenScore:
    """A chosen token, its natural log-probability before any sampling rule, and the likeliest tokens with theirs."""

    text: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a reply as it comes. The last one carries `finish_reason` and `usage`, and maybe no text. `scores` are
    there where they were asked for: those of all tokens since the piece before, the end token not among them."""

    text: str
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    scores: tuple[TokenScore, ...] = ()


@dataclass(frozen=True, slots=True)
class Ask:
    """One of a set of requests: a reply is wanted."""

    messages: tuple[Message, ...]
    mix: Mix
    sampling: Sampling
    seed: int


@dataclass(frozen=True, slots=True)
class Score:
    """One of a set of requests: how likely `reply` is after `messages` and after `before`, what the assistant said first,
    such as its reasoning, which is not counted."""

    messages: tuple[Message, ...]
    mix: Mix
    reply: str
    before: str = ""


@dataclass(frozen=True, slots=True)
class Said:
    """A whole reply. Milliseconds since the reading of its prompt began, to the first piece and to the end."""

    text: str
    finish_reason: FinishReason
    usage: Usage
    first_token_ms: float
    total_ms: float


@dataclass(frozen=True, slots=True)
class Scored:
    """Log-probability (natural) of each token of a reply and of its end token."""

    logprobs: tuple[float, ...]


Outcome = Said | Scored | Exception


@dataclass(frozen=True, slots=True)
class EngineState:
    """What an engine is doing now; zeros where it cannot tell. Prefixes are counted in tokens since its start, and in
    bytes that are kept now."""

    running: int = 0
    waiting: int = 0
    adapters: int = 0
    """Adapters in memory."""
    prefix_queries: int = 0
    prefix_hits: int = 0
    prefix_bytes: int = 0


class Embedder(Protocol):
    """Texts to unit vectors. `id` names the model, so that an index made with another is not mixed with this one."""

    id: str

    async def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Float32 array of shape (len(texts), dimensions), rows of length 1."""
        ...

    def close(self) -> None: ...


class Labels(Protocol):
    """Movable pointers to prompt versions."""

    def resolve(self, name: str, label: str) -> tuple[int, str]:
        """Version and content hash that `name@label` points to. Raises NotFound, listing the labels there are."""
        ...


@runtime_checkable
class Engine(Protocol):
    """The seam between an agent and whatever runs the model.

    Chat template, tokens, batching, caches and stopping are the engine's own business. Errors are `BotError`s; a verb
    that an engine lacks raises `NotAvailable`.
    """

    name: str

    async def load(self) -> str:
        """Get ready now rather than at the first question → what runs, in words."""
        ...

    def stream(self, messages: Sequence[Message], mix: Mix, sampling: Sampling, seed: int) -> AsyncGenerator[Piece, None]:
        """The reply in pieces. Closing the iterator stops the generation."""
        ...

    async def score(self, messages: Sequence[Message], reply: str, mix: Mix) -> list[float]:
        """Log-probability (natural) of each token of `reply` and of its end token, given `messages`."""
        ...

    async def score_each(
        self, conversations: Sequence[Sequence[Message]], replies: Sequence[str], mix: Mix
    ) -> list[list[list[float]]]:
        """`score` of each of several replies to each of several conversations. The messages are read once for all replies,
        what conversations have in common once for all of them; the same set gives the same numbers."""
        ...

    def work_off(self, requests: Sequence[Ask | Score]) -> AsyncGenerator[tuple[int, Outcome], None]:
        """A set of requests at once: the place of each with what became of it, as they are done, an error being that
        request's alone. No limit of a queue applies. The local engine starts on them in their order and gives the same
        numbers for the same set, whatever it did before and whoever else is served. Closing the iterator stops the work."""
        ...

    async def classify(self, text: str, adapter: Adapter) -> dict[str, float]:
        """Probability of each label under a classifier adapter."""
        ...

    async def opens_reasoning(self) -> bool:
        """Whether every reply begins inside its reasoning, because the base's chat template opens it; False where the
        engine cannot tell."""
        ...

    def count(self, messages: Sequence[Message], mix: Mix = Mix()) -> int:
        """Tokens that `messages` fill before the reply begins, a soft prompt's included; 0 where the engine cannot
        tell."""
        ...

    def fits(self, messages: Sequence[Message], reply: int, mix: Mix = Mix()) -> bool:
        """Whether they leave room for a reply of `reply` tokens, or for a good part of a long one; True where the
        engine cannot tell."""
        ...

    def state(self) -> EngineState:
        """What it is doing now. Any thread may ask."""
        ...

    async def close(self) -> None:
        """Stop and free what is held. Replies under way end as cancelled."""
        ...
