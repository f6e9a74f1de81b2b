"""The local engine against plain transformers + PEFT: same tokens, whoever else is served."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import random
import threading
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from bot.adapters.verify import verify
from bot.base import Base
from bot.engine.local.encode import encode
from bot.engine.local.engine import LocalEngine
from bot.engine.local.rows import Row
from bot.errors import EngineError, InvalidMessage, Overloaded
from bot.types import Adapter, Message, Mix, Piece, Sampling, TokenScore
from tests.conftest import make_adapter

TOKENS = 6
GREEDY = Sampling(max_tokens=TOKENS, ignore_eos=True)
QUESTIONS = ["Where is my order?", "I want a refund", "the lamp is broken", "how do I cancel?", "hello"]


@pytest.fixture(scope="module")
def adapters(tiny_base: Base, tmp_path_factory: pytest.TempPathFactory) -> list[Adapter]:
    root = tmp_path_factory.mktemp("adapters")
    made = []
    for seed, (rank, extra) in enumerate(
        [(2, {}), (4, {}), (8, {"use_rslora": True}), (3, {"target_modules": ["q_proj", "v_proj"]})]
    ):
        folder = make_adapter(tiny_base, root / f"a{seed}" / "v1", seed, rank, **extra)
        made.append(verify(f"a{seed}", 1, folder, tiny_base))
    return made


@pytest.fixture(scope="module")
def engine(tiny_base: Base) -> Iterator[LocalEngine]:
    made = LocalEngine(tiny_base, "float32", max_queue=10_000)
    yield made
    asyncio.run(made.close())


def held(engine: LocalEngine) -> threading.Event:
    """Keep the model busy until the event is set."""
    taken, gate = threading.Event(), threading.Event()

    def hold() -> None:
        taken.set()
        gate.wait(10)

    engine._scheduler.call(hold)
    assert taken.wait(10)
    return gate


async def reply(engine: LocalEngine, question: str, mix: Mix, sampling: Sampling = GREEDY, seed: int = 0) -> str:
    return "".join([p.text async for p in engine.stream([Message("user", question)], mix, sampling, seed)])


def reference(base: Base, adapter: Adapter | None) -> dict[str, str]:
    """Greedy replies of plain transformers, with the adapter loaded by plain PEFT."""
    model = AutoModelForCausalLM.from_pretrained(base.path)
    tokenizer = AutoTokenizer.from_pretrained(base.path)
    if adapter:
        model = PeftModel.from_pretrained(model, str(adapter.path))
    replies = {}
    for question in QUESTIONS:
        ids = torch.tensor([encode(tokenizer, [Message("user", question)])])
        ended = {"eos_token_id": None, "do_sample": False, "max_new_tokens": TOKENS, "pad_token_id": 0}
        made = model.eval().generate(input_ids=ids, attention_mask=torch.ones_like(ids), **ended)
        replies[question] = tokenizer.decode(made[0, ids.shape[1] :], skip_special_tokens=True)
    return replies


def test_eight_threads_with_four_adapters_get_what_each_would_get_alone(
    engine: LocalEngine, tiny_base: Base, adapters: list[Adapter]
) -> None:
    expected = {a.ref if a else "base": reference(tiny_base, a) for a in [None, *adapters]}
    assert len({tuple(replies.values()) for replies in expected.values()}) == 5, "the adapters must differ to be told apart"

    def client(number: int) -> int:
        rng, wrong = random.Random(number), 0
        for _ in range(50):
            adapter, question = rng.choice([None, *adapters]), rng.choice(QUESTIONS)
            mix = Mix(((adapter, 1.0),)) if adapter else Mix()
            got = asyncio.run(reply(engine, question, mix))
            wrong += got != expected[adapter.ref if adapter else "base"][question]
        return wrong

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(client, range(8))) == 0


async def test_a_weighted_mix_is_the_sum_of_its_parts(engine: LocalEngine, tiny_base: Base, adapters: list[Adapter]) -> None:
    """Against weights added by hand: W + Σ weight · scaling · B·A, for unequal ranks and rsLoRA."""
    weights = [0.7, 0.4, 1.3, 0.5]
    model = AutoModelForCausalLM.from_pretrained(tiny_base.path).eval()
    for adapter, weight in zip(adapters, weights, strict=True):
        wrapped = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_base.path), str(adapter.path))
        for name, module in wrapped.base_model.model.named_modules():
            if hasattr(module, "get_delta_weight"):
                model.get_submodule(name).weight.data += weight * module.get_delta_weight("default").detach()
    # Longer than what is read at a time, so that the reply begins in the second chunk.
    messages = [Message("user", "Where is my order? " * 50)]
    tokenizer = AutoTokenizer.from_pretrained(tiny_base.path)
    said = "It is on its way."
    scores = await engine.score(messages, said, Mix(tuple(zip(adapters, weights, strict=True))))
    start = len(encode(tokenizer, messages))
    ids = encode(tokenizer, [*messages, Message("assistant", said)])[:-1]
    with torch.no_grad():
        logprobs = model(torch.tensor([ids])).logits[0].log_softmax(-1)
    expected = [float(logprobs[at - 1, ids[at]]) for at in range(start, len(ids))]
    assert scores == pytest.approx(expected, abs=1e-4)


async def test_a_seed_means_the_same_tokens(engine: LocalEngine, adapters: list[Adapter]) -> None:
    mix, warm = Mix(((adapters[0], 1.0),)), Sampling(temperature=1.0, max_tokens=12, ignore_eos=True)
    alone = [await reply(engine, "hello", mix, warm, seed) for seed in (1, 2, 1)]
    assert alone[0] == alone[2] != alone[1]
    together = await asyncio.gather(*(reply(engine, "hello", mix, warm, seed) for seed in (2, 1, 1)))
    assert together == [alone[1], alone[0], alone[0]]


async def test_closing_the_stream_stops_the_model(engine: LocalEngine) -> None:
    stream = engine.stream([Message("user", "hello")], Mix(), Sampling(max_tokens=480, ignore_eos=True), 0)
    await anext(stream)
    await stream.aclose()
    for _ in range(2):
        await asyncio.wrap_future(engine._scheduler.call(lambda: None))
    assert engine._scheduler.batch.rows == []
    rest = await asyncio.wait_for(reply(engine, "hello", Mix()), 2)
    assert rest


async def test_the_last_piece_says_why_it_ended_and_what_it_took(engine: LocalEngine) -> None:
    pieces = [p async for p in engine.stream([Message("user", "hello")], Mix(), GREEDY, 0)]
    last: Piece = pieces[-1]
    assert last.finish_reason == "length"
    assert last.usage is not None
    assert last.usage.completion_tokens == TOKENS
    assert last.usage.prompt_tokens == engine.count([Message("user", "hello")])


async def test_log_probabilities_are_those_that_score_gives(engine: LocalEngine, adapters: list[Adapter]) -> None:
    mix, messages = Mix(((adapters[0], 0.8),)), [Message("user", "hello")]
    pieces = [p async for p in engine.stream(messages, mix, dataclasses.replace(GREEDY, logprobs=2), 0)]
    scores = [score for piece in pieces for score in piece.scores]
    assert len(scores) == TOKENS
    assert all(score.top[0] == (score.text, pytest.approx(score.logprob)) and len(score.top) == 2 for score in scores)
    one = await engine.score(messages, scores[0].text, mix)
    assert scores[0].logprob == pytest.approx(one[0], abs=1e-4)


async def test_tokens_of_a_stop_string_are_not_told(engine: LocalEngine) -> None:
    whole = [score.text for score in await scores_of(engine, Sampling(max_tokens=20, ignore_eos=True, logprobs=0))]
    stop = next("".join(whole[n : n + 2]) for n in range(4, 19) if "\ufffd" not in "".join(whole[n : n + 2]))
    cut = await scores_of(engine, Sampling(max_tokens=20, ignore_eos=True, logprobs=0, stop=(stop,)))
    shown = "".join(whole).partition(stop)[0]
    assert "".join(score.text for score in cut) == shown


async def scores_of(engine: LocalEngine, sampling: Sampling) -> list[TokenScore]:
    pieces = engine.stream([Message("user", "hello")], Mix(), sampling, 0)
    return [score async for piece in pieces for score in piece.scores]


async def test_a_stop_string_ends_the_reply_and_is_not_shown(engine: LocalEngine) -> None:
    whole = await reply(engine, "hello", Mix(), Sampling(max_tokens=40, ignore_eos=True))
    stop = whole[len(whole) // 2 : len(whole) // 2 + 3]
    sampling = Sampling(max_tokens=40, ignore_eos=True, stop=(stop,))
    assert await reply(engine, "hello", Mix(), sampling) == whole[: whole.index(stop)]


async def test_a_conversation_that_fills_the_context_is_refused(engine: LocalEngine) -> None:
    with pytest.raises(InvalidMessage, match="this base reads 512"):
        await reply(engine, "word " * 600, Mix())


async def test_a_full_queue_refuses_at_once(tiny_base: Base) -> None:
    engine = LocalEngine(tiny_base, "float32", max_queue=1)
    gate = held(engine)
    tasks = [asyncio.create_task(reply(engine, "hello", Mix())) for _ in range(3)]
    done, _ = await asyncio.wait(tasks, timeout=5, return_when=asyncio.FIRST_COMPLETED)
    assert all(isinstance(task.exception(), Overloaded) for task in done)
    gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["Overloaded", "Overloaded", "str"]
    await engine.close()


async def test_short_prompts_that_wait_are_read_between_two_steps_while_a_chunk_has_room(
    tiny_base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, done = LocalEngine(tiny_base, "float32"), []
    await reply(engine, "to have the model loaded", Mix())
    batch = engine._scheduler.batch
    step, read = batch.step, batch.read

    def reading(row: Row, most: int) -> torch.Tensor | None:
        before = row.filled
        logits = read(row, most)
        done.append(row.filled - before)
        return logits

    monkeypatch.setattr(batch, "step", lambda: (done.append(0), step()))
    monkeypatch.setattr(batch, "read", reading)
    gate, long = held(engine), "word " * 300
    waiting = [asyncio.create_task(reply(engine, text, Mix())) for text in ("hello", "a lamp", "a box", long, "no")]
    async with asyncio.timeout(9):
        while sum(ticket.row is not None for ticket in engine._scheduler._waiting) < len(waiting):
            await asyncio.sleep(0.01)
    gate.set()
    await asyncio.gather(*waiting)
    await engine.close()
    turns = [list(run) for some, run in itertools.groupby(done, bool) if some]
    assert [len(turn) for turn in turns] == [4, 2], "three and some of the long one, its rest and the last"
    assert sum(turns[0]) == 256


async def test_an_adapter_that_vanished_is_an_error_and_the_engine_goes_on(engine: LocalEngine, tmp_path: Path) -> None:
    gone = Adapter("gone", 1, tmp_path / "gone", "f" * 64, "lora")
    with pytest.raises(Exception, match="gone@1 does not load"):
        await reply(engine, "hello", Mix(((gone, 1.0),)))
    assert await reply(engine, "hello", Mix())


async def test_a_client_that_leaves_while_waiting_gives_its_place_back(tiny_base: Base) -> None:
    engine = LocalEngine(tiny_base, "float32", max_queue=2)
    gate = held(engine)
    leaving = [asyncio.create_task(reply(engine, "hello", Mix())) for _ in range(2)]
    await asyncio.sleep(0.1)
    with pytest.raises(Overloaded):
        await reply(engine, "hello", Mix())
    for task in leaving:
        task.cancel()
    await asyncio.gather(*leaving, return_exceptions=True)
    staying = asyncio.create_task(reply(engine, "hello", Mix()))
    await asyncio.sleep(0.1)
    gate.set()
    assert await staying
    await engine.close()


async def test_closing_ends_what_runs_and_what_waits_as_cancelled(tiny_base: Base) -> None:
    engine = LocalEngine(tiny_base, "float32")
    long = Sampling(max_tokens=480, ignore_eos=True)

    async def last(stream: AsyncGenerator[Piece, None]) -> Piece:
        return [piece async for piece in stream][-1]

    running, *waiting = (engine.stream([Message("user", "hello")], Mix(), long, 0) for _ in range(3))
    await anext(running)
    tasks = [asyncio.create_task(last(stream)) for stream in (running, *waiting)]
    await asyncio.sleep(0)
    await engine.close()
    assert {piece.finish_reason for piece in await asyncio.wait_for(asyncio.gather(*tasks), 5)} == {"cancelled"}
    with pytest.raises(EngineError, match="shut down"):
        await reply(engine, "again", Mix())
