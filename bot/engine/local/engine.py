"""The local engine: requests queue up, one thread takes them in turn and generates.

That thread is the only one that ever touches the model: PEFT's choice of adapter is global to a process, and two
threads would get each other's. Replies go back to the asking event loop piece by piece.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from bot.base import Base
from bot.errors import EngineError, NotAvailable, Overloaded
from bot.types import Adapter, Message, Mix, Piece, Sampling, Usage

if TYPE_CHECKING:
    from bot.engine.local.model import Model

T = TypeVar("T")


@dataclass(eq=False)
class _Request:
    """One reply under way: what is asked, where pieces go, and the flag that ends it."""

    messages: Sequence[Message]
    mix: Mix
    sampling: Sampling
    seed: int
    loop: asyncio.AbstractEventLoop
    pieces: asyncio.Queue[Piece | Exception] = field(default_factory=asyncio.Queue)
    cancelled: threading.Event = field(default_factory=threading.Event)

    def send(self, piece: Piece | Exception) -> None:
        # A loop that closed while the reply was under way has nobody left to tell.
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self.pieces.put_nowait, piece)


class LocalEngine:
    """`max_queue` replies may wait; one more is refused with Overloaded."""

    name = "local"

    def __init__(self, base: Base, dtype: str = "auto", threads: int = 0, max_queue: int = 32) -> None:
        self._base, self._dtype, self._threads, self._max_queue = base, dtype, threads, max_queue
        self._model: Model | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._jobs: set[Future[Any]] = set()
        self._requests: set[_Request] = set()
        self._closed = False
        self._lock = threading.Lock()

    def _submit(self, job: Callable[[], T]) -> Future[T]:
        """Run `job` on the model's thread, in turn."""
        with self._lock:
            if self._closed:
                raise EngineError("The engine is shut down.", "Start the server again.")
            # A copy: the model's thread takes finished jobs out of the set at any moment.
            if sum(not other.running() for other in list(self._jobs)) >= self._max_queue:
                raise Overloaded(f"{self._max_queue} replies are waiting already.", "Try again in a few seconds.")
            future = self._thread.submit(job)
            self._jobs.add(future)
        future.add_done_callback(self._jobs.discard)
        return future

    def _loaded(self) -> Model:
        if self._model is None:
            import torch

            from bot.engine.local.model import Model

            if self._threads:
                torch.set_num_threads(self._threads)
            self._model = Model(self._base, self._dtype)
        return self._model

    async def _call(self, call: Callable[[Model], T]) -> T:
        """`call(model)` on the model's thread."""
        return await asyncio.wrap_future(self._submit(lambda: call(self._loaded())))

    async def load(self) -> str:
        def describe(model: Model) -> str:
            dtype = str(model.dtype).removeprefix("torch.")
            return f"{self._base.name} in {dtype} ({model.dtype_reason}), {model.context:,} tokens of context"

        return await self._call(describe)

    async def stream(
        self, messages: Sequence[Message], mix: Mix, sampling: Sampling, seed: int
    ) -> AsyncGenerator[Piece, None]:
        request = _Request(messages, mix, sampling, seed, asyncio.get_running_loop())
        job = self._submit(lambda: self._run(request))
        self._requests.add(request)
        try:
            while True:
                piece = await request.pieces.get()
                if isinstance(piece, Exception):
                    raise piece
                yield piece
                if piece.finish_reason:
                    return
        finally:
            request.cancelled.set()
            job.cancel()
            self._requests.discard(request)

    def _run(self, request: _Request) -> None:
        try:
            generate(self._loaded(), request)
        except Exception as error:
            request.send(error)

    async def score(self, messages: Sequence[Message], reply: str, mix: Mix) -> list[float]:
        return await self._call(lambda model: model.score(messages, reply, mix))

    async def classify(self, text: str, adapter: Adapter) -> dict[str, float]:
        raise NotAvailable("The local engine cannot classify yet.", "Classifier adapters come with the workshop.")

    def count(self, messages: Sequence[Message], mix: Mix = Mix()) -> int:
        from bot.engine.local.encode import encode

        return mix.virtual_tokens + len(encode(self._model.tokenizer, messages)) if self._model else 0

    def fits(self, messages: Sequence[Message], reply: int, mix: Mix = Mix()) -> bool:
        # A reply's limit is often set far above what it takes: it may claim a quarter of what the base reads.
        model = self._model
        return model is None or self.count(messages, mix) + min(reply, model.context // 4) <= model.context

    async def close(self) -> None:
        with self._lock:
            self._closed = True
        for request in list(self._requests):
            request.cancelled.set()
            request.send(Piece("", "cancelled", Usage()))
        await asyncio.to_thread(self._thread.shutdown, cancel_futures=True)


def generate(model: Model, request: _Request) -> None:
    """One reply, token by token, until its end, its length, a stop string, or its reader is gone."""
    import torch
    from transformers import DynamicCache

    from bot.engine.local.sampling import Picker, TextStream, finish

    sampling = request.sampling
    with torch.inference_mode():
        ids = model.encode(request.messages, request.mix)
        active, step = model.use(request.mix), model.opening(ids, request.mix)
        filled = request.mix.virtual_tokens + len(ids)
        picker = Picker(sampling, request.seed, model.end_ids)
        text = TextStream(model.tokenizer, sampling.stop)
        room = min(sampling.max_tokens, model.context - filled)
        cache, ended = DynamicCache(config=model.base.config), False
        while len(picker.tokens) < room and not ended and not text.stopped:
            if request.cancelled.is_set():
                return
            logits = active(**step, past_key_values=cache, use_cache=True, logits_to_keep=1).logits[0, -1]
            token = picker.pick(logits)
            ended = token in model.end_ids
            if not ended and (piece := text.push(token)):
                request.send(Piece(piece))
            step = {"input_ids": torch.tensor([[token]])}
        rest = "" if text.stopped else text.flush()
        request.send(Piece(rest, finish(text.stopped, ended), Usage(filled, len(picker.tokens))))
