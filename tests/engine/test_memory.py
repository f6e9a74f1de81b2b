"""What the engine keeps: prompts already read, adapters, and a batch's slots; and what it refuses to take."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from bot.adapters.verify import verify
from bot.base import Base
from bot.engine.local.engine import LocalEngine
from bot.engine.local.factors import Factors
from bot.engine.local.prefixes import LEAST, Prefixes
from bot.engine.local.projections import Group, Product
from bot.engine.local.slots import Slots
from bot.engine.local.stack import Stack
from bot.errors import EngineError, SettingsError
from bot.types import Adapter, Message, Mix, Sampling
from tests.conftest import make_adapter

CPU = torch.device("cpu")
GREEDY = Sampling(max_tokens=4, ignore_eos=True)
ROLE = "You are Wren of Larkmoor. Answer from the knowledge below and never guess what is not there. " * 3


def kept(positions: int) -> Slots:
    """Slots of one row in one layer, 16 bytes a position."""
    slots = Slots(1, positions)
    slots.window([0], positions, CPU).update(torch.ones(1, 1, positions, 2), torch.ones(1, 1, positions, 2), 0)
    return slots


TOKENS = st.lists(st.integers(0, 2), min_size=1, max_size=3 * LEAST)


@given(st.lists(st.tuples(st.sampled_from("ab"), TOKENS), max_size=6), st.sampled_from("ab"), TOKENS)
def test_a_prompt_is_reused_by_its_longest_common_beginning_and_never_under_another_key(
    stored: list[tuple[str, list[int]]], key: str, wanted: list[int]
) -> None:
    prefixes = Prefixes()
    for name, ids in stored:
        prefixes.keep(name, ids, kept(len(ids)))
    common = [
        next((n for n, (a, b) in enumerate(zip(ids, wanted[:-1], strict=False)) if a != b), min(len(ids), len(wanted) - 1))
        for name, ids in stored
        if name == key
    ]
    best = max(common, default=0)
    found = prefixes.find(key, wanted)
    assert (found[1] if found else 0) == (best if best >= LEAST else 0)


def test_the_longest_unused_prompt_goes_first() -> None:
    prefixes = Prefixes(limit=16 * 100)
    first, second, third = ([number] * 40 for number in (1, 2, 3))
    prefixes.keep("", first, kept(40))
    prefixes.keep("", second, kept(40))
    assert prefixes.find("", first)
    prefixes.keep("", third, kept(40))
    assert prefixes.bytes <= 16 * 100
    assert [bool(prefixes.find("", ids)) for ids in (first, second, third)] == [True, False, True]


async def said(engine: LocalEngine, mix: Mix, question: str = "Where is my order?") -> str:
    messages = [Message("system", ROLE), Message("user", question)]
    return "".join([piece.text async for piece in engine.stream(messages, mix, GREEDY, 0)])


def one(base: Base, folder: Path, seed: int, **config: Any) -> Adapter:
    return verify(folder.parent.name, 1, make_adapter(base, folder, seed, 4, **config), base)


async def test_a_role_is_read_once_for_every_mix(tiny_base: Base, tmp_path: Path) -> None:
    engine = LocalEngine(tiny_base, "float32")
    mixes = [Mix(), Mix(((one(tiny_base, tmp_path / "a" / "v1", 1), 1.0),))]
    model = await asyncio.to_thread(engine._loaded)
    forward, read = model.forward, []

    def counted(inputs: dict[str, torch.Tensor], *rest: Any, **more: Any) -> torch.Tensor:
        read.append(next(iter(inputs.values())).shape[1])
        return forward(inputs, *rest, **more)

    model.forward = counted  # type: ignore[method-assign, assignment]
    first = [await said(engine, mix) for mix in mixes]
    whole, read[:] = sum(read), []
    assert [await said(engine, mix, "Hello, is anybody there?") for mix in mixes] != first
    assert 0 < sum(read) < whole / 3
    assert [await said(engine, mix) for mix in mixes] == first
    assert len(set(first)) == 2
    await engine.close()


async def test_a_new_version_under_an_old_name_is_another_adapter(tiny_base: Base, tmp_path: Path) -> None:
    engine = LocalEngine(tiny_base, "float32")
    old = one(tiny_base, tmp_path / "a" / "v1", 1)
    before = await said(engine, Mix(((old, 1.0),)))
    new = one(tiny_base, tmp_path / "a" / "v1", 2)
    assert new.hash != old.hash
    assert await said(engine, Mix(((new, 1.0),))) != before
    await engine.close()


async def test_adapters_beyond_the_limit_are_read_again(tiny_base: Base, tmp_path: Path) -> None:
    engine = LocalEngine(tiny_base, "float32")
    adapters = [one(tiny_base, tmp_path / f"a{seed}" / "v1", seed) for seed in range(3)]
    memory = (await asyncio.to_thread(engine._loaded)).adapters
    memory._limit = memory._lora(adapters[0]).bytes * 2
    replies = [await said(engine, Mix(((adapter, 1.0),))) for adapter in adapters]
    assert len(set(replies)) == 3
    together = await asyncio.gather(*(said(engine, Mix(((adapter, 1.0),))) for adapter in adapters * 3))
    assert together == replies * 3
    assert len(memory._kept) == 2
    await engine.close()


async def test_everybody_gone_leaves_nothing_behind(tiny_base: Base, tmp_path: Path) -> None:
    engine = LocalEngine(tiny_base, "float32")
    mixes = [Mix(((one(tiny_base, tmp_path / f"a{seed}" / "v1", seed), 1.0),)) for seed in range(2)]
    long = Sampling(max_tokens=300, ignore_eos=True)

    async def leave_early(number: int) -> None:
        stream = engine.stream([Message("user", f"{number} lamps")], mixes[number % 2], long, 0)
        first = asyncio.ensure_future(anext(stream))
        if number % 3 == 0:
            await asyncio.sleep(0)
            first.cancel()
        await asyncio.wait([first])
        await stream.aclose()

    await asyncio.gather(*(leave_early(number) for number in range(12)))
    scheduler, batch = engine._scheduler, engine._scheduler.batch
    # The first may run in a turn that began before they left, the second before the turn in which they go has ended.
    for _ in range(3):
        await asyncio.wrap_future(scheduler.call(lambda: None))
    left = (batch.rows, scheduler._waiting, batch._slots.bytes, batch._added, batch._stack._held)
    assert not any(left)
    await engine.close()


async def test_an_error_in_one_row_leaves_the_others_alone(tiny_base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    from bot.engine.local.rows import Row

    engine, take = LocalEngine(tiny_base, "float32"), Row.take
    expected = await said(engine, Mix())

    def faulty(row: Row, *rest: Any) -> bool:
        if row.prompt < 40 and len(row.picker.tokens) == 2:
            raise RuntimeError("no such token")
        return take(row, *rest)

    monkeypatch.setattr(Row, "take", faulty)

    async def short() -> str:
        stream = engine.stream([Message("user", "hello")], Mix(), GREEDY, 0)
        return "".join([piece.text async for piece in stream])

    results = await asyncio.gather(said(engine, Mix()), short(), said(engine, Mix()), return_exceptions=True)
    assert results[0] == results[2] == expected
    assert str(results[1]) == "no such token"
    assert await said(engine, Mix()) == expected
    await engine.close()


async def test_a_fault_of_the_whole_batch_is_told_and_the_thread_goes_on(tiny_base: Base) -> None:
    engine = LocalEngine(tiny_base, "float32")
    expected = await said(engine, Mix())
    batch = engine._scheduler.batch

    def broken() -> None:
        del batch.step  # type: ignore[attr-defined]
        raise MemoryError("no room")

    batch.step = broken  # type: ignore[method-assign]
    with pytest.raises(MemoryError):
        await said(engine, Mix())
    assert await said(engine, Mix()) == expected
    await engine.close()


async def test_an_adapter_whose_config_is_nonsense_is_an_error_for_all_who_wait(tiny_base: Base, tmp_path: Path) -> None:
    engine = LocalEngine(tiny_base, "float32")
    adapter = one(tiny_base, tmp_path / "a" / "v1", 1)
    (adapter.path / "adapter_config.json").write_text("[]")
    asked = (said(engine, Mix(((adapter, 1.0),))) for _ in range(3))
    results = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 10)
    assert all("does not load" in str(result) for result in results)
    assert await said(engine, Mix())
    await engine.close()


async def test_closing_an_engine_that_was_never_asked_builds_nothing(tiny_base: Base) -> None:
    engine = LocalEngine(tiny_base, "float32")
    await engine.close()
    assert engine._made is None


async def test_more_replies_than_rows_take_turns(tiny_base: Base) -> None:
    engine = LocalEngine(tiny_base, "float32")
    engine._scheduler.batch._max_rows = 3
    expected = await said(engine, Mix())
    assert await asyncio.gather(*(said(engine, Mix()) for _ in range(10))) == [expected] * 10
    await engine.close()


async def test_rows_wait_until_the_batch_has_memory_for_them_and_it_is_given_back(tiny_base: Base) -> None:
    engine = LocalEngine(tiny_base, "float32")
    expected = await said(engine, Mix())
    model, batch, seen = engine._loaded(), engine._scheduler.batch, []
    batch._max_bytes = 2 * 128 * model.position_bytes
    step = batch.step

    def watched() -> None:
        seen.append((len(batch.rows), batch._slots.bytes))
        step()

    batch.step = watched  # type: ignore[method-assign]
    long = [Message("system", ROLE * 6), Message("user", "and now everything")]
    assert engine.count(long) > 256, "more than the limit has room for, so it runs alone"
    alone = [piece.text async for piece in engine.stream(long, Mix(), GREEDY, 0)]
    assert {size for _, size in seen} == {512 * model.position_bytes}
    seen.clear()

    async def again() -> list[str]:
        return [piece.text async for piece in engine.stream(long, Mix(), GREEDY, 0)]

    *short, whole = await asyncio.gather(*(said(engine, Mix()) for _ in range(5)), again())
    assert short == [expected] * 5
    assert whole == alone
    assert {rows for rows, _ in seen} == {1, 2}
    assert all(size <= batch._max_bytes or rows == 1 for rows, size in seen)
    await engine.close()


@pytest.mark.parametrize("compiled", [True, False])
async def test_memory_of_rows_that_left_is_given_back_while_others_go_on(
    compiled: bool, tiny_base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not compiled:
        monkeypatch.setattr("bot.engine.local.model.openmp", lambda: None)
    engine, sizes = LocalEngine(tiny_base, "float32"), []
    mixes = [Mix(((one(tiny_base, tmp_path / f"a{seed}" / "v1", seed), 1.0),)) for seed in range(5)]
    scheduler, batch = engine._scheduler, engine._scheduler.batch
    step = batch.step

    def watched() -> None:
        step()
        sizes.append((len(batch.rows), batch._slots.bytes, batch._stack._room))

    batch.step = watched  # type: ignore[method-assign]

    async def chat(mix: Mix, tokens: int) -> None:
        how = Sampling(max_tokens=tokens, ignore_eos=True)
        async for _ in engine.stream([Message("user", "hello")], mix, how, 0):
            pass

    await engine.load()
    gate = threading.Event()
    scheduler.call(lambda: gate.wait(10) and None)
    async with asyncio.TaskGroup() as group:
        for mix, tokens in zip(mixes, (300, 20, 20, 20, 20), strict=True):
            group.create_task(chat(mix, tokens))
        while sum(ticket.row is not None for ticket in scheduler._waiting) < len(mixes):
            await asyncio.sleep(0.01)
        gate.set()
    most = next(row for row in sizes if row[0] == 5)
    alone = [row for row in sizes if row[0] == 1][-1]
    assert alone[1] * 4 <= most[1]
    assert (most[2], alone[2]) == (0 if batch._load().kernels else 8, 0), "kernels read adapters where they lie"
    await engine.close()


async def test_numbers_that_overflow_in_one_row_are_no_others(tiny_base: Base, tmp_path: Path) -> None:
    engine = LocalEngine(tiny_base, "float32")
    sound, wild = (one(tiny_base, tmp_path / f"a{seed}" / "v1", seed) for seed in range(2))
    weights = wild.path / "adapter_model.safetensors"
    save_file({name: tensor * 1e30 for name, tensor in load_file(weights).items()}, weights)
    expected = [await said(engine, Mix()), await said(engine, Mix(((sound, 1.0),)))]
    for _ in range(3):
        asked = (said(engine, mix) for mix in (Mix(((wild, 1.0),)), Mix(), Mix(((sound, 1.0),))))
        found = await asyncio.gather(*asked, return_exceptions=True)
        assert "no finite numbers" in str(found[0])
        assert found[1:] == expected
    with pytest.raises(EngineError, match="no finite numbers"):
        await engine.score([Message("user", "hello")], "yes", Mix(((wild, 1.0),)))
    await engine.close()


async def test_chats_of_one_weighted_mix_share_its_factors(tiny_base: Base, tmp_path: Path) -> None:
    engine = LocalEngine(tiny_base, "float32")
    one_, other = (one(tiny_base, tmp_path / f"a{seed}" / "v1", seed) for seed in range(2))
    model = await asyncio.to_thread(engine._loaded)
    mix = Mix(((one_, 0.7), (other, 0.3)))
    first = model.parts(mix)[0]
    assert model.parts(mix)[0] is first
    assert model.parts(Mix(((one_, 0.7), (other, 0.4))))[0] is not first
    del first
    gc.collect()
    assert not model.adapters._mixes
    await engine.close()


def test_a_row_finds_nothing_of_the_one_before_it_in_its_slot() -> None:
    slots = Slots(1, 4)
    nothing = torch.full((1, 1, 4, 2), torch.nan)
    slots.window([0], 4, CPU).update(nothing, nothing, 0)
    slots.clear(0)
    assert not slots.keys[0].any()
    assert not slots.values[0].any()
    stack, group = Stack(), Group(0, Product(torch.zeros(3, 2), None), (3,))
    endless = Factors({0: torch.ones(1, 2)}, {(0, 0): torch.full((1, 3), torch.inf)}, {0: (1,)})
    plain = Factors({0: torch.ones(1, 2)}, {(0, 0): torch.ones(1, 3)}, {0: (1,)})
    stack.hold([endless, plain], 2)
    stack.hold([None, plain], 2)
    y = torch.zeros(2, 1, 3)
    stack.add(group, torch.ones(2, 1, 2), y)
    assert y.tolist() == [[[0.0] * 3], [[2.0] * 3]]


def test_resized_slots_keep_what_they_hold() -> None:
    slots = Slots(2, 4)
    keys = torch.arange(16.0).view(2, 1, 4, 2)
    slots.window([0, 0], 4, CPU).update(keys, keys + 1, 0)
    slots.resize(1, 3)
    assert slots.keys[0].equal(keys[:1, :, :3])
    slots.resize(3, 5)
    assert slots.values[0][:1, :, :3].equal(keys[:1, :, :3] + 1)
    assert not slots.keys[0][1:].any()
    assert slots.bytes == 2 * 3 * 5 * 2 * 4


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"kind": "mistral", "sliding_window": 16}, "only a part"),
        ({"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}}, "longest row"),
    ],
)
async def test_a_base_whose_rows_would_change_each_other_is_refused(
    changes: dict[str, Any], why: str, make_base: Callable[..., Base]
) -> None:
    engine = LocalEngine(make_base(**changes), "float32")
    with pytest.raises(SettingsError, match=why):
        await engine.load()
    await engine.close()
