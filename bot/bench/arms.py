"""The engines and servers that are measured: ours, transformers with PEFT, and any server that speaks OpenAI's protocol.

Contract: `Ours.stream` and `Server.stream` start one greedy reply of fixed length; `Peft` runs whole batches, since it
streams only one. Everybody gets messages of one kind, the same weights and the same precision.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import httpx

from bot.base import Base
from bot.bench.chats import Stream
from bot.engine.local.engine import LocalEngine
from bot.errors import EngineError
from bot.types import Adapter, Message, Mix, Sampling


class Ours:
    """The local engine, called directly."""

    def __init__(self, engine: LocalEngine, tokens: int) -> None:
        self.engine, self.tokens = engine, tokens

    def stream(self, messages: Sequence[Message], mix: Mix = Mix(), tokens: int = 0) -> Stream:
        sampling = Sampling(max_tokens=tokens or self.tokens, ignore_eos=True)

        async def start() -> AsyncGenerator[int, None]:
            count = 0
            async for piece in self.engine.stream(messages, mix, sampling, 0):
                # A piece is a token, but for those whose text is not whole yet.
                count = piece.usage.completion_tokens if piece.usage else count + 1
                yield count

        return start


class Server:
    """A server on loopback. llama.cpp is told of adapters by `lora` with every request, others by the model's name."""

    def __init__(self, url: str, tokens: int, base: str = "", llama: bool = False) -> None:
        self._url, self._tokens, self._base, self._llama = url.rstrip("/"), tokens, base, llama
        self._client = httpx.AsyncClient(timeout=300, limits=httpx.Limits(max_connections=300))

    def stream(self, messages: Sequence[Message], adapter: int | None = None) -> Stream:
        body: dict[str, Any] = {
            "model": self._base if adapter is None or self._llama else f"a{adapter}",
            "messages": [{"role": message.role, "content": message.content} for message in messages],
            "max_tokens": self._tokens, "min_tokens": self._tokens, "ignore_eos": True, "temperature": 0, "stream": True,
            "stream_options": {"include_usage": True},
        }  # fmt: skip
        if self._llama:
            body["lora"] = [] if adapter is None else [{"id": adapter, "scale": 1.0}]

        async def start() -> AsyncGenerator[int, None]:
            count = 0
            try:
                async with self._client.stream("POST", f"{self._url}/chat/completions", json=body) as reply:
                    reply.raise_for_status()
                    async for line in reply.aiter_lines():
                        if line.startswith("data: {"):
                            event = json.loads(line.removeprefix("data: "))
                            count = (event.get("usage") or {}).get("completion_tokens") or count + bool(event["choices"])
                            yield count
            except (httpx.HTTPError, KeyError) as error:
                raise EngineError(
                    f"The server at {self._url} gave no reply: {error or type(error).__name__}.",
                    "Start it as tests/load/README.md says, or leave its option out.",
                ) from None

        return start

    async def close(self) -> None:
        await self._client.aclose()


class Peft:
    """transformers' `generate`: on the plain base, with PEFT one chat at a time, and with PEFT over one ready batch."""

    def __init__(self, base: Base, adapters: Sequence[Adapter], dtype: str, tokens: int) -> None:
        import torch
        from peft import PeftModel
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self._torch, self._tokens = torch, tokens
        self._tokenizer = AutoTokenizer.from_pretrained(base.path)
        self._names = [adapter.name for adapter in adapters]
        kind = getattr(torch, dtype)
        self._plain = AutoModelForCausalLM.from_pretrained(base.path, dtype=kind).eval()
        under = AutoModelForCausalLM.from_pretrained(base.path, dtype=kind).eval()
        self._model: Any = PeftModel.from_pretrained(under, str(adapters[0].path), adapter_name=self._names[0])
        for adapter in adapters[1:]:
            self._model.load_adapter(str(adapter.path), adapter_name=adapter.name)
        self._model.to(kind).eval()

    @property
    def bytes(self) -> int:
        """Bytes of weights that one token of one chat with one adapter reads."""
        others = set(self._names[1:])
        return sum(p.nbytes for name, p in self._model.named_parameters() if not others & set(name.split(".")))

    def base(self, prompts: Sequence[Sequence[Message]]) -> int:
        """The plain base over one ready batch; gives the tokens made, as the others do."""
        return self._generate(self._plain, prompts, self._tokens)

    def mixed(self, prompts: Sequence[Sequence[Message]], adapters: Sequence[int]) -> int:
        """One ready batch in which every row has its adapter: the best that PEFT offers."""
        names = [self._names[adapter] for adapter in adapters]
        return self._generate(self._model, prompts, self._tokens, adapter_names=names)

    def one(self, prompt: Sequence[Message], adapter: int, tokens: int) -> int:
        """One chat, its adapter switched on: what a project without an engine does."""
        self._model.set_adapter(self._names[adapter])
        return self._generate(self._model, [prompt], tokens)

    def one_by_one(self, prompts: Sequence[Sequence[Message]], adapters: Sequence[int]) -> int:
        """Chat after chat."""
        return sum(self.one(prompt, adapter, self._tokens) for prompt, adapter in zip(prompts, adapters, strict=True))

    def _generate(self, model: Any, prompts: Sequence[Sequence[Message]], tokens: int, **more: Any) -> int:
        from bot.engine.local.encode import encode

        rows = [encode(self._tokenizer, prompt) for prompt in prompts]
        width = max(map(len, rows))
        ids = self._torch.tensor([[0] * (width - len(row)) + row for row in rows])
        seen = self._torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
        with self._torch.inference_mode():
            out = model.generate(
                input_ids=ids, attention_mask=seen, max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False,
                pad_token_id=0, **more,
            )  # fmt: skip
        return int(out.shape[0] * (out.shape[1] - ids.shape[1]))
