"""The one place where the order of steps is written: resolve → search → select → render → generate → record.

An `Agent` is handed its rooms and builds none. It is a LangChain `Runnable` from `Turn` to `Answer`. The steps before the
engine are functions of their own, so that an evaluation asks the very same.
"""

from __future__ import annotations

import asyncio
import logging
import time
from bisect import bisect_left
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from langchain_core.runnables import Runnable, RunnableConfig

from bot.adapters.catalog import AdapterCatalog
from bot.blocking import iterate, wait_for
from bot.errors import DeadlinePassed, InvalidMessage
from bot.journal.journal import Exchange, Journal
from bot.knowledge.search import KnowledgeBase
from bot.limits import MAX_RENDERED, check_messages, check_sampling
from bot.prompts.library import PromptLibrary
from bot.prompts.reasoning import ReasoningFilter
from bot.prompts.render import check_size, render, size_of
from bot.prompts.schema import Example
from bot.prompts.select import ExampleSelector
from bot.prompts.version import PromptVersion
from bot.types import AgentSpec, Engine, FinishReason, Message, Mix, Passage, Piece, Sampling, Turn, Usage, content_hash

if TYPE_CHECKING:
    from bot.metrics import Metrics

log = logging.getLogger("bot")


@dataclass
class Answer:
    """A reply and what it rests on; complete once the stream has ended. `turn_id` is the journal's, `reasoning` is for
    staff alone."""

    reply: str = ""
    reasoning: str = ""
    finish_reason: FinishReason = "cancelled"
    passages: tuple[Passage, ...] = ()
    usage: Usage = Usage()
    turn_id: int = 0
    exchange: Exchange = field(default_factory=lambda: Exchange("", ""), repr=False)


def resolve(spec: AgentSpec, adapters: AdapterCatalog, prompts: PromptLibrary) -> tuple[Mix, PromptVersion | None]:
    """Names → verified things. Raises an error that lists what there is."""
    return adapters.mix(spec.adapters), prompts.get(spec.prompt) if spec.prompt else None


def sampling_for(prompt: PromptVersion | None, turn: Turn) -> Sampling:
    """The prompt's decoding defaults under the turn's own wishes."""
    values = {**(prompt.prompt.decoding.model_dump(exclude_none=True) if prompt else {}), **turn.sampling}
    values["stop"] = tuple(values.get("stop") or ())
    return check_sampling(Sampling(**values), turn.seed)


def hides_reasoning(prompt: PromptVersion | None, opened: bool) -> bool:
    """Whether a reply's reasoning is kept from the customer: where the prompt asks for it, and, whatever the prompt, where
    the base's chat template has `opened` it."""
    return opened or (prompt is not None and prompt.prompt.technique == "chain-of-thought")


async def examples_for(
    turn: Turn, prompt: PromptVersion | None, selector: ExampleSelector, engine: Engine
) -> tuple[Example, ...]:
    """The few-shot examples that are shown before the turn's question."""
    body = prompt.prompt if prompt else None
    if body and body.select and body.select.tokens is not None:
        # Only an engine that is ready can count.
        await engine.load()
    return await selector.select(body, turn.messages[-1].content, engine.count)


def messages_for(
    turn: Turn,
    prompt: PromptVersion | None,
    examples: tuple[Example, ...],
    found: tuple[Passage, ...] | None,
    mix: Mix,
    reply: int,
    engine: Engine,
) -> tuple[Message, ...]:
    """The messages as sent, with room for a reply of `reply` tokens. The oldest exchanges are left out where not all can be
    read."""
    body = prompt.prompt if prompt else None
    starts = [number for number, message in enumerate(turn.messages) if message.role == "user"]

    def sent(dropped: int) -> tuple[Message, ...]:
        early = tuple(m for m in turn.messages[: starts[dropped]] if m.role == "system") if dropped else ()
        history = early + turn.messages[starts[dropped] if dropped else 0 :]
        return render(body, examples, turn.variables, found, history)

    def readable(dropped: int) -> bool:
        messages = sent(dropped)
        return size_of(messages) <= MAX_RENDERED and engine.fits(messages, reply, mix)

    return check_size(sent(bisect_left(range(len(starts) - 1), True, key=readable)))


