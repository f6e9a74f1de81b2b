"""OpenAI's chat-completion bodies ↔ our `Turn` and `Piece`. Translation only: no server, no model.

Our own fields are additive: `adapters: [{id, scale}]`, `prompt`, `knowledge`, `variables`. `model` chooses too: the base,
an adapter (`returns`, `returns@1`), or `agent`, the agent that customers meet.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from bot.errors import BotError, NotAvailable, NotFound
from bot.limits import MAX_MESSAGES
from bot.types import AgentSpec, Message, Piece, TokenScore, Turn, Usage

AGENT_MODEL = "agent"
_FINISHED = {"stop": "stop", "length": "length", "deadline": "length", "cancelled": "length", "error": "stop", None: None}
"""Why a reply ended, in the words that OpenAI has."""


class TextPart(BaseModel):
    """A text part of a message's content; images and audio are not taken."""

    type: Literal["text"]
    text: str


class WireMessage(BaseModel):
    """A message; `name` and other extras are accepted and not used."""

    model_config = ConfigDict(extra="ignore")
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]

    def plain(self) -> Message:
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return Message("system" if self.role == "developer" else self.role, text)


class AdapterChoice(BaseModel):
    """One adapter of a mix."""

    model_config = ConfigDict(extra="forbid")
    id: str
    scale: float = 1.0


class StreamOptions(BaseModel):
    """Whether a last chunk carries the usage."""

    include_usage: bool = False


class ChatRequest(BaseModel):
    """The body of POST /v1/chat/completions. Fields of OpenAI's that change nothing here are ignored."""

    model_config = ConfigDict(extra="ignore")

    model: str
    messages: list[WireMessage] = Field(min_length=1, max_length=MAX_MESSAGES)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    min_tokens: int | None = None
    ignore_eos: bool | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    n: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    tools: list[Any] | None = None
    response_format: dict[str, Any] | None = None
    adapters: list[AdapterChoice] | None = None
    prompt: str | None = None
    knowledge: str | None = None
    variables: dict[str, str] | None = None

    @property
    def include_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)


def to_turn(body: ChatRequest, base: str, agent: AgentSpec, adapters: Sequence[str]) -> Turn:
    """The turn that a body asks for. `base` is the base's model name, `agent` what `model: agent` means, `adapters` the
    names and versions there are."""
    unsupported = {
        "n other than 1": body.n not in (None, 1),
        "tools": body.tools,
        "response_format other than text": (body.response_format or {}).get("type", "text") != "text",
    }
    if wanted := [what for what, asked in unsupported.items() if asked]:
        raise NotAvailable(f"This server does not offer {', '.join(wanted)}.", "Leave it out.")
    if body.model not in (base, AGENT_MODEL, *adapters):
        raise NotFound("model", body.model[:100], [base, AGENT_MODEL, *adapters])
    given = {
        "temperature": body.temperature,
        "top_p": body.top_p,
        "max_tokens": body.max_tokens if body.max_completion_tokens is None else body.max_completion_tokens,
        "min_tokens": body.min_tokens,
        "ignore_eos": body.ignore_eos,
        "logprobs": (body.top_logprobs or 0) if body.logprobs else None,
        "stop": [body.stop] if isinstance(body.stop, str) else body.stop,
    }
    chosen = agent if body.model == AGENT_MODEL else AgentSpec("" if body.model == base else body.model)
    spec = AgentSpec(
        chosen.adapters if body.adapters is None else "+".join(f"{a.id}*{a.scale}" for a in body.adapters),
        chosen.prompt if body.prompt is None else body.prompt,
        chosen.knowledge if body.knowledge is None else body.knowledge,
    )
    return Turn(
        messages=tuple(message.plain() for message in body.messages),
        agent=spec,
        variables=body.variables or {},
        sampling={key: value for key, value in given.items() if value is not None},
        seed=body.seed or 0,
    )


def completion(ident: str, model: str, pieces: Sequence[Piece]) -> dict[str, Any]:
    """The whole reply in OpenAI's shape."""
    reply, last = "".join(piece.text for piece in pieces), pieces[-1]
    scores = [score for piece in pieces for score in piece.scores]
    choice = {"index": 0, "message": {"role": "assistant", "content": reply}, "logprobs": _logprobs(scores),
              "finish_reason": _FINISHED[last.finish_reason]}  # fmt: skip
    return {**_head(ident, "chat.completion", model), "choices": [choice], "usage": _usage(last.usage)}


def chunk(ident: str, model: str, piece: Piece, first: bool) -> str:
    """One server-sent event."""
    delta = {**({"role": "assistant"} if first else {}), **({"content": piece.text} if piece.text or first else {})}
    choice = {
        "index": 0,
        "delta": delta,
        "logprobs": _logprobs(piece.scores),
        "finish_reason": _FINISHED[piece.finish_reason],
    }
    return event({**_head(ident, "chat.completion.chunk", model), "choices": [choice]})


def usage_chunk(ident: str, model: str, usage: Usage | None) -> str:
    return event({**_head(ident, "chat.completion.chunk", model), "choices": [], "usage": _usage(usage)})


def event(data: dict[str, Any]) -> str:
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"


def error_body(error: BotError) -> dict[str, Any]:
    """OpenAI's shape of an error."""
    kind = "invalid_request_error" if error.status < 500 else "server_error"
    return {"error": {"message": str(error), "type": kind, "param": None, "code": error.code}}


def _head(ident: str, kind: str, model: str) -> dict[str, Any]:
    return {"id": ident, "object": kind, "created": int(time.time()), "model": model}


def _logprobs(scores: Sequence[TokenScore]) -> dict[str, Any] | None:
    def one(text: str, logprob: float) -> dict[str, Any]:
        # A token may hold a part of a character alone: it has no text, and so no bytes that could be told.
        return {"token": text, "logprob": logprob, "bytes": None if "\ufffd" in text else list(text.encode())}

    told = [one(s.text, s.logprob) | {"top_logprobs": [one(*top) for top in s.top]} for s in scores]
    return {"content": told, "refusal": None} if told else None


def _usage(usage: Usage | None) -> dict[str, int]:
    used = usage or Usage()
    return {
        "prompt_tokens": used.prompt_tokens,
        "completion_tokens": used.completion_tokens,
        "total_tokens": used.prompt_tokens + used.completion_tokens,
    }
