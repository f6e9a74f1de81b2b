"""C6 and C8 to C11: waiting, memory, and what may not disturb a chat: prefixes, arrivals, adapters, disconnects."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import itertools
import os
import random
import statistics
import time
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path

from bot.bench.arms import Ours
from bot.bench.chats import Timing, timed
from bot.bench.rows import Row, alternate, at_most, ratio
from bot.bench.shape import DEVICE, tensor_bytes
from bot.bench.throughput import EIGHT, Stage
from bot.engine.local.engine import LocalEngine
from bot.types import Adapter, Message, Mix

ARRIVALS = 200
SLACK_MIB = 32
"""What the allocator may keep for itself; the keys and values of two hundred leaked prompts would be many times that."""
_ROLE_WORDS = 470
"""Make some 512 tokens."""
_UNDISTURBED, _ENDLESS = 16, 1500
"""Pieces per chat before and after an adapter is loaded; more than any chat gets to."""


async def prefixes(stage: Stage) -> list[Row]:
    """C6: time to first token where a role of 512 tokens was read before, against where it was not."""
    mix, role = stage.each[0], stage.chats.prompt(words=_ROLE_WORDS)[1].content

    async def hit() -> float:
        return 1 / (await timed(stage.ours.stream(stage.chats.prompt(role, 12), mix, 2))).first

    async def miss() -> float:
        fresh = stage.chats.prompt(words=_ROLE_WORDS)[1].content
        return 1 / (await timed(stage.ours.stream(stage.chats.prompt(fresh, 12), mix, 2))).first

    found = await alternate({"hit": hit, "miss": miss}, max(stage.rounds, 5))
    what = "first tokens a second after a role of 512 tokens, read before against not"
    return [ratio("C6", what, found["hit"], found["miss"], 8)]


async def arrivals(stage: Stage, rate: float) -> list[Row]:
    """C8: requests that come at random, at 70 % of the tokens a second that eight chats reach."""
    alone = [await timed(stage.ours.stream(stage.chats.prompt(), stage.each[n % EIGHT])) for n in range(6)]
    own = statistics.median(timing.first for timing in alone[1:])
    step = statistics.median(timing.rest / (timing.tokens - 1) for timing in alone[1:])
    per_second = 0.7 * rate / stage.ours.tokens
    chance, moment, waits = random.Random(5), 0.0, []
    for _ in range(ARRIVALS):
        moment += chance.expovariate(per_second)
        waits.append(moment)

    async def one(number: int, wait: float) -> Timing:
        await asyncio.sleep(wait)
        return await timed(stage.ours.stream(stage.chats.prompt(), stage.each[number % EIGHT]))

    firsts = sorted(timing.first for timing in await asyncio.gather(*map(one, range(ARRIVALS), waits)))
    # Alone, a first token is the prompt's reading and one step.
    allowed = 2 * own + max(own - step, 0)
    what = f"time to first token, p95 of {ARRIVALS} arrivals (twice one user's, and its own prefill)"
    return [at_most("C8", what, firsts[int(0.95 * len(firsts))], round(allowed, 4), "s", alone_s=round(own, 4),
                    step_s=round(step, 4), p50_s=round(firsts[len(firsts) // 2], 4),
                    arrivals_per_second=round(per_second, 3))]  # fmt: skip


async def memory(stage: Stage, by_rank: dict[int, list[Adapter]], dtype: str) -> list[Row]:
    """C9: memory that further adapters take, against their tensors' bytes; the worst of several ranks. In an engine of its
    own, whose memory has room for all."""
    engine = LocalEngine(stage.base, dtype, DEVICE)
    ours, found = Ours(engine, 1), {}
    for rank, (first, *further) in by_rank.items():
        await timed(ours.stream([Message("user", "hi")], Mix(((first, 1.0),))))
        before = _resident()
        for adapter in further:
            await timed(ours.stream([Message("user", "hi")], Mix(((adapter, 1.0),))))
        grown = _resident() - before
        found[str(rank)] = round(grown / sum(tensor_bytes(adapter, dtype) for adapter in further), 3)
    kept = engine.state().adapters
    await engine.close()
    worst = max(found.values()) if kept == sum(map(len, by_rank.values())) else float("inf")
    what = f"memory of a further adapter against its tensors' bytes, worst of ranks {', '.join(found)}"
    return [at_most("C9", what, worst, 1.1, "times", by_rank=found)]


def _resident() -> int:
    """Bytes of this process in memory, what the allocator could give back not counted."""
    gc.collect()
    if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def loading(stage: Stage, fresh: Sequence[Adapter]) -> list[Row]:
    """C10: the longest gap of eight streaming chats while adapters are read from disk, one after the other, in steps."""
    arrived: list[list[float]] = [[] for _ in stage.each]

    async def chat(number: int, mix: Mix) -> None:
        async with aclosing(stage.ours.stream(stage.chats.prompt(), mix, _ENDLESS)()) as pieces:
            async for _ in pieces:
                arrived[number].append(time.perf_counter())

    async def further(pieces: int) -> None:
        until = sum(map(len, arrived)) + pieces * EIGHT
        while sum(map(len, arrived)) < until and not all(task.done() for task in running):
            await asyncio.sleep(0.01)

    loads: list[tuple[float, float]] = []
    async with asyncio.TaskGroup() as group:
        running = [group.create_task(chat(number, mix)) for number, mix in enumerate(stage.each)]
        await further(_UNDISTURBED)
        for adapter in fresh:
            _drop_from_cache(adapter.path / "adapter_model.safetensors")
            start = time.perf_counter()
            await timed(stage.ours.stream([Message("user", "hi")], Mix(((adapter, 1.0),)), 1))
            loads.append((start, time.perf_counter()))
            await further(_UNDISTURBED)
        for task in running:
            task.cancel()
    gaps = [(one, other) for times in arrived for one, other in itertools.pairwise(times)]
    quiet = [end - start for start, end in gaps if not any(start <= last and end >= first for first, last in loads)]
    step = statistics.median(quiet)
    longest = [max(end - start for start, end in gaps if start <= last and end >= first) for first, last in loads]
    what = f"longest gap of 8 streaming chats while an adapter is loaded, worst of {len(loads)}"
    return [at_most("C10", what, max(longest) / step, 3, "steps", step_s=round(step, 4),
                    gaps_s=[round(gap, 4) for gap in longest])]  # fmt: skip


def _drop_from_cache(path: Path) -> None:
    """Have the system read the file from its disk the next time."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


async def disconnects(stage: Stage) -> list[Row]:
    """C11: readers who leave at random moments: in the queue, while their prompt is read, in the middle of a reply."""
    engine, chance = stage.ours.engine, random.Random(7)
    before = _resident() - engine.state().prefix_bytes

    async def leave(number: int) -> None:
        await asyncio.sleep(chance.random() * ARRIVALS / 10)
        reading = asyncio.create_task(timed(stage.ours.stream(stage.chats.prompt(), stage.each[number % EIGHT], 300)))
        await asyncio.sleep(chance.random() * 2)
        reading.cancel()
        await asyncio.wait([reading])

    await asyncio.gather(*map(leave, range(ARRIVALS)))
    await asyncio.sleep(1)
    state = engine.state()
    grown = (_resident() - state.prefix_bytes - before) / 2**20
    return [
        at_most("C11", f"rows left after {ARRIVALS} disconnects", state.running + state.waiting, 0, "rows"),
        at_most("C11", "memory above that before them, prefixes not counted", grown, SLACK_MIB, "MiB"),
    ]