class Agent(Runnable[Turn, Answer]):
    """Answers turns. `passages` is how many passages a reply may rest on, `deadline` the seconds that it may take."""

    def __init__(
        self,
        engine: Engine,
        adapters: AdapterCatalog,
        prompts: PromptLibrary,
        knowledge: KnowledgeBase,
        journal: Journal,
        metrics: Metrics,
        selector: ExampleSelector,
        passages: int,
        deadline: float,
    ) -> None:
        self.engine, self.adapters, self.prompts = engine, adapters, prompts
        self.knowledge, self.journal, self.metrics = knowledge, journal, metrics
        self.selector, self.passages, self.deadline = selector, passages, deadline

    def trying(self, draft: PromptVersion) -> Agent:
        """The same agent, to which `draft` is known without being saved. What it answers is recorded under that reference
        and the draft's hash."""
        return Agent(
            self.engine, self.adapters, self.prompts.trying(draft), self.knowledge, self.journal, self.metrics,
            self.selector, self.passages, self.deadline,
        )  # fmt: skip

    async def answer(self, turn: Turn, answer: Answer | None = None) -> AsyncGenerator[Piece, None]:
        """The reply in pieces. `answer` is filled in on the way; the turn is recorded however it ends."""
        answer = answer if answer is not None else Answer()
        exchange = answer.exchange = Exchange(turn.conversation, turn.messages[-1].content if turn.messages else "")
        clock = _Clock(exchange.timings)
        try:
            check_messages(turn.messages)
            mix, prompt = await asyncio.to_thread(self._resolve, turn, exchange)
            sampling = sampling_for(prompt, turn)
            exchange.sampling = {"seed": turn.seed, **{f.name: getattr(sampling, f.name) for f in fields(sampling)}}
            clock.lap("resolve_ms")
            async with _within(clock.start + self.deadline, self.deadline):
                screen = await self._screen(prompt, sampling)
                clock.lap("load_ms")
                found = await self._search(turn)
                examples = await examples_for(turn, prompt, self.selector, self.engine)
            exchange.passages = answer.passages = found or ()
            clock.lap("search_ms")
            exchange.messages = await asyncio.to_thread(
                messages_for, turn, prompt, examples, found, mix, sampling.max_tokens, self.engine
            )
            clock.lap("render_ms")
            stream = self.engine.stream(exchange.messages, mix, sampling, turn.seed)
            async with aclosing(stream), aclosing(self._until(clock.start + self.deadline, stream)) as pieces:
                async for piece in pieces:
                    clock.first("first_token_ms")
                    exchange.finish_reason = piece.finish_reason or exchange.finish_reason
                    exchange.usage = piece.usage or exchange.usage
                    if piece.finish_reason == "deadline":
                        exchange.usage = replace(exchange.usage, prompt_tokens=self.engine.count(exchange.messages, mix))
                        piece = replace(piece, usage=exchange.usage)
                    shown = screen.shown(piece) if screen else piece
                    exchange.reasoning = screen.reasoning.strip() if screen else ""
                    if shown:
                        exchange.reply += shown.text
                        yield shown
        except Exception as error:
            exchange.finish_reason, exchange.error = "error", str(error)
            raise
        finally:
            clock.total("total_ms")
            answer.reply, answer.reasoning = exchange.reply, exchange.reasoning
            answer.finish_reason, answer.usage = exchange.finish_reason, exchange.usage
            self._count(exchange)
            answer.turn_id = await self._record(exchange)

    def _resolve(self, turn: Turn, exchange: Exchange) -> tuple[Mix, PromptVersion | None]:
        """Names → verified things, stamped onto the exchange."""
        spec = turn.agent
        mix, prompt = resolve(spec, self.adapters, self.prompts)
        exchange.mix, exchange.knowledge, exchange.base_hash = mix, spec.knowledge, self.adapters.base.hash
        if prompt:
            exchange.prompt, exchange.prompt_hash = prompt.ref, prompt.prompt.hash
        snapshot = self.knowledge.snapshot(spec.knowledge) if spec.knowledge else ""
        exchange.agent_hash = content_hash(exchange.base_hash, mix.hash, exchange.prompt_hash, snapshot)
        return mix, prompt

    async def _screen(self, prompt: PromptVersion | None, sampling: Sampling) -> ReasoningFilter | None:
        """What keeps the reasoning back; None where all is shown. Only an engine that is ready can tell."""
        opened = await self.engine.opens_reasoning()
        if not hides_reasoning(prompt, opened):
            return None
        if sampling.logprobs is not None:
            what, other = (prompt.ref, "prompt") if prompt and not opened else (self.adapters.base.name, "base")
            raise InvalidMessage(
                f"logprobs would tell the reasoning that {what} hides.", f"Leave them out, or use another {other}."
            )
        return ReasoningFilter(opened)

    async def _search(self, turn: Turn) -> tuple[Passage, ...] | None:
        if turn.passages is not None or not turn.agent.knowledge:
            return turn.passages
        asked = [message.content for message in turn.messages if message.role == "user"]
        return await self.knowledge.search_turn(asked, turn.agent.knowledge, self.passages)

    async def _until(self, moment: float, stream: AsyncGenerator[Piece, None]) -> AsyncGenerator[Piece, None]:
        """The pieces that come before a moment of the performance counter; where some came, a last one says that the reply
        was cut. A piece is a token, near enough, so that its usage can be told."""
        came = 0
        while True:
            try:
                async with _within(moment, self.deadline):
                    piece = await anext(stream)
            except StopAsyncIteration:
                return
            except DeadlinePassed:
                if not came:
                    raise
                yield Piece("", "deadline", Usage(completion_tokens=came))
                return
            came += 1
            yield piece

    def _count(self, exchange: Exchange) -> None:
        """A counter that fails must not lose the turn."""
        try:
            self.metrics.observe(exchange)
        except Exception:
            log.exception("a reply was not counted")

    async def _record(self, exchange: Exchange) -> int:
        """The turn's id, or 0 where the journal failed: the reply is out, and its reader is told nothing of that."""
        try:
            return await asyncio.shield(asyncio.to_thread(self.journal.record, exchange))
        except Exception:
            log.exception("a turn was not recorded")
            return 0

    async def ainvoke(self, input: Turn, config: RunnableConfig | None = None, **kwargs: Any) -> Answer:
        answer = Answer()
        async for _ in self.answer(input, answer):
            pass
        return answer

    def invoke(self, input: Turn, config: RunnableConfig | None = None, **kwargs: Any) -> Answer:
        return wait_for(lambda: self.ainvoke(input, config))

    async def astream(self, input: Turn, config: RunnableConfig | None = None, **kwargs: Any | None) -> AsyncIterator[Any]:
        async for piece in self.answer(input):
            yield piece

    def stream(self, input: Turn, config: RunnableConfig | None = None, **kwargs: Any | None) -> Iterator[Any]:
        return iterate(lambda: self.answer(input))


@asynccontextmanager
async def _within(moment: float, seconds: float) -> AsyncIterator[None]:
    """Raises DeadlinePassed once the performance counter has reached a moment, `seconds` after the message came."""
    left = moment - time.perf_counter()
    limit = asyncio.timeout(max(left, 0))
    try:
        async with limit:
            if left <= 0:
                raise DeadlinePassed(seconds)
            yield
    except TimeoutError:
        if limit.expired():
            raise DeadlinePassed(seconds) from None
        raise


class _Clock:
    """Milliseconds since the last lap, into a dict."""

    def __init__(self, timings: dict[str, float]) -> None:
        self._timings = timings
        self.start = self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self._timings[name] = round((now - self._last) * 1e3, 2)
        self._last = now

    def first(self, name: str) -> None:
        if name not in self._timings:
            self._timings[name] = round((time.perf_counter() - self.start) * 1e3, 2)

    def total(self, name: str) -> None:
        self._timings[name] = round((time.perf_counter() - self.start) * 1e3, 2)
