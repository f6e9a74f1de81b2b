"""Any OpenAI-compatible server (vLLM, SGLang, Ray Serve …) as the engine: adapters are models of that server.

An adapter is asked for as `name@<first 12 of its content hash>`, because such servers key their prefix caches by name:
a new version under an old name would be answered from the old one's cache. Weighted mixes, soft prompts, `score` and
`classify` by the base are not part of that protocol; a classifier on an encoder runs here. The server applies its own chat
template, so text that looks like a control token is broken up here first.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from bot.engine.gathered import gathered
from bot.errors import EngineError, NotAvailable, Overloaded
from bot.types import (
    Adapter,
    Ask,
    EngineState,
    FinishReason,
    Message,
    Mix,
    Outcome,
    Piece,
    Sampling,
    Score,
    TokenScore,
    Usage,
)

if TYPE_CHECKING:
    from openai import AsyncOpenAI

    from bot.engine.local.encoder import EncoderClassifiers

_CONTROL = re.compile(r"<(?=[|/]?[A-Za-z_|｜])|\[(?=/?(?:INST|SYS|AVAILABLE_TOOLS|TOOL_))")
_REASONS: dict[str, FinishReason] = {"stop": "stop", "length": "length"}


def break_control_tokens(text: str) -> str:
    """`text` with a zero-width space inside whatever could be read as a control token of some template."""
    return _CONTROL.sub(lambda match: match[0] + "\u200b", text)


def model_name(mix: Mix, base: str) -> str:
    """The server's model for a mix. Raises NotAvailable for a mix that is not one LoRA at weight 1."""
    if not mix.parts:
        return base
    if len(mix.parts) > 1 or mix.parts[0][1] != 1:
        raise NotAvailable(f"The remote engine cannot serve the mix {mix}.", "It takes one adapter at weight 1.")
    if mix.soft_prompt:
        raise NotAvailable(f"The remote engine cannot serve the soft prompt {mix}.", "Use the local engine, or a LoRA.")
    adapter = mix.parts[0][0]
    return f"{adapter.name}@{adapter.hash[:12]}"


class RemoteEngine:
    """`url` ends in /v1. `base` is the base model's name over there."""

    name = "remote"

    def __init__(self, url: str, key: str, base: str) -> None:
        self._url, self._key, self._base = url, key, base
        self._opened: AsyncOpenAI | None = None

    def _client(self) -> AsyncOpenAI:
        if self._opened is None:
            from openai import AsyncOpenAI

            self._opened = AsyncOpenAI(base_url=self._url, api_key=self._key or "none", max_retries=1)
        return self._opened

    @cached_property
    def _encoders(self) -> EncoderClassifiers:
        from bot.engine.local.encoder import EncoderClassifiers

        return EncoderClassifiers()

    async def load(self) -> str:
        return f"models of {self._url}"

    async def stream(
        self, messages: Sequence[Message], mix: Mix, sampling: Sampling, seed: int
    ) -> AsyncGenerator[Piece, None]:
        import openai

        model = model_name(mix, self._base)
        reason: FinishReason = "stop"
        usage = Usage()
        try:
            reply = await self._client().chat.completions.create(**_request(messages, model, sampling, seed))
            async with reply:
                async for chunk in reply:
                    if chunk.usage:
                        usage = Usage(chunk.usage.prompt_tokens, chunk.usage.completion_tokens)
                    for choice in chunk.choices:
                        reason = _REASONS.get(choice.finish_reason or "", reason)
                        # Not without content: a server may tell the probabilities of reasoning that it hides.
                        if choice.delta.content:
                            yield Piece(choice.delta.content, scores=_scores(choice.logprobs))
            yield Piece("", reason, usage)
        except openai.RateLimitError as error:
            raise Overloaded(f"The engine at {self._url} is full: {error.message}.", "Try again shortly.") from None
        except openai.NotFoundError:
            raise EngineError(f"The engine at {self._url} has no model {model!r}.", "Register the adapter there.") from None
        except openai.APIConnectionError:
            raise EngineError(f"No engine answers at {self._url}.", "Start it, or correct remote_url.") from None
        except openai.APIError as error:
            raise EngineError(f"The engine at {self._url} failed: {error.message}", "See that server's log.") from None

    async def score(self, messages: Sequence[Message], reply: str, mix: Mix) -> list[float]:
        raise NotAvailable("The remote engine cannot score a given reply.", "Use the local engine.")

    async def score_each(
        self, conversations: Sequence[Sequence[Message]], replies: Sequence[str], mix: Mix
    ) -> list[list[list[float]]]:
        return [[await self.score(messages, reply, mix) for reply in replies] for messages in conversations]

    def work_off(self, requests: Sequence[Ask | Score]) -> AsyncGenerator[tuple[int, Outcome], None]:
        return gathered(self, requests)

    async def classify(self, text: str, adapter: Adapter) -> dict[str, float]:
        # An encoder is small and runs here, whatever runs the base.
        if adapter.encoder:
            return await self._encoders.classify(text, adapter)
        raise NotAvailable(
            "The remote engine cannot classify by the base.", "Train with backbone: encoder, or use the local engine."
        )

    async def opens_reasoning(self) -> bool:
        return False

    def count(self, messages: Sequence[Message], mix: Mix = Mix()) -> int:
        return 0

    def fits(self, messages: Sequence[Message], reply: int, mix: Mix = Mix()) -> bool:
        return True

    def state(self) -> EngineState:
        return EngineState()

    async def close(self) -> None:
        if self._opened is not None:
            await self._opened.close()
            self._opened = None
        if "_encoders" in self.__dict__:
            self._encoders.close()


def _scores(told: Any) -> tuple[TokenScore, ...]:
    """OpenAI's log-probabilities as ours."""
    return tuple(
        TokenScore(token.token, token.logprob, tuple((top.token, top.logprob) for top in token.top_logprobs or ()))
        for token in (told.content or () if told else ())
    )


def _request(messages: Sequence[Message], model: str, sampling: Sampling, seed: int) -> dict[str, Any]:
    extra = {key: getattr(sampling, key) for key in ("min_tokens", "ignore_eos") if getattr(sampling, key)}
    request: dict[str, Any] = {
        "model": model,
        "messages": [{"role": m.role, "content": break_control_tokens(m.content)} for m in messages],
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "seed": seed,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if sampling.stop:
        request["stop"] = list(sampling.stop)
    if sampling.logprobs is not None:
        request |= {"logprobs": True, "top_logprobs": sampling.logprobs}
    if extra:
        request["extra_body"] = extra
    return request
