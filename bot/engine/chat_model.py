"""An engine with a mix as a LangChain chat model: streaming, usage metadata, stop strings."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.chat_models import agenerate_from_stream, generate_from_stream
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from pydantic import ConfigDict

from bot.blocking import iterate
from bot.errors import InvalidMessage
from bot.types import ROLE_OF, Engine, Message, Mix, Piece, Sampling

Pieces = AsyncGenerator[Piece, None]


class ChatSwitchboard(BaseChatModel):
    """`engine` answering with `mix`. `temperature`, `max_tokens` and `seed` may also be given per call."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    engine: Engine
    mix: Mix = Mix()
    temperature: float = 0.0
    max_tokens: int = 160
    stop: list[str] | None = None
    seed: int = 0

    @property
    def _llm_type(self) -> str:
        return f"switchboard-{self.engine.name}"

    @property
    def model_name(self) -> str:
        return str(self.mix)

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"engine": self.engine.name, "mix": str(self.mix), "temperature": self.temperature, "seed": self.seed}

    def _pieces(
        self, messages: list[BaseMessage], stop: list[str] | None, given: dict[str, Any]
    ) -> AsyncGenerator[Piece, None]:
        names = {field.name for field in dataclasses.fields(Sampling)} - {"logprobs"}
        sampling = Sampling(
            **{
                "temperature": self.temperature,
                "max_tokens": self.max_tokens,
                **{k: v for k, v in given.items() if k in names},
                "stop": tuple(stop or self.stop or ()),
            }
        )
        return self.engine.stream([_message(m) for m in messages], self.mix, sampling, int(given.get("seed", self.seed)))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for piece in iterate(lambda: self._pieces(messages, stop, kwargs)):
            chunk = _chunk(piece, str(self.mix))
            if run_manager:
                run_manager.on_llm_new_token(piece.text, chunk=chunk)
            yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        async for piece in self._pieces(messages, stop, kwargs):
            chunk = _chunk(piece, str(self.mix))
            if run_manager:
                await run_manager.on_llm_new_token(piece.text, chunk=chunk)
            yield chunk

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return generate_from_stream(self._stream(messages, stop, run_manager, **kwargs))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return await agenerate_from_stream(self._astream(messages, stop, run_manager, **kwargs))


def _message(message: BaseMessage) -> Message:
    if message.type not in ROLE_OF:
        raise InvalidMessage(f"A message of type {message.type!r} cannot be sent.", "Use system, human and ai messages.")
    return Message(ROLE_OF[message.type], message.text)


def _chunk(piece: Piece, mix: str) -> ChatGenerationChunk:
    usage = piece.usage and UsageMetadata(
        input_tokens=piece.usage.prompt_tokens,
        output_tokens=piece.usage.completion_tokens,
        total_tokens=piece.usage.prompt_tokens + piece.usage.completion_tokens,
    )
    about = {"finish_reason": piece.finish_reason, "model_name": mix} if piece.finish_reason else {}
    return ChatGenerationChunk(
        message=AIMessageChunk(
            content=piece.text,
            usage_metadata=usage,
            response_metadata=about,
            chunk_position="last" if piece.finish_reason else None,
        )
    )
