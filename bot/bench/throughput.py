"""C2 to C5 and C7: tokens a second of eight chats and of one, beside transformers, PEFT and the servers that were given."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bot.base import Base
from bot.bench.arms import Ours, Peft, Server
from bot.bench.chats import Chats, timed, together
from bot.bench.rows import Arm, Row, alternate, ratio
from bot.types import Adapter, Message, Mix

EIGHT = 8


@dataclass
class Stage:
    """Everything that is measured. `vllm` and `llama` may be missing."""

    base: Base
    ours: Ours
    peft: Peft
    adapters: list[Adapter]
    chats: Chats
    rounds: int
    vllm: Server | None = None
    llama: Server | None = None

    @property
    def each(self) -> list[Mix]:
        """Eight mixes of one adapter each."""
        return [Mix(((adapter, 1.0),)) for adapter in self.adapters[:EIGHT]]

    def our(self, mixes: Sequence[Mix], prompts: Sequence[Sequence[Message]] | None = None) -> Arm:
        """Tokens a second of our engine: chats begun at once, on unseen prompts where none are given."""

        async def run() -> float:
            given = prompts or self.chats.prompts(len(mixes))
            return await together([self.ours.stream(p, mix) for p, mix in zip(given, mixes, strict=True)])

        return run

    def rate(self, run: Callable[[], int]) -> Arm:
        """Tokens a second of a peer without a server of its own."""

        async def arm() -> float:
            start = time.perf_counter()
            tokens = await self.ours.engine.run(run)
            return tokens / (time.perf_counter() - start)

        return arm

    def server(
        self, server: Server, adapters: Sequence[int | None], prompts: Sequence[Sequence[Message]] | None = None
    ) -> Arm:
        async def run() -> float:
            given = prompts or self.chats.prompts(len(adapters))
            return await together([server.stream(p, adapter) for p, adapter in zip(given, adapters, strict=True)])

        return run


async def eight_adapters(stage: Stage) -> list[Row]:
    """C2: eight chats, eight adapters, prompts that nobody has seen; then the same prompts again."""
    numbers = list(range(EIGHT))
    arms = {
        "ours": stage.our(stage.each),
        "one by one": stage.rate(lambda: stage.peft.one_by_one(stage.chats.prompts(EIGHT), numbers)),
        "mixed batch": stage.rate(lambda: stage.peft.mixed(stage.chats.prompts(EIGHT), numbers)),
    }
    if stage.vllm:
        arms["vllm"] = stage.server(stage.vllm, numbers)
    if stage.llama:
        arms["llama"] = stage.server(stage.llama, numbers)
    found = await alternate(arms, stage.rounds)
    what = "8 chats, 8 adapters, unseen messages under one role, against"
    rows = [
        ratio("C2", f"{what} one-at-a-time PEFT", found["ours"], found["one by one"], 4),
        ratio("C2", f"{what} PEFT's ready mixed batch", found["ours"], found["mixed batch"], 3),
        ratio("C2", f"{what} vLLM", found["ours"], found.get("vllm"), 4),
        ratio("C2", f"{what} llama.cpp", found["ours"], found.get("llama"), 2),
    ]
    prompts = stage.chats.prompts(EIGHT)
    again = {"ours": stage.our(stage.each, prompts)}
    if stage.vllm:
        again["vllm"] = stage.server(stage.vllm, numbers, prompts)
    seen = await alternate(again, stage.rounds)
    return [*rows, ratio("C2", "the same prompts again, against vLLM", seen["ours"], seen.get("vllm"), 1.5)]


async def against_base(stage: Stage) -> list[Row]:
    """C3 and C4: what adapters cost, and the bare base beside others."""
    bare: list[int | None] = [None] * EIGHT
    arms = {
        "adapters": stage.our(stage.each),
        "base": stage.our([Mix()] * EIGHT),
        "generate": stage.rate(lambda: stage.peft.base(stage.chats.prompts(EIGHT))),
    }
    if stage.vllm:
        arms["vllm"] = stage.server(stage.vllm, bare)
    found = await alternate(arms, stage.rounds)
    faster = [max(pair) for pair in zip(found["base"], found["generate"], strict=True)]
    return [
        ratio("C3", "8 chats, 8 adapters, against the faster of our base and generate's ready batch", found["adapters"],
              faster, 0.75),
        ratio("C4", "8 chats on the base, against vLLM", found["base"], found.get("vllm"), 1.2),
        ratio("C4", "8 chats on the base, against generate on a ready batch", found["base"], found["generate"], 1.0),
    ]  # fmt: skip


async def one_chat(stage: Stage) -> list[Row]:
    """C5: one chat with one adapter, decoding."""

    async def ours() -> float:
        return (await timed(stage.ours.stream(stage.chats.prompt(), stage.each[0]))).rate

    async def peft() -> float:
        def run(tokens: int) -> float:
            start = time.perf_counter()
            stage.peft.one(prompt, 0, tokens)
            return time.perf_counter() - start

        prompt = stage.chats.prompt()
        first = await stage.ours.engine.run(lambda: run(1))
        tokens = stage.ours.tokens
        return (tokens - 1) / (await stage.ours.engine.run(lambda: run(tokens)) - first)

    async def llama() -> float:
        assert stage.llama
        return (await timed(stage.llama.stream(stage.chats.prompt(), 0))).rate

    arms = {"ours": ours, "peft": peft} | ({"llama": llama} if stage.llama else {})
    found = await alternate(arms, stage.rounds)
    return [
        ratio("C5", "one chat, one adapter, decoding, against PEFT", found["ours"], found["peft"], 1.8),
        ratio("C5", "the same against llama.cpp", found["ours"], found.get("llama"), round(1 / 1.5, 2)),
        await stage.ours.engine.run(lambda: _bandwidth(stage, found["ours"])),
    ]


def _bandwidth(stage: Stage, rates: Sequence[float]) -> Row:
    """The share of the memory's speed that reading the weights once per token takes."""
    import torch

    block = torch.ones(2**27, dtype=torch.float32)
    best = 0.0
    for _ in range(5):
        start = time.perf_counter()
        block.sum()
        best = max(best, block.nbytes / (time.perf_counter() - start))
    weights = stage.peft.bytes
    share = statistics.median(rates) * weights / best
    return Row("C5", "share of the memory's speed that one chat uses", round(share, 2), "share",
               detail={"bytes_per_token": weights, "bytes_per_second": round(best)})  # fmt: skip


async def many_adapters(stage: Stage) -> list[Row]:
    """C7: chats drawn from a hundred adapters, and chats that share one."""
    every = [Mix(((adapter, 1.0),)) for adapter in stage.adapters]
    place = 0

    async def drawn() -> float:
        nonlocal place
        place += EIGHT
        return await stage.our([every[(place + number) % len(every)] for number in range(EIGHT)])()

    arms: dict[str, Arm] = {"drawn": drawn, "eight": stage.our(stage.each), "shared": stage.our([stage.each[0]] * EIGHT),
                            "base": stage.our([Mix()] * EIGHT)}  # fmt: skip
    await _warm(stage, every)
    found = await alternate(arms, stage.rounds)
    return [
        ratio("C7", f"8 chats drawn from {len(every)} adapters in memory, against 8", found["drawn"], found["eight"], 0.9),
        ratio("C7", "8 chats that share one adapter, against the base", found["shared"], found["base"], 0.85),
    ]


async def _warm(stage: Stage, mixes: Sequence[Mix]) -> None:
    """Every adapter in memory."""
    for mix in mixes:
        await timed(stage.ours.stream([Message("user", "hi")], mix, 1))
