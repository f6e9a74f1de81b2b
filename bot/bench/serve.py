"""The whole report of `bot bench serve`: sets the stage, runs the rows in order, writes JSON and a plot.

Contract: everything is measured in one run on one machine, side by side; the load average before and after is written down.
Peers' servers are started by whoever runs this (tests/load/README.md says how); without one its rows stay empty.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bot.base import Base
from bot.bench import http, latency, throughput
from bot.bench.arms import Ours, Peft, Server
from bot.bench.chats import TOKENS, Chats
from bot.bench.exact import exactness
from bot.bench.machine import machine
from bot.bench.plot import draw
from bot.bench.rows import Row
from bot.bench.shape import DEVICE, SMOL_135M, make_adapters, make_base
from bot.bench.throughput import Stage
from bot.engine.local.engine import LocalEngine
from bot.types import Adapter

RANKS = {4: 13, 8: 9, 16: 5, 32: 4, 64: 3}
"""Adapters of every rank whose memory is measured: more of the small ones, whose bytes drown in the allocator's."""
LOADED = 5


@dataclass(frozen=True)
class Plan:
    """What to run. `shape` and counts are smaller in tests alone."""

    work: Path
    rounds: int = 3
    dtype: str = "bfloat16"
    threads: int = 2
    seed: int = 1
    resident: int = 100
    tokens: int = TOKENS
    compared: int = 60
    pairs: int = 10
    vllm: str = ""
    llama: str = ""
    shape: dict[str, Any] | None = None


async def run(plan: Plan, say: Callable[[str], None], save: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """The report as plain data. `say` is told of every row as it is there, `save` is handed the report so far."""
    import torch

    # What is measured runs on the engine's thread, the peers without a server too: pools of others would slow it.
    torch.set_num_threads(1)
    report = _head(plan)

    def add(found: list[Row]) -> None:
        for row in found:
            say(line(row))
        report["rows"] += [row.as_dict() for row in found]
        report["load_after"] = os.getloadavg()[0]
        save(report)

    base = _base(plan)
    add(await exactness(base, _adapters(plan, base), Chats(plan.seed), plan.compared, plan.threads))
    async with _stage(plan, base, say) as stage:
        eight = await throughput.eight_adapters(stage)
        add(eight)
        add(await throughput.against_base(stage))
        add(await throughput.one_chat(stage))
        add(await latency.prefixes(stage))
        add(await throughput.many_adapters(stage))
        add(await latency.arrivals(stage, statistics.median(eight[0].detail["ours"])))
        add(await latency.memory(stage, _by_rank(plan, base), plan.dtype))
        add(await latency.loading(stage, make_adapters(base, plan.work / "fresh", [16] * LOADED, first=2000)))
        add(await latency.disconnects(stage))
        async with http.served(stage, plan.work / "workspace") as server:
            add(await http.layer(stage, server, plan.pairs))
    return report


def _head(plan: Plan) -> dict[str, Any]:
    return {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(["bot", *sys.argv[1:]]),
        "machine": machine(),
        "versions": {name: version(name) for name in ("torch", "transformers", "peft")},
        "dtype": plan.dtype, "device": DEVICE, "threads": plan.threads, "rounds": plan.rounds, "seed": plan.seed,
        "peers": {"vllm": plan.vllm, "llama": plan.llama},
        "load_before": os.getloadavg()[0],
        "rows": [],
    }  # fmt: skip


def _by_rank(plan: Plan, base: Base) -> dict[int, list[Adapter]]:
    ranks = [rank for rank, count in RANKS.items() for _ in range(count)]
    made = make_adapters(base, plan.work / "mixed", ranks, first=1000)
    return {rank: [adapter for adapter, own in zip(made, ranks, strict=True) if own == rank] for rank in RANKS}


def _base(plan: Plan) -> Base:
    plan.work.mkdir(parents=True, exist_ok=True)
    return make_base(plan.work / "base", plan.shape or SMOL_135M)


def _adapters(plan: Plan, base: Base) -> list[Adapter]:
    return make_adapters(base, plan.work / "adapters", [16] * plan.resident)


@asynccontextmanager
async def _stage(plan: Plan, base: Base, say: Callable[[str], None]) -> AsyncIterator[Stage]:
    adapters = _adapters(plan, base)
    engine = LocalEngine(base, plan.dtype, DEVICE, plan.threads, max_queue=1000)
    say(await engine.load())
    servers = {
        "vllm": Server(plan.vllm, plan.tokens, str(base.path)) if plan.vllm else None,
        "llama": Server(plan.llama, plan.tokens, llama=True) if plan.llama else None,
    }
    peft = await engine.run(lambda: Peft(base, adapters[: throughput.EIGHT], plan.dtype, plan.tokens))
    try:
        yield Stage(base, Ours(engine, plan.tokens), peft, adapters, Chats(plan.seed), plan.rounds, **servers)
    finally:
        await engine.close()
        for server in servers.values():
            if server:
                await server.close()


def line(row: Row) -> str:
    """A row for a person at a terminal."""
    mark = {True: "ok  ", False: "miss", None: "    "}[row.holds]
    value = "not measured" if row.value is None else f"{row.value:g} {row.unit}"
    return f"{mark} {row.id}  {row.measure}: {value}" + (f" ({row.target})" if row.target else "")


def write(report: dict[str, Any], path: Path) -> None:
    """The report as JSON, and its ratios as a picture beside it."""
    made = path.with_name(f".new-{path.name}")
    made.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    made.replace(path)
    draw(report, path.with_suffix(".svg"))
