"""C6 and C8 to C11: waiting, memory, and what may not disturb a chat: prefixes, arrivals, adapters, disconnects."""

from __future__ import annotations

import asyncio
import gc
import itertools
import random
import statistics
import time
from contextlib import aclosing
from pathlib import Path

from bot.bench.chats import Timing, timed
from bot.bench.rows import Row, alternate, at_most, ratio
from bot.bench.shape import tensor_bytes
from bot.bench.throughput import EIGHT, Stage
from bot.types import Adapter, Message, Mix, Sampling

ARRIVALS = 200
_UNDISTURBED, _ENDLESS = 16, 1500
"""Pieces per chat before and after the adapter is loaded; more than any chat gets to."""
KEPT_MIB = 320
"""What the prefixes may keep (256), and some slack of the allocator's."""


async def prefixes(stage: Stage) -> list[Row]:
    """C6: time to first token where a role of 512 tokens was read before, against where it was not."""
    mix = stage.each[0]
    role = " ".join(stage.chats.prompt(words=470)[1].content.split())

    async def hit() -> float:
        return 1 / (await timed(stage.ours.stream(stage.chats.prompt(role, 12), mix, 2))).first

    async def miss() -> float:
        fresh = stage.chats.prompt(words=470)[1].content
        return 1 / (await timed(stage.ours.stream(stage.chats.prompt(fresh, 12), mix, 2))).first

    found = await alternate({"hit": hit, "miss": miss}, max(stage.rounds, 5))
    return [
        ratio(
            "C6", "time to first token after a role of 512 tokens, read before against not", found["hit"], found["miss"], 8
        )
    ]


async def arrivals(stage: Stage, rate: float) -> list[Row]:
    """C8: requests that come at random, at 70 % of the tokens a second that eight chats reach."""
    alone = [(await timed(stage.ours.stream(stage.chats.prompt(), stage.each[n % EIGHT]))).first for n in range(6)][1:]
    per_second = 0.7 * rate / stage.ours.tokens
    chance = random.Random(5)

    async def one(number: int, wait: float) -> Timing:
        await asyncio.sleep(wait)
        return await timed(stage.ours.stream(stage.chats.prompt(), stage.each[number % EIGHT]))

    moment, waits = 0.0, []
    for _ in range(ARRIVALS):
        moment += chance.expovariate(per_second)
        waits.append(moment)
    timings = await asyncio.gather(*(one(number, wait) for number, wait in enumerate(waits)))
    firsts = sorted(timing.first for timing in timings)
    p95, own = firsts[int(0.95 * len(firsts))], statistics.median(alone)
    # One user's time to first token is almost all prefill, so "twice one user's, plus its own prefill" is three times.
    return [at_most("C8", f"time to first token, p95 of {ARRIVALS} arrivals, against one user alone", p95 / own, 3, "times",
                    alone_s=round(own, 4), p95_s=round(p95, 4), p50_s=round(firsts[len(firsts) // 2], 4),
                    arrivals_per_second=round(per_second, 3))]  # fmt: skip


async def memory(stage: Stage, mixed: list[Adapter]) -> list[Row]:
    """C9: memory that further adapters of many ranks take, against their tensors' bytes."""
    await timed(stage.ours.stream([Message("user", "hi")], Mix(((mixed[0], 1.0),)), 1))
    before = _resident()
    for adapter in mixed[1:]:
        await timed(stage.ours.stream([Message("user", "hi")], Mix(((adapter, 1.0),)), 1))
    grown, needed = _resident() - before, sum(map(tensor_bytes, mixed[1:]))
    return [at_most("C9", f"memory of {len(mixed) - 1} further adapters (ranks 4 to 64), against their tensors' bytes",
                    grown / needed, 1.1, "times", grown_bytes=grown, tensor_bytes=needed)]  # fmt: skip


def _resident() -> int:
    """Bytes of this process in memory, what the allocator could give back not counted."""
    import ctypes

    gc.collect()
    if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


async def loading(stage: Stage, fresh: Adapter) -> list[Row]:
    """C10: the longest gap of eight streaming chats while an adapter is read from disk, in steps."""
    arrivals: list[list[float]] = [[] for _ in stage.each]

    async def chat(number: int, mix: Mix) -> None:
        async with aclosing(stage.ours.stream(stage.chats.prompt(), mix, _ENDLESS)()) as pieces:
            async for _ in pieces:
                arrivals[number].append(time.perf_counter())

    async def further(pieces: int) -> None:
        until = sum(map(len, arrivals)) + pieces * EIGHT
        while sum(map(len, arrivals)) < until:
            await asyncio.sleep(0.01)

    async with asyncio.TaskGroup() as group:
        running = [group.create_task(chat(number, mix)) for number, mix in enumerate(stage.each)]
        await further(_UNDISTURBED)
        start = time.perf_counter()
        await timed(stage.ours.stream([Message("user", "hi")], Mix(((fresh, 1.0),)), 1))
        end = time.perf_counter()
        await further(_UNDISTURBED)
        for task in running:
            task.cancel()
    gaps = [(one, other) for times in arrivals for one, other in itertools.pairwise(times)]
    step = statistics.median(other - one for one, other in gaps if one > end)
    longest = max(other - one for one, other in gaps if other >= start and one <= end)
    what = "longest gap of 8 streaming chats while an adapter is loaded"
    return [at_most("C10", what, longest / step, 3, "steps", step_s=round(step, 4), gap_s=round(longest, 4))]


async def disconnects(stage: Stage) -> list[Row]:
    """C11: readers who leave at random moments."""
    chance, before = random.Random(7), _resident()

    async def leave(number: int) -> None:
        await asyncio.sleep(chance.random() * ARRIVALS / 10)
        pieces = stage.ours.engine.stream(stage.chats.prompt(), stage.each[number % EIGHT], Sampling(max_tokens=300), 0)
        async with aclosing(pieces):
            for _ in range(chance.randint(0, 20)):
                await anext(pieces, None)

    await asyncio.gather(*(leave(number) for number in range(ARRIVALS)))
    await asyncio.sleep(1)
    state, grown = stage.ours.engine.state(), _resident() - before
    return [
        at_most("C11", f"rows left after {ARRIVALS} disconnects", state.running + state.waiting, 0, "rows"),
        at_most(
            "C11", "memory after them above that before, prefixes kept on purpose included", grown / 2**20, 256 + 64, "MiB"
        ),
    ]
