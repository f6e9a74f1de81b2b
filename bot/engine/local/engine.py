"""The local engine: many replies at a time, each with its own mix of adapters, in one batch.

The event loop side: it loads the model once, reads adapters and prompts beside it, hands rows to the scheduler, and passes
their pieces on. One thread, the scheduler's, runs the model.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from bot.base import Base
from bot.types import Adapter, Ask, EngineState, Message, Mix, Outcome, Piece, Sampling, Score

if TYPE_CHECKING:
    from bot.engine.local.branches import Branching
    from bot.engine.local.encoder import EncoderClassifiers
    from bot.engine.local.model import Model
    from bot.engine.local.reading import Reading
    from bot.engine.local.rows import Ticket
    from bot.engine.local.scheduler import Scheduler

R = TypeVar("R", bound="Reading | Branching")
T = TypeVar("T")


class LocalEngine:
    """`max_queue` replies may wait; one more is refused with Overloaded. The chats of a batch take `memory` GiB at most."""

    name = "local"

    def __init__(
        self,
        base: Base,
        dtype: str = "auto",
        device: str = "auto",
        threads: int = 0,
        max_queue: int = 32,
        memory: float = 2,
    ) -> None:
        self._base, self._dtype, self._device, self._threads = base, dtype, device, threads
        self._max_queue, self._max_bytes = max_queue, int(memory * 2**30)
        self._model: Model | None = None
        self._lock, self._loading = threading.Lock(), threading.Lock()
        self._made: Scheduler | None = None

    @property
    def _scheduler(self) -> Scheduler:
        with self._lock:
            if self._made is None:
                from bot.engine.local.scheduler import Scheduler

                self._made = Scheduler(self._loaded, self._max_queue, self._max_bytes)
            return self._made

    @cached_property
    def _encoders(self) -> EncoderClassifiers:
        from bot.engine.local.encoder import EncoderClassifiers

        return EncoderClassifiers()

    def _loaded(self) -> Model:
        """The model, loaded for whoever asks first, on the thread that runs it."""
        if self._model:
            return self._model
        with self._loading:
            self._model = self._model or self._scheduler.call(self._load).result()
            return self._model

    def _load(self) -> Model:
        from bot.cores import compute_here
        from bot.engine.local.model import Model

        self._threads = compute_here(self._threads)
        return Model(self._base, self._dtype, self._device)

    async def load(self) -> str:
        model = await asyncio.to_thread(self._loaded)
        dtype = str(model.dtype).removeprefix("torch.")
        where = "the GPU" if model.device.type == "cuda" else f"{self._threads} threads of the CPU"
        return f"{self._base.name} on {where} in {dtype} ({model.dtype_reason}), {model.context:,} tokens of context"

    async def stream(
        self, messages: Sequence[Message], mix: Mix, sampling: Sampling, seed: int
    ) -> AsyncGenerator[Piece, None]:
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[Piece | Exception] = asyncio.Queue()

        def send(piece: Piece | Exception) -> None:
            # A loop that closed while the reply was under way has nobody left to tell.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(pieces.put_nowait, piece)

        ticket = self._scheduler.enter(send)
        try:
            await asyncio.to_thread(self._prepare, ticket, messages, mix, sampling, seed)
            while True:
                piece = await pieces.get()
                if isinstance(piece, Exception):
                    raise piece
                yield piece
                if piece.finish_reason:
                    return
        finally:
            self._scheduler.leave(ticket)

    def _prepare(self, ticket: Ticket, messages: Sequence[Message], mix: Mix, sampling: Sampling, seed: int) -> None:
        from bot.engine.local.rows import make_row

        self._scheduler.ready(ticket, make_row(self._loaded(), messages, mix, sampling, seed, ticket))

    async def score(self, messages: Sequence[Message], reply: str, mix: Mix) -> list[float]:
        from bot.engine.local.reading import Scoring

        return (await self._read(lambda: Scoring(self._loaded(), messages, reply, mix))).logprobs

    async def score_each(
        self, conversations: Sequence[Sequence[Message]], replies: Sequence[str], mix: Mix
    ) -> list[list[list[float]]]:
        from bot.engine.local.branches import Branching
        from bot.engine.local.prefixes import Prefixes

        prefixes, found = Prefixes(), []
        for messages in conversations:

            def make(messages: Sequence[Message] = messages) -> Branching:
                return Branching(self._loaded(), messages, replies, mix, prefixes)

            found.append((await self._read(make)).logprobs)
        return found

    async def work_off(self, requests: Sequence[Ask | Score]) -> AsyncGenerator[tuple[int, Outcome], None]:
        from bot.engine.local.answering import Answering

        loop = asyncio.get_running_loop()
        done: asyncio.Queue[tuple[int, Outcome] | None] = asyncio.Queue()

        def tell(number: int, outcome: Outcome) -> None:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(done.put_nowait, (number, outcome))

        answering = await asyncio.to_thread(lambda: Answering(self._loaded(), requests, self._max_bytes, tell))
        working = asyncio.wrap_future(self._scheduler.call(answering.turn))
        working.add_done_callback(lambda _: done.put_nowait(None))
        try:
            while one := await done.get():
                yield one
            await working
        finally:
            working.cancel()

    async def classify(self, text: str, adapter: Adapter) -> dict[str, float]:
        if adapter.encoder:
            return await self._encoders.classify(text, adapter)
        from bot.engine.local.reading import Classifying

        return (await self._read(lambda: Classifying(self._loaded(), text, adapter))).labels

    async def _read(self, make: Callable[[], R]) -> R:
        reading = await asyncio.to_thread(make)
        await self.run(reading.read)
        return reading

    async def run(self, job: Callable[[], T]) -> T:
        """`job` on the model's thread, between two steps: the one that computes on several cores. It may not give False, nor
        ask this engine for anything."""
        return await asyncio.wrap_future(self._scheduler.call(job))

    async def opens_reasoning(self) -> bool:
        model = await asyncio.to_thread(self._loaded) if self._model is None else self._model
        return model.opens_reasoning

    def count(self, messages: Sequence[Message], mix: Mix = Mix()) -> int:
        from bot.engine.local.encode import encode

        return mix.virtual_tokens + len(encode(self._model.tokenizer, messages)) if self._model else 0

    def fits(self, messages: Sequence[Message], reply: int, mix: Mix = Mix()) -> bool:
        # A reply's limit is often set far above what it takes: it may claim a quarter of what the base reads.
        model = self._model
        return model is None or self.count(messages, mix) + min(reply, model.context // 4) <= model.context

    def state(self) -> EngineState:
        made, model = self._made, self._model
        return dataclasses.replace(made.state(), adapters=len(model.adapters) if model else 0) if made else EngineState()

    async def close(self) -> None:
        # Not by the property: an engine that was never asked need not import torch to be closed.
        if self._made:
            await asyncio.to_thread(self._made.close)
        if "_encoders" in self.__dict__:
            self._encoders.close()
