"""Sets of requests: what each gets is what it would get alone, and the same to the last bit whoever else is served."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from bot.adapters.verify import verify
from bot.base import Base
from bot.engine.local.answering import Answering
from bot.engine.local.engine import LocalEngine
from bot.engine.scripted import ScriptedEngine
from bot.errors import EngineError, InvalidMessage, NotAvailable
from bot.types import Adapter, Ask, Message, Mix, Outcome, Said, Sampling, Score, Scored
from tests.conftest import make_adapter, make_soft_prompt

ROLE = Message("system", "You are Wren of Larkmoor. Answer in one sentence, from the knowledge below, and never guess. " * 3)
QUESTIONS = ["Where is my order?", "I want a refund for the lamp", "hello", "how do I cancel? " * 40]
ANSWERS = ["It is on its way.", "You get your money back in three days.", "Good morning!", "In the app."]


@pytest.fixture(scope="module")
def mixes(tiny_base: Base, tmp_path_factory: pytest.TempPathFactory) -> list[Mix]:
    """None, a LoRA, a weighted mix, a soft prompt, and one with a LoRA."""
    root = tmp_path_factory.mktemp("adapters")
    folders = [make_adapter(tiny_base, root / f"a{n}" / "v1", n, rank) for n, rank in enumerate((2, 4))]
    one, other = (verify(folder.parent.name, 1, folder, tiny_base) for folder in folders)
    soft = verify("soft", 1, make_soft_prompt(tiny_base, root / "soft" / "v1", 9, 6), tiny_base)
    return [
        Mix(),
        Mix(((one, 1.0),)),
        Mix(((one, 0.7), (other, 1.3))),
        Mix(((soft, 1.0),)),
        Mix(((soft, 1.0), (other, 1.0))),
    ]


@pytest.fixture
def engine(tiny_base: Base) -> Iterator[LocalEngine]:
    made = LocalEngine(tiny_base, "float32", max_queue=1)
    yield made
    asyncio.run(made.close())


def requests(mixes: Sequence[Mix]) -> list[Ask | Score]:
    """A reply and a score for every question under every mix, with and without a role."""
    made: list[Ask | Score] = []
    for mix in mixes:
        for number, (question, answer) in enumerate(zip(QUESTIONS, ANSWERS, strict=True)):
            messages = (*([ROLE] if number % 2 else []), Message("user", question))
            warm = Sampling(temperature=0.8 * (number == 2), max_tokens=3 + 5 * number, ignore_eos=True)
            made += [Ask(messages, mix, warm, number), Score(messages, mix, answer)]
    return made


async def all_of(engine: LocalEngine | ScriptedEngine, asked: Sequence[Ask | Score]) -> list[Outcome]:
    found: dict[int, Outcome] = {}
    async for number, outcome in engine.work_off(asked):
        assert number not in found
        found[number] = outcome
    return [found[number] for number in range(len(asked))]


def numbers(outcomes: Sequence[Outcome]) -> list[object]:
    """What must repeat."""
    return [(o.text, o.finish_reason, o.usage) if isinstance(o, Said) else o for o in outcomes]


async def test_each_gets_what_it_would_get_alone(tiny_base: Base, mixes: list[Mix]) -> None:
    engine, asked = LocalEngine(tiny_base, "float64"), requests(mixes)
    for request, outcome in zip(asked, await all_of(engine, asked), strict=True):
        if isinstance(request, Ask):
            stream = engine.stream(request.messages, request.mix, request.sampling, request.seed)
            pieces = [piece async for piece in stream]
            assert isinstance(outcome, Said)
            assert outcome.text == "".join(piece.text for piece in pieces)
            assert (outcome.finish_reason, outcome.usage) == (pieces[-1].finish_reason, pieces[-1].usage)
            assert 0 < outcome.first_token_ms <= outcome.total_ms
        else:
            assert isinstance(outcome, Scored)
            alone = await engine.score(request.messages, request.reply, request.mix)
            assert outcome.logprobs == pytest.approx(alone, abs=1e-6)
    await engine.close()


async def test_the_same_set_gives_the_same_bits_whoever_else_is_served(
    engine: LocalEngine, mixes: list[Mix], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = requests(mixes)
    model, turn, shapes = await asyncio.to_thread(engine._loaded), Answering.turn, []
    forward, within = model.forward, [False]

    def watched(inputs: Any, *rest: Any, **more: Any) -> Any:
        if within[0]:
            shapes.append(tuple(next(iter(inputs.values())).shape[:2]))
        return forward(inputs, *rest, **more)

    def turned(self: Answering) -> bool:
        within[0] = True
        try:
            return turn(self)
        finally:
            within[0] = False

    model.forward = watched  # type: ignore[method-assign]
    monkeypatch.setattr(Answering, "turn", turned)

    async def chat() -> None:
        while True:
            long = Sampling(max_tokens=50, ignore_eos=True)
            async for _ in engine.stream((ROLE, Message("user", QUESTIONS[0])), mixes[1], long, 0):
                pass

    quiet = numbers(await all_of(engine, asked))
    first, shapes[:] = list(shapes), []
    chatting = asyncio.create_task(chat())
    busy = numbers(await all_of(engine, asked))
    chatting.cancel()
    await asyncio.gather(chatting, return_exceptions=True)
    assert busy == quiet
    assert shapes == first
    assert max(rows for rows, _ in first) > len(mixes), "they share a batch"
    tokens = sum(rows * count for rows, count in first)
    alone = sum(engine.count(request.messages, request.mix) for request in asked)
    assert tokens < alone, "a role and a prompt are read once"


async def test_what_was_said_before_a_reply_is_read_and_not_counted(tiny_base: Base, mixes: list[Mix]) -> None:
    engine, before = LocalEngine(tiny_base, "float64"), "<think>the second passage</think> "
    for mix in (mixes[1], mixes[4]):
        messages = (ROLE, Message("user", QUESTIONS[0]))
        outcomes = await all_of(engine, [Score(messages, mix, ANSWERS[0], before), Score(messages, mix, ANSWERS[0])])
        behind, plain = (outcome.logprobs for outcome in outcomes if isinstance(outcome, Scored))
        whole = await engine.score(messages, before + ANSWERS[0], mix)
        assert behind == pytest.approx(whole[-len(behind) :], abs=1e-6)
        assert abs(len(behind) - len(plain)) <= 1
        assert behind[-1] != pytest.approx(plain[-1])
    await engine.close()


async def test_an_error_is_its_requests_alone(engine: LocalEngine, mixes: list[Mix], tmp_path: Path) -> None:
    gone = Mix(((Adapter("gone", 1, tmp_path / "gone", "f" * 64, "lora"), 1.0),))
    good, long = (Message("user", "hello"),), (Message("user", "word " * 600),)
    few = Sampling(max_tokens=4, ignore_eos=True)
    asked = [
        Ask(good, Mix(), few, 0), Ask(long, Mix(), few, 0), Score(long, Mix(), "yes"), Ask(good, gone, few, 0),
        Score(good, gone, "yes"), Score(good, Mix(), "yes"),
    ]  # fmt: skip
    kinds = [type(outcome) for outcome in await all_of(engine, asked)]
    assert kinds == [Said, InvalidMessage, InvalidMessage, EngineError, EngineError, Scored]
    assert await all_of(engine, []) == []


async def test_a_fault_of_the_whole_batch_is_told_to_its_rows(engine: LocalEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    from bot.engine.local.batch import Batch

    step, steps = Batch.step, []

    def broken(self: Batch) -> None:
        steps.append(len(self.rows))
        if len(steps) == 2:
            raise MemoryError("no room")
        step(self)

    monkeypatch.setattr(Batch, "step", broken)
    few = Sampling(max_tokens=5, ignore_eos=True)
    outcomes = await all_of(engine, [Ask((Message("user", "hello"),), Mix(), few, 0)] * 40)
    kinds = [type(outcome) for outcome in outcomes]
    assert kinds[:32] == [MemoryError] * 32
    assert kinds[32:] == [Said] * 8


async def test_closing_the_iterator_stops_the_work(engine: LocalEngine) -> None:
    long = Sampling(max_tokens=450, ignore_eos=True)
    asked = [Score((Message("user", "hello"),), Mix(), "yes"), *[Ask((Message("user", "hello"),), Mix(), long, 0)] * 200]
    async with aclosing(engine.work_off(asked)) as outcomes:
        assert (await anext(outcomes))[0] == 0
    assert await asyncio.wait_for(engine.score([Message("user", "hello")], "yes", Mix()), 5)


async def test_closing_the_engine_ends_the_set_with_an_error(tiny_base: Base) -> None:
    engine = LocalEngine(tiny_base, "float32")
    long = Sampling(max_tokens=450, ignore_eos=True)
    asked = [Score((Message("user", "hello"),), Mix(), "yes"), *[Ask((Message("user", "hello"),), Mix(), long, 0)] * 200]
    outcomes = engine.work_off(asked)
    await anext(outcomes)
    await engine.close()
    with pytest.raises(EngineError, match="shut down"):
        await anext(outcomes)


async def test_an_engine_that_does_not_batch_works_them_off_a_few_at_a_time() -> None:
    class Slow(ScriptedEngine):
        at_once = most = 0

        async def score(self, messages: Sequence[Message], reply: str, mix: Mix) -> list[float]:
            self.at_once += 1
            self.most = max(self.most, self.at_once)
            await asyncio.sleep(0.001)
            self.at_once -= 1
            if reply == "no":
                raise NotAvailable("No.")
            return await super().score(messages, reply, mix)

    engine, hello = Slow(), (Message("user", "hello"),)
    asked: list[Ask | Score] = [Score(hello, Mix(), "one two", "three "), Score(hello, Mix(), "no")]
    asked += [Score(hello, Mix(), "yes")] * 20 + [Ask(hello, Mix(), Sampling(), 0)]
    outcomes = await all_of(engine, asked)
    assert outcomes[0] == Scored((-1.0, -1.0, -1.0))
    assert isinstance(outcomes[1], NotAvailable)
    assert isinstance(outcomes[-1], Said)
    assert outcomes[-1].text.endswith("hello")
    assert 1 < engine.most <= 8
